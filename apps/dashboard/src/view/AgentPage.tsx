/** One agent: how it is, what it can do, what is known of its work, and what it did last. */
import { useEffect, useMemo, useState } from "preact/hooks"
import * as Http from "../api/Http.ts"
import type { AgentRecord, AgentTrust, Json, TraceEvent } from "../api/Types.ts"
import { count, fullTime, millis, plural, score, UNKNOWN, usd } from "../parts/Format.ts"
import {
  Ago,
  CopyButton,
  Empty,
  Fact,
  Interval,
  JsonView,
  Notice,
  Panel,
  Pill,
  Status,
  useAsk
} from "../parts/Pieces.tsx"
import { Seal } from "../parts/Seal.tsx"
import { href } from "../Router.ts"
import { agentOf, listeners } from "../state/Boot.ts"
import { agents, loads, version } from "../state/Mesh.ts"
import { tasksOf } from "../state/Tasks.ts"
import { useChecked } from "../verify/Verification.ts"
import { LatencyChart, OutcomeChart, TrustChart } from "./AgentCharts.tsx"
import { TaskTable } from "./TasksPage.tsx"

/** What is asked for of the past. */
const HISTORY = 500
const TRACES = 1_000
const LAST_TASKS = 12
/** The agent's figures are asked for again at most this often while things happen, in milliseconds. */
const CALM_MS = 700

/** Counts up, calmly, when something happens to an agent. */
const useHappening = (id: string): number => {
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const listen = (event: Parameters<typeof agentOf>[0]): void => {
      const trace = event.data as { readonly from_agent?: unknown; readonly to_agent?: unknown }
      if (agentOf(event) !== id && trace.from_agent !== id && trace.to_agent !== id) return
      timer ??= setTimeout(() => {
        timer = undefined
        setTurn((turn) => turn + 1)
      }, CALM_MS)
    }
    listeners.add(listen)
    return () => {
      listeners.delete(listen)
      clearTimeout(timer)
    }
  }, [id])
  return turn
}

/** Asks anew when something happens, and keeps what there is until the answer. */
const useFollowed = <A,>(ask: () => Promise<A>, id: string, turn: number) => {
  const asked = useAsk(ask, [id])
  useEffect(() => {
    if (turn > 0) asked.again()
  }, [turn])
  return asked
}

const Head = ({ agent, id }: { readonly agent: AgentRecord | undefined; readonly id: string }) => (
  <div class="head" style={{ marginBottom: 0 }}>
    <h1 class="cut" style={{ maxWidth: "100%" }}>
      {agent?.manifest.name || id}
    </h1>
    {agent === undefined ? null : <Status status={agent.status} />}
    {agent?.manifest.tags.map((tag) => (
      <span key={tag} class="tag">
        {tag}
      </span>
    ))}
    <div class="end">
      <a class="button" href={href("tasks", undefined, { agent: id })}>
        Its tasks
      </a>
      <a class="button" href={href("events", undefined, { q: id })}>
        Its events
      </a>
    </div>
    <p class="small">
      <span class="mono faint">{id}</span> <CopyButton text={id} what="id" />
    </p>
    {agent === undefined || agent.manifest.description === "" ? null : <p>{agent.manifest.description}</p>}
  </div>
)

const Facts = ({ agent, trust }: { readonly agent: AgentRecord; readonly trust: AgentTrust | undefined }) => {
  const overall = trust?.standings.find(({ capability }) => capability === null)
  const load = loads.get(agent.manifest.agent_id) ?? 0
  return (
    <section class="panel" aria-label="In short">
      <dl class="facts">
        <Fact
          name="Trust"
          value={score(overall?.score ?? agent.trust_score)}
          note={overall === undefined ? undefined : `${score(overall.low)} to ${score(overall.high)}`}
        />
        <Fact
          name="Reports"
          value={overall === undefined ? UNKNOWN : count(overall.reports)}
          note={overall === undefined ? undefined : `${count(overall.attested)} attested`}
        />
        <Fact name="Reported good" value={count(agent.tasks_completed)} />
        <Fact name="Reported bad" value={count(agent.tasks_failed)} />
        <Fact name="At work" value={count(load)} note={`of ${count(agent.manifest.max_concurrent_tasks)}`} />
        <Fact name="Last heartbeat" value={<Ago at={Date.parse(agent.last_heartbeat)} />} />
      </dl>
    </section>
  )
}

