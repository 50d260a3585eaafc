/** All agents, as a table. */
import { useEffect, useRef, useState } from "preact/hooks"
import type { AgentStatus } from "../api/Types.ts"
import { count } from "../parts/Format.ts"
import { Ago, AgentLink, Empty, ScoreBar, Status } from "../parts/Pieces.tsx"
import { go, href } from "../Router.ts"
import { filtered, type Order } from "../state/Filter.ts"
import { agents, loads, version } from "../state/Mesh.ts"

const ROW = 41
const columns: ReadonlyArray<readonly [order: Order | undefined, label: string, width: string, wide: boolean]> = [
  ["name", "Agent", "", false],
  ["status", "Status", "104px", false],
  ["trust", "Trust", "132px", false],
  ["load", "At work", "84px", true],
  [undefined, "Capabilities", "26%", true],
  ["done", "Good / bad", "112px", true],
  ["seen", "Last heartbeat", "116px", true]
]

/** What is in sight of a table in a page that scrolls. */
const useWindow = (rows: number) => {
  const table = useRef<HTMLTableSectionElement>(null)
  const [range, setRange] = useState<readonly [number, number]>([0, 60])
  useEffect(() => {
    const look = (): void => {
      const top = -(table.current?.getBoundingClientRect().top ?? 0)
      const from = Math.max(0, Math.floor(top / ROW) - 20)
      setRange(([a, b]) => {
        const to = from + Math.ceil(innerHeight / ROW) + 40
        return a === from && b === to ? [a, b] : [from, to]
      })
    }
    look()
    addEventListener("scroll", look, { passive: true })
    addEventListener("resize", look)
    return () => {
      removeEventListener("scroll", look)
      removeEventListener("resize", look)
    }
  }, [])
  return { table, from: Math.min(range[0], Math.max(0, rows - 1)), to: Math.min(range[1], rows) }
}

export const AgentsPage = ({ query }: { readonly query: URLSearchParams }) => {
  void version.value
  const text = query.get("q") ?? ""
  const status = (query.get("status") ?? undefined) as AgentStatus | undefined
  const order = (columns.find(([order]) => order === query.get("order"))?.[0] ?? "name") as Order
  const reverse = query.get("reverse") !== null
  const set = (patch: { readonly [name: string]: string | undefined }): void =>
    go(href("agents", undefined, { ...Object.fromEntries(query), ...patch }), { replace: true })
  const items = filtered({ text, status, order, reverse })
  const { from, table, to } = useWindow(items.length)
  return (
    <>
      <div class="head">
        <h1>Agents</h1>
        <span class="faint" role="status">
          {count(items.length)} of {count(agents.size)}
        </span>
        <div class="end">
          <input
            class="input"
            type="search"
            style={{ width: "240px" }}
            placeholder="Name, id, capability, tag"
            aria-label="Filter agents"
            value={text}
            onInput={(event) => set({ q: event.currentTarget.value })}
          />
          <select
            class="input"
            style={{ width: "130px" }}
            aria-label="Status"
            value={status ?? ""}
            onChange={(event) => set({ status: event.currentTarget.value })}
          >
            <option value="">any status</option>
            <option value="healthy">healthy</option>
            <option value="degraded">degraded</option>
            <option value="offline">offline</option>
          </select>
        </div>
      </div>
      <section class="panel" aria-label="Agents">
        {items.length === 0 ? (
          <Empty title={agents.size === 0 ? "Nobody is here yet" : "No agent matches"} />
        ) : (
          <table class="list fixed" aria-rowcount={items.length + 1}>
            <thead>
              <tr>
                {columns.map(([by, label, width, wide]) => (
                  <th
                    key={label}
                    scope="col"
                    class={wide ? "wide" : ""}
                    style={{ width }}
                    aria-sort={by === order ? (reverse ? "descending" : "ascending") : undefined}
                  >
                    {by === undefined ? (
                      label
                    ) : (
                      <button
                        type="button"
                        onClick={() => set({ order: by, reverse: by === order && !reverse ? "1" : undefined })}
                      >
                        {label}
                        {by === order ? <span aria-hidden="true">{reverse ? "↑" : "↓"}</span> : null}
                      </button>
                    )}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody ref={table}>
              {from > 0 ? <tr aria-hidden="true" style={{ height: `${from * ROW}px` }} /> : null}
              {items
                .slice(from, to)
                .map(({ last_heartbeat, manifest, status, tasks_completed, tasks_failed, trust_score }, i) => {
                  const load = loads.get(manifest.agent_id) ?? 0
                  return (
                    <tr key={manifest.agent_id} aria-rowindex={from + i + 2} style={{ height: `${ROW}px` }}>
                      <td class="cut">
                        <AgentLink id={manifest.agent_id} />
                      </td>
                      <td>
                        <Status status={status} />
                      </td>
                      <td>
                        <ScoreBar value={trust_score} label="trust" />
                      </td>
                      <td class="wide num" style={{ textAlign: "left" }}>
                        {load} of {manifest.max_concurrent_tasks}
                      </td>
                      <td class="wide cut soft" title={manifest.capabilities.map(({ name }) => name).join(", ")}>
                        {manifest.capabilities.map(({ name }) => name).join(", ") || "none"}
                      </td>
                      <td class="wide num" style={{ textAlign: "left" }}>
                        {count(tasks_completed)} / {count(tasks_failed)}
                      </td>
                      <td class="wide soft cut">
                        <Ago at={Date.parse(last_heartbeat)} />
                      </td>
                    </tr>
                  )
                })}
              {to < items.length ? (
                <tr aria-hidden="true" style={{ height: `${(items.length - to) * ROW}px` }} />
              ) : null}
            </tbody>
          </table>
        )}
      </section>
    </>
  )
}
