/** The mesh at a glance: the picture, and the same as a list. */
import { signal } from "@preact/signals"
import type { AgentStatus } from "../api/Types.ts"
import { GraphView } from "../graph/GraphView.tsx"
import { AgentList } from "../parts/AgentList.tsx"
import { count, plural } from "../parts/Format.ts"
import { Empty, Fact, Pill } from "../parts/Pieces.tsx"
import { tracesSeen } from "../state/Boot.ts"
import { filtered } from "../state/Filter.ts"
import { agents, countStatuses, edges, edgeVersion, loaded, loads, version } from "../state/Mesh.ts"

/** What the list is filtered by: kept while one looks elsewhere. */
export const text = signal("")
export const status = signal<AgentStatus | undefined>(undefined)

const statuses: ReadonlyArray<AgentStatus> = ["healthy", "degraded", "offline"]

const About = () => {
  void edgeVersion.value
  const traces = tracesSeen.value
  return (
    <p class="about">
      {traces === undefined
        ? "Who worked with whom is not known: this registry does not show its traces."
        : edges.size === 0
          ? "No two agents have worked together yet."
          : `${plural(edges.size, "pair")} in ${plural(traces, "trace")}`}
    </p>
  )
}

export const MeshPage = () => {
  void version.value
  const counts = countStatuses()
  const items = filtered({ text: text.value, status: status.value, order: "status" })
  let busy = 0
  for (const load of loads.values()) busy += load
  return (
    <div class="mesh">
      <h1 class="hidden-text">Mesh</h1>
      <section class="canvas" aria-label="Picture of the mesh">
        <GraphView />
        <About />
        {loaded.value && agents.size === 0 ? (
          <div class="center">
            <Empty title="Nobody is here yet">Start a node with this registry, and it appears.</Empty>
          </div>
        ) : null}
      </section>
      <section class="side" aria-label="Agents of the mesh">
        <dl class="facts">
          <Fact name="Agents" value={loaded.value ? count(agents.size) : "unknown"} />
          <Fact name="Online" value={loaded.value ? count(counts.healthy + counts.degraded) : "unknown"} />
          <Fact name="Tasks in flight" value={loaded.value ? count(busy) : "unknown"} />
        </dl>
        <div class="filter">
          <input
            class="input"
            type="search"
            placeholder="Filter by name, capability or tag"
            aria-label="Filter agents"
            value={text.value}
            onInput={(event) => (text.value = event.currentTarget.value)}
          />
          <div class="chips" role="group" aria-label="Status">
            {statuses.map((one) => (
              <button
                key={one}
                type="button"
                class="button small"
                aria-pressed={status.value === one}
                onClick={() => (status.value = status.value === one ? undefined : one)}
              >
                {one} <span class="faint">{count(counts[one])}</span>
              </button>
            ))}
          </div>
        </div>
        {items.length === 0 ? (
          <Empty title={agents.size === 0 ? "No agents" : "No agent matches"}>
            {agents.size === 0 ? null : <Pill tone="none">{text.value || status.value}</Pill>}
          </Empty>
        ) : (
          <AgentList items={items} />
        )}
      </section>
    </div>
  )
}
