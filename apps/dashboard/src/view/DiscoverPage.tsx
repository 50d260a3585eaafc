/** Discovery as nodes do it, with the reasons of each rank. */
import { useState } from "preact/hooks"
import * as Http from "../api/Http.ts"
import type { DiscoveryResult, Score } from "../api/Types.ts"
import { millis, plural, score, UNKNOWN, usd } from "../parts/Format.ts"
import { AgentLink, Empty, Notice, Panel, Status, useAsk } from "../parts/Pieces.tsx"
import { go, href } from "../Router.ts"

const parts = ["semantic", "trust", "availability", "cost"] as const
const words: { readonly [part in (typeof parts)[number]]: string } = {
  semantic: "meaning",
  trust: "trust",
  availability: "availability",
  cost: "cost"
}

const numberOr = (text: string | null): number | undefined => {
  if (text === null || text.trim() === "") return undefined
  const value = Number(text)
  return Number.isFinite(value) ? value : undefined
}

const bodyOf = (query: URLSearchParams) => {
  const tags = (query.get("tags") ?? "")
    .split(",")
    .map((tag) => tag.trim())
    .filter((tag) => tag !== "")
  const trust = numberOr(query.get("trust"))
  const cost = numberOr(query.get("cost"))
  const latency = numberOr(query.get("latency"))
  return {
    ...(query.get("name") ? { capability_name: query.get("name") } : {}),
    ...(query.get("words") ? { capability_description: query.get("words") } : {}),
    ...(trust === undefined ? {} : { min_trust_score: trust }),
    ...(cost === undefined ? {} : { max_cost_usd: cost }),
    ...(latency === undefined ? {} : { max_latency_ms: latency }),
    ...(tags.length === 0 ? {} : { tags }),
    ...(query.get("require") === null ? {} : { require_tags: true }),
    top_k: 20,
    explain: true
  }
}

const PartsBar = ({ scored }: { readonly scored: Score }) => {
  const total = parts.reduce((sum, part) => sum + scored.parts[part].weight, 0) || 1
  return (
    <div
      class="parts"
      role="img"
      aria-label={parts
        .map((part) => `${words[part]} ${score(scored.parts[part].value)} of weight ${scored.parts[part].weight}`)
        .join(", ")}
    >
      {parts.map((part, i) => {
        const { value, weight } = scored.parts[part]
        return <i key={part} class={`p${i}`} style={{ width: `${((value * weight) / total) * 100}%` }} />
      })}
    </div>
  )
}

const Results = ({ millisTaken, result }: { readonly result: DiscoveryResult; readonly millisTaken: number }) => (
  <Panel
    title="Found"
    class="scroll"
    end={
      <span class="key">
        {parts.map((part, i) => (
          <span key={part}>
            <i class={`dot p${i}`} /> {words[part]}
          </span>
        ))}
        <span>{millis(millisTaken)} with the way there and back</span>
      </span>
    }
  >
    {result.agents.length === 0 ? (
      <Empty title="Nobody">No agent that may be asked does this. Say less, or lower what you ask for.</Empty>
    ) : (
      <table class="list">
        <thead>
          <tr>
            <th scope="col">Agent</th>
            <th scope="col" style={{ width: "24%" }}>
              Score
            </th>
            <th scope="col">Why</th>
            <th scope="col" class="num wide">
              Trust
            </th>
            <th scope="col" class="num wide">
              Cost
            </th>
          </tr>
        </thead>
        <tbody>
          {result.agents.map(({ manifest, status, trust_score }) => {
            const scored = result.scores?.find((one) => one.agent_id === manifest.agent_id)
            const capability = manifest.capabilities.find(({ name }) => name === scored?.capability)
            return (
              <tr key={manifest.agent_id}>
                <td>
                  <AgentLink id={manifest.agent_id} />
                  <div class="small">
                    <Status status={status} /> <span class="faint mono">{scored?.capability}</span>
                  </div>
                </td>
                <td>
                  {scored === undefined ? (
                    <span class="unknown">{UNKNOWN}</span>
                  ) : (
                    <>
                      <PartsBar scored={scored} />
                      <span class="num small">{scored.score.toFixed(3)}</span>
                    </>
                  )}
                </td>
                <td class="small soft">
                  {scored === undefined
                    ? ""
                    : parts.map((part) => (
                        <div key={part}>
                          {words[part]} {score(scored.parts[part].value)} × {scored.parts[part].weight.toFixed(2)}{" "}
                          <span class="faint">{scored.parts[part].why}</span>
                        </div>
                      ))}
                </td>
                <td class="num wide">{score(trust_score)}</td>
                <td class="num wide">{usd(capability?.cost_per_call_usd ?? null)}</td>
              </tr>
            )
          })}
        </tbody>
      </table>
    )}
  </Panel>
)