const Standings = ({ trust }: { readonly trust: AgentTrust }) => (
  <Panel title="Reputation by capability" class="scroll" end="90 % interval">
    <table class="list">
      <thead>
        <tr>
          <th scope="col">Capability</th>
          <th scope="col" style={{ width: "24%" }}>
            Interval
          </th>
          <th scope="col" class="num">
            Score
          </th>
          <th scope="col" class="num">
            Reports
          </th>
          <th scope="col" class="num">
            Weight
          </th>
          <th scope="col" class="num" title="The moving average that AgentMesh publishes, over the same reports">
            EMA
          </th>
        </tr>
      </thead>
      <tbody>
        {trust.standings.map(({ attested, capability, ema, high, low, reports, score: own, weight }) => (
          <tr key={capability ?? ""}>
            <td class="mono name">
              {capability === null ? (
                <strong>overall</strong>
              ) : capability === "" ? (
                <span class="faint">not said</span>
              ) : (
                capability
              )}
            </td>
            <td>
              <Interval low={low} high={high} score={own} />
            </td>
            <td class="num">{score(own)}</td>
            <td class="num" title={`${attested} attested by a receipt`}>
              {count(reports)} <span class="faint">({count(attested)})</span>
            </td>
            <td class="num">{weight.toFixed(1)}</td>
            <td class="num">{score(ema)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  </Panel>
)

const Circuits = ({ trust }: { readonly trust: AgentTrust }) => (
  <Panel title="Circuits">
    {trust.circuits.length === 0 ? (
      <Empty title="All closed">No capability of this agent has failed lately.</Empty>
    ) : (
      <table class="list">
        <tbody>
          {trust.circuits.map(({ capability, failures, retry_after_ms, state }) => (
            <tr key={capability}>
              <td>
                <div class="row" style={{ justifyContent: "space-between" }}>
                  <span class="mono">{capability}</span>
                  <Pill tone={state === "open" ? "bad" : state === "half-open" ? "warn" : "ok"}>{state}</Pill>
                </div>
                <p class="soft small">
                  {plural(failures, "failure")} in a row
                  {state === "open" ? `, a probe in ${millis(retry_after_ms)}` : ""}
                </p>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    )}
  </Panel>
)

const Capabilities = ({ agent, trust }: { readonly agent: AgentRecord; readonly trust: AgentTrust | undefined }) => (
  <Panel title="Capabilities" end={count(agent.manifest.capabilities.length)}>
    {agent.manifest.capabilities.length === 0 ? (
      <Empty title="None">This agent only asks others.</Empty>
    ) : (
      <table class="list">
        <tbody>
          {agent.manifest.capabilities.map((capability) => {
            const measured = trust?.latencies.find((one) => one.capability === capability.name)
            return (
              <tr key={capability.name}>
                <td>
                  <div class="row" style={{ justifyContent: "space-between" }}>
                    <a class="mono" href={href("discover", undefined, { name: capability.name })}>
                      {capability.name}
                    </a>
                    <span class="small soft">
                      {usd(capability.cost_per_call_usd) === UNKNOWN
                        ? "cost unknown"
                        : usd(capability.cost_per_call_usd)}
                      {" · "}
                      {measured === undefined
                        ? capability.avg_latency_ms === null
                          ? "latency unknown"
                          : `${millis(capability.avg_latency_ms)} by its own word`
                        : `p50 ${millis(measured.p50_ms)}, p95 ${millis(measured.p95_ms)} of ${count(measured.samples)}`}
                    </span>
                  </div>
                  <p class="soft small">{capability.description}</p>
                  {Object.keys(capability.input_schema).length + Object.keys(capability.output_schema).length ===
                  0 ? null : (
                    <details>
                      <summary class="small">Schemas</summary>
                      <JsonView
                        value={{ input: capability.input_schema, output: capability.output_schema }}
                        label={`Schemas of ${capability.name}`}
                      />
                    </details>
                  )}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    )}
  </Panel>
)

const Statement = ({ id }: { readonly id: string }) => {
  const [asked, setAsked] = useState(false)
  return (
    <Panel title="Signed statement">
      <div class="body">
        <p class="soft small" style={{ marginBottom: "8px" }}>
          What this registry says of the agent, signed, so that it can be shown to others without asking the registry.
        </p>
        {asked ? (
          <StatementText id={id} />
        ) : (
          <button type="button" class="button" onClick={() => setAsked(true)}>
            Ask for it
          </button>
        )}
      </div>
    </Panel>
  )
}

const StatementSeal = ({ id, value }: { readonly id: string; readonly value: Json }) => (
  <div style={{ marginBottom: "8px" }}>
    <Seal checked={useChecked({ what: "statement", value, agent: id })} covers="Its signature was computed again" />
  </div>
)

const StatementText = ({ id }: { readonly id: string }) => {
  const { error, value } = useAsk(() => Http.statement(id), [id])
  if (error !== undefined) return <Notice>{error}</Notice>
  if (value === undefined) return <p class="faint">asking…</p>
  return (
    <>
      <StatementSeal id={id} value={value} />
      <JsonView value={value} label="Signed statement" />
      <p class="small" style={{ marginTop: "6px" }}>
        <CopyButton text={JSON.stringify(value)} what="statement" /> <span class="faint">as it was signed</span>
      </p>
    </>
  )
}

export const AgentPage = ({ id }: { readonly id: string }) => {
  void version.value
  const turn = useHappening(id)
  const known = agents.get(id)
  const own = useAsk(() => Http.agent(id), [id])
  const agent = known ?? own.value
  const trust = useFollowed(() => Http.trust(id), id, turn)
  const history = useFollowed(() => Http.trustHistory(id, HISTORY), id, turn)
  const traces = useFollowed(() => Http.traces({ agent: id, limit: TRACES }), id, turn)
  const items: ReadonlyArray<TraceEvent> | undefined = traces.value?.items
  const tasks = useMemo(() => (items === undefined ? [] : tasksOf(items)), [items])

  if (agent === undefined)
    return (
      <div class="stack">
        <Head agent={undefined} id={id} />
        {own.busy ? (
          <p class="faint">asking…</p>
        ) : (
          <section class="panel">
            <Empty title="Not registered">{own.error}. It may have left, or works without this registry.</Empty>
          </section>
        )}
        {tasks.length === 0 ? null : (
          <Panel title="Last tasks" class="scroll">
            <TaskTable tasks={tasks.slice(0, LAST_TASKS)} />
          </Panel>
        )}
      </div>
    )

  return (
    <div class="stack">
      <Head agent={agent} id={id} />
      <Facts agent={agent} trust={trust.value} />
      <div class="grid">
        <div class="w6">
          <TrustChart id={id} history={history.value} trust={trust.value} error={history.error} />
        </div>
        <div class="w6">{trust.value === undefined ? null : <Standings trust={trust.value} />}</div>
        <div class="w6">
          <LatencyChart id={id} tasks={tasks} history={history.value} error={traces.error} />
        </div>
        <div class="w6">
          <OutcomeChart id={id} tasks={tasks} history={history.value} error={traces.error} agent={agent} />
        </div>
        <div class="w7 stack">
          <Capabilities agent={agent} trust={trust.value} />
          <Panel title="Last tasks" class="scroll" end={<a href={href("tasks", undefined, { agent: id })}>all</a>}>
            {traces.error !== undefined ? (
              <div class="body">
                <Notice>{traces.error}</Notice>
              </div>
            ) : tasks.length === 0 ? (
              <Empty title="No traces of it" />
            ) : (
              <TaskTable tasks={tasks.slice(0, LAST_TASKS)} />
            )}
          </Panel>
        </div>
        <div class="w5 stack">
          {trust.value === undefined ? null : <Circuits trust={trust.value} />}
          <Panel title="Where and since when">
            <dl class="pairs body">
              <dt>Endpoint</dt>
              <dd class="mono">{agent.manifest.endpoint || UNKNOWN}</dd>
              <dt>Version</dt>
              <dd>{agent.manifest.version}</dd>
              <dt>Registered</dt>
              <dd>{fullTime(Date.parse(agent.registered_at))}</dd>
              <dt>MCP servers</dt>
              <dd>{agent.manifest.mcp_servers.join(", ") || "none"}</dd>
            </dl>
          </Panel>
          <Statement id={id} />
        </div>
      </div>
    </div>
  )
}
