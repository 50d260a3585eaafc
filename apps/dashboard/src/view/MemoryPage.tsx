/** Session memory: what agents that work together share. */
import { useState } from "preact/hooks"
import * as Http from "../api/Http.ts"
import type { Json } from "../api/Types.ts"
import { brief, count, plural } from "../parts/Format.ts"
import { CopyButton, Empty, JsonView, Notice, Panel, say, useAsk } from "../parts/Pieces.tsx"
import { go, href } from "../Router.ts"

const PAGE = 500

/** What somebody typed, as JSON where it is JSON, else as text. */
const valueOf = (text: string): Json => {
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}

const kindOf = (value: Json): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? plural(value.length, "item")
      : typeof value === "object"
        ? plural(Object.keys(value).length, "member")
        : typeof value

const SetValue = ({
  done,
  session
}: {
  readonly session: string | undefined
  readonly done: (session: string) => void
}) => {
  const [problem, setProblem] = useState<string | undefined>(undefined)
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    const field = (name: string) => (form.elements.namedItem(name) as HTMLInputElement).value
    const to = session ?? field("session").trim()
    const seconds = field("ttl").trim()
    try {
      await Http.setValue(
        to,
        field("key").trim(),
        valueOf(field("value")),
        seconds === "" ? undefined : Math.round(Number(seconds) * 1_000)
      )
      setProblem(undefined)
      form.reset()
      say("Value set")
      done(to)
    } catch (cause) {
      setProblem(cause instanceof Error ? cause.message : String(cause))
    }
  }
  return (
    <Panel title="Set a value">
      <form class="body stack" style={{ gap: "10px" }} onSubmit={(event) => void submit(event)}>
        {session === undefined ? (
          <label class="field">
            Session
            <input class="input" name="session" required maxLength={128} autocomplete="off" />
          </label>
        ) : null}
        <label class="field">
          Key
          <input class="input" name="key" required maxLength={128} autocomplete="off" />
        </label>
        <label class="field">
          Value, as JSON or text
          <textarea class="input" name="value" rows={3} required spellcheck={false} />
        </label>
        <label class="field">
          Kept for, in seconds (a day, unless said)
          <input class="input" name="ttl" type="number" min="1" max="2592000" step="any" />
        </label>
        <div>
          <button type="submit" class="button primary">
            Set
          </button>
        </div>
        {problem === undefined ? null : <Notice>{problem}</Notice>}
      </form>
    </Panel>
  )
}

const OfSession = ({ changed, id }: { readonly id: string; readonly changed: () => void }) => {
  const { again, busy, error, value } = useAsk(() => Http.session(id), [id])
  const [sure, setSure] = useState(false)
  const act = async (work: () => Promise<unknown>, what: string): Promise<void> => {
    try {
      await work()
      say(what)
      again()
      changed()
    } catch (cause) {
      say(cause instanceof Error ? cause.message : String(cause))
    }
  }
  return (
    <div class="stack">
      <Panel
        title="Values"
        class="scroll"
        end={
          <>
            <button type="button" class="button small" onClick={again} disabled={busy}>
              Read again
            </button>
            {sure ? (
              <>
                <button
                  type="button"
                  class="button small danger"
                  onClick={() => {
                    setSure(false)
                    void act(() => Http.clearSession(id), "Session forgotten")
                  }}
                >
                  Forget all of it
                </button>
                <button type="button" class="button small" onClick={() => setSure(false)}>
                  Keep
                </button>
              </>
            ) : (
              <button type="button" class="button small danger" onClick={() => setSure(true)}>
                Forget…
              </button>
            )}
          </>
        }
      >
        {error === undefined ? null : (
          <div class="body">
            <Notice>{error}</Notice>
          </div>
        )}
        {value !== undefined && value.keys.length === 0 ? (
          <Empty title="Nothing here">Nobody set a value, or its time is over.</Empty>
        ) : null}
        {value === undefined || value.keys.length === 0 ? null : (
          <table class="list">
            <thead>
              <tr>
                <th scope="col">Key</th>
                <th scope="col">Value</th>
                <th scope="col">
                  <span class="hidden-text">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {value.keys.map((key) => {
                const held = value.data[key] as Json
                return (
                  <tr key={key}>
                    <td class="mono">{key}</td>
                    <td>
                      {typeof held === "object" && held !== null ? (
                        <details>
                          <summary>
                            <span class="small faint">{kindOf(held)}</span> <span class="mono">{brief(held, 60)}</span>
                          </summary>
                          <JsonView value={held} label={`Value of ${key}`} />
                        </details>
                      ) : (
                        <span class="mono">{brief(held, 400)}</span>
                      )}
                    </td>
                    <td class="num">
                      <CopyButton text={JSON.stringify(held)} what={`value of ${key}`} />{" "}
                      <button
                        type="button"
                        class="button small danger"
                        aria-label={`Forget ${key}`}
                        onClick={() => void act(() => Http.removeValue(id, key), `${key} forgotten`)}
                      >
                        Forget
                      </button>
                    </td>
                  </tr>
                )
              })}
            </tbody>
          </table>
        )}
      </Panel>
      <SetValue
        session={id}
        done={() => {
          again()
          changed()
        }}
      />
    </div>
  )
}

export const MemoryPage = ({ session }: { readonly session: string | undefined }) => {
  const [text, setText] = useState("")
  const { again, error, value } = useAsk(() => Http.sessions({ limit: PAGE }), [])
  const all = value?.sessions ?? []
  const shown = all.filter((id) => id.toLowerCase().includes(text.toLowerCase()))
  return (
    <>
      <div class="head">
        <h1>Session memory</h1>
        <span class="faint" role="status">
          {value === undefined ? "" : plural(value.count, "session")}
        </span>
        <div class="end">
          <button type="button" class="button" onClick={again}>
            Read again
          </button>
        </div>
      </div>
      {error === undefined ? null : <Notice>{error}</Notice>}
      <div class="split">
        <section class="panel" aria-label="Sessions">
          <div class="toolbar">
            <input
              class="input"
              type="search"
              placeholder="Filter sessions"
              aria-label="Filter sessions"
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </div>
          <div class="choices" tabIndex={0} role="group" aria-label="Sessions">
            {shown.length === 0 ? (
              <Empty title={all.length === 0 ? "No sessions" : "No session matches"} />
            ) : (
              <ul>
                {shown.map((id) => (
                  <li key={id}>
                    <a href={href("memory", id)} aria-current={id === session ? "true" : undefined}>
                      <span class="cut mono">{id}</span>
                    </a>
                  </li>
                ))}
              </ul>
            )}
            {all.length >= PAGE ? <p class="empty">The first {count(PAGE)} by id.</p> : null}
          </div>
        </section>
        <div style={{ minWidth: 0 }}>
          {session === undefined ? (
            <SetValue
              session={undefined}
              done={(to) => {
                again()
                go(href("memory", to))
              }}
            />
          ) : (
            <OfSession key={session} id={session} changed={again} />
          )}
        </div>
      </div>
    </>
  )
}