const Found = ({ query }: { readonly query: URLSearchParams }) => {
  const body = bodyOf(query)
  const { busy, error, value } = useAsk(async () => {
    const began = performance.now()
    const result = await Http.discover(body)
    return { result, millis: performance.now() - began }
  }, [body])
  if (error !== undefined) return <Notice>{error}</Notice>
  if (value === undefined) return <p class="faint">{busy ? "asking…" : ""}</p>
  return <Results result={value.result} millisTaken={value.millis} />
}

const Capabilities = () => {
  const [text, setText] = useState("")
  const { error, value } = useAsk(() => Http.capabilities(text, 60), [text])
  return (
    <Panel
      title="Capabilities of this mesh"
      class="scroll"
      end={value === undefined ? "" : plural(value.length, "name")}
    >
      <div class="toolbar">
        <input
          class="input"
          type="search"
          placeholder="Search capabilities"
          aria-label="Search capabilities"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </div>
      {error === undefined ? null : <Notice>{error}</Notice>}
      {value?.length === 0 ? <Empty title="None" /> : null}
      <table class="list">
        <tbody>
          {(value ?? []).map(({ agents, description, name, online }) => (
            <tr key={name}>
              <td>
                <a class="mono" href={href("discover", undefined, { name })}>
                  {name}
                </a>
                <div class="small soft">{description}</div>
              </td>
              <td class="num small">
                {online} of {plural(agents, "agent")} online
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  )
}

export const DiscoverPage = ({ query }: { readonly query: URLSearchParams }) => {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    const data = new FormData(event.currentTarget as HTMLFormElement)
    const said: { [name: string]: string } = {}
    for (const [name, value] of data) if (typeof value === "string") said[name] = value
    go(href("discover", undefined, said))
  }
  const asked = [...query.keys()].length > 0
  return (
    <div class="stack">
      <div class="head" style={{ marginBottom: 0 }}>
        <h1>Discover</h1>
        <p>Ask as a node asks. Each answer says what its rank is made of.</p>
      </div>
      <section class="panel" aria-label="What to look for">
        <form key={query.toString()} class="toolbar" style={{ borderBottom: 0 }} onSubmit={submit}>
          <label class="field grow">
            In plain words
            <input
              class="input"
              name="words"
              maxLength={1_000}
              defaultValue={query.get("words") ?? ""}
              placeholder="summarise a table"
            />
          </label>
          <label class="field grow">
            Or by name
            <input
              class="input"
              name="name"
              maxLength={128}
              defaultValue={query.get("name") ?? ""}
              placeholder="csv.describe"
            />
          </label>
          <label class="field" style={{ width: "92px" }}>
            Trust from
            <input
              class="input"
              name="trust"
              type="number"
              min="0"
              max="1"
              step="0.05"
              defaultValue={query.get("trust") ?? ""}
            />
          </label>
          <label class="field" style={{ width: "92px" }}>
            Cost to, $
            <input class="input" name="cost" type="number" min="0" step="any" defaultValue={query.get("cost") ?? ""} />
          </label>
          <label class="field" style={{ width: "104px" }}>
            Latency to, ms
            <input
              class="input"
              name="latency"
              type="number"
              min="0"
              step="any"
              defaultValue={query.get("latency") ?? ""}
            />
          </label>
          <label class="field" style={{ width: "130px" }}>
            Tags, by commas
            <input class="input" name="tags" defaultValue={query.get("tags") ?? ""} />
          </label>
          <label class="check" style={{ height: "32px" }}>
            <input type="checkbox" name="require" value="1" defaultChecked={query.get("require") !== null} /> every tag
          </label>
          <button type="submit" class="button primary" style={{ height: "32px" }}>
            Ask
          </button>
        </form>
      </section>
      {asked ? <Found query={query} /> : null}
      <Capabilities />
    </div>
  )
}
