/** Counts over everything, and the registry itself. */
import { useEffect, useMemo } from "preact/hooks"
import * as Http from "../api/Http.ts"
import { Chart, type Series } from "../parts/Chart.tsx"
import { count, score, UNKNOWN } from "../parts/Format.ts"
import { AgentLink, CopyButton, Empty, Fact, Notice, Panel, Pill, useAsk } from "../parts/Pieces.tsx"
import { refreshStats, stats } from "../state/Boot.ts"
import { logVersion, rates, since } from "../state/Log.ts"
import { agents, loads, version } from "../state/Mesh.ts"
import * as Stream from "../state/Stream.ts"

/** Stretches of trust that agents are counted by. */
const STEPS = 20
const BUSIEST = 12

const Rate = () => {
  const turn = logVersion.value
  const drawn = useMemo(() => {
    const now = Math.floor(Date.now() / 1000)
    const begin = now - 120
    const counts = new Map(rates)
    const times = Array.from({ length: 120 }, (_, i) => (begin + i) * 1000)
    const values = times.map((at) => (at / 1000 < since ? null : (counts.get(at / 1000) ?? 0)))
    const series: ReadonlyArray<Series> = [{ label: "events/s", colour: "accent", values, kind: "line" }]
    return { times, series, peak: Math.max(0, ...values.map((value) => value ?? 0)) }
  }, [turn])
  return (
    <Panel title="Events a second" end="as this page saw them, the last two minutes">
      <div class="body">
        <Chart
          times={drawn.times}
          series={drawn.series}
          format={count}
          height={150}
          integers
          label={`Events a second, at most ${drawn.peak}`}
        />
      </div>
    </Panel>
  )
}

const TrustSpread = () => {
  const turn = version.value
  const drawn = useMemo(() => {
    const bins = Array.from({ length: STEPS }, () => 0)
    for (const { trust_score } of agents.values()) bins[Math.min(STEPS - 1, Math.floor(trust_score * STEPS))]!++
    return bins
  }, [turn])
  const most = Math.max(1, ...drawn)
  return (
    <Panel title="Trust of all agents" end={`${count(agents.size)} agents`}>
      <div class="body">
        <div
          class="spread"
          role="img"
          aria-label={
            drawn
              .map((many, i) =>
                many === 0 ? "" : `${many} between ${(i / STEPS).toFixed(2)} and ${((i + 1) / STEPS).toFixed(2)}`
              )
              .filter(Boolean)
              .join(", ") || "nobody"
          }
        >
          {drawn.map((many, i) => (
            <i key={i} style={{ height: `${(many / most) * 100}%` }} title={`${many} from ${(i / STEPS).toFixed(2)}`} />
          ))}
        </div>
        <div class="row small faint" style={{ justifyContent: "space-between" }}>
          <span>0</span>
          <span>0.5</span>
          <span>1</span>
        </div>
      </div>
    </Panel>
  )
}

const Busiest = () => {
  void version.value
  const busiest = [...loads].sort(([, a], [, b]) => b - a).slice(0, BUSIEST)
  return (
    <Panel title="Busiest" end={`${count(loads.size)} at work`}>
      {busiest.length === 0 ? (
        <Empty title="Nobody is at work" />
      ) : (
        <table class="list">
          <tbody>
            {busiest.map(([id, load]) => {
              const most = agents.get(id)?.manifest.max_concurrent_tasks
              return (
                <tr key={id}>
                  <td class="cut">
                    <AgentLink id={id} />
                  </td>
                  <td style={{ width: "40%" }}>
                    <div class="bar info" aria-hidden="true">
                      <i style={{ width: most === undefined ? "0" : `${Math.min(1, load / most) * 100}%` }} />
                    </div>
                  </td>
                  <td class="num">
                    {count(load)} of {count(most)}
                  </td>
                </tr>
              )
            })}
          </tbody>
        </table>
      )}
    </Panel>
  )
}

const shownPart = (value: unknown): string =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : JSON.stringify(value)

export const StatsPage = () => {
  const health = useAsk(Http.health, [])
  const head = useAsk(Http.head, [])
  useEffect(() => {
    void refreshStats()
    const timer = setInterval(() => {
      health.again()
      head.again()
    }, 10_000)
    return () => clearInterval(timer)
  }, [])
  const all = stats.value
  const statuses = all?.agents_by_status ?? {}
  const inFlight =
    all === undefined ? undefined : Object.values(all.active_task_counts).reduce((sum, one) => sum + one, 0)
  return (
    <div class="stack">
      <div class="head" style={{ marginBottom: 0 }}>
        <h1>Stats</h1>
        <div class="end">
          <a class="button" href="/docs" target="_blank" rel="noreferrer">
            API
          </a>
          <a class="button" href="/metrics" target="_blank" rel="noreferrer">
            Metrics
          </a>
        </div>
      </div>
      <section class="panel" aria-label="Counts">
        <dl class="facts">
          <Fact name="Agents" value={count(all?.total_agents)} />
          <Fact name="Healthy" value={all === undefined ? UNKNOWN : count(statuses["healthy"] ?? 0)} />
          <Fact name="Degraded" value={all === undefined ? UNKNOWN : count(statuses["degraded"] ?? 0)} />
          <Fact name="Offline" value={all === undefined ? UNKNOWN : count(statuses["offline"] ?? 0)} />
          <Fact
            name="Mean trust"
            value={all === undefined || all.total_agents === 0 ? UNKNOWN : score(all.avg_trust)}
          />
          <Fact name="Tasks done" value={count(all?.total_tasks_completed)} />
          <Fact name="In flight" value={count(inFlight)} />
          <Fact name="Leases" value={count(all?.active_sessions)} />
        </dl>
      </section>
      <div class="grid">
        <div class="w8">
          <Rate />
        </div>
        <div class="w4">
          <TrustSpread />
        </div>
        <div class="w5">
          <Busiest />
        </div>
        <div class="w7">
          <Panel
            title="The registry itself"
            end={
              health.value === undefined ? undefined : (
                <Pill tone={health.value.status === "ok" ? "ok" : "warn"}>{health.value.status}</Pill>
              )
            }
          >
            {health.error === undefined ? null : (
              <div class="body">
                <Notice>{health.error}</Notice>
              </div>
            )}
            <dl class="pairs body">
              {Object.entries(health.value?.parts ?? {}).map(([name, value]) => (
                <>
                  <dt key={`${name}-name`}>{name}</dt>
                  <dd key={name} class="mono">
                    {shownPart(value)}
                  </dd>
                </>
              ))}
              <dt>Last event</dt>
              <dd class="mono">{Stream.cursor.value === undefined ? UNKNOWN : `#${Stream.cursor.value}`}</dd>
              <dt>Evidence chain</dt>
              <dd class="mono">
                {head.value === undefined ? UNKNOWN : `${count(head.value.seq)} links`}
                {head.value === undefined || head.value.hash === "" ? null : (
                  <>
                    , ends in {head.value.hash.slice(0, 16)}… <CopyButton text={head.value.hash} what="hash" />
                  </>
                )}
              </dd>
            </dl>
          </Panel>
        </div>
      </div>
    </div>
  )
}
