/** An agent's charts. Each says what it is made of, and what is not known. */
import { useMemo, useRef } from "preact/hooks"
import type { AgentRecord, AgentTrust, TrustHistory } from "../api/Types.ts"
import { Chart, type Series } from "../parts/Chart.tsx"
import { count, millis, percent, plural, score } from "../parts/Format.ts"
import { Empty, Notice, Panel } from "../parts/Pieces.tsx"
import type { Task } from "../state/Tasks.ts"

interface Interval {
  readonly at: number
  readonly low: number
  readonly high: number
}

/** Intervals as they were told while the page was open: of earlier reports the registry keeps the score, not how sure it was of it. */
const useIntervals = (trust: AgentTrust | undefined): ReadonlyArray<Interval> => {
  const kept = useRef<{ readonly of: AgentTrust | undefined; readonly intervals: ReadonlyArray<Interval> }>({
    of: undefined,
    intervals: []
  })
  if (trust !== undefined && trust !== kept.current.of) {
    const overall = trust.standings.find(({ capability }) => capability === null)
    const intervals =
      overall === undefined
        ? kept.current.intervals
        : [...kept.current.intervals, { at: Date.now(), low: overall.low, high: overall.high }]
    kept.current = { of: trust, intervals: intervals.slice(-500) }
  }
  return kept.current.intervals
}

export const TrustChart = (props: {
  readonly id: string
  readonly history: TrustHistory | undefined
  readonly trust: AgentTrust | undefined
  readonly error: string | undefined
}) => {
  const { error, history, trust } = props
  const intervals = useIntervals(trust)
  const drawn = useMemo(() => {
    const overall = trust?.standings.find(({ capability }) => capability === null)
    const points = (history?.history ?? []).map(({ score, timestamp }) => ({ at: Date.parse(timestamp), score }))
    const now = Date.now()
    const times = [...new Set([...points.map(({ at }) => at), ...intervals.map(({ at }) => at), now])].sort(
      (a, b) => a - b
    )
    const scores = new Map(points.map(({ at, score }) => [at, score]))
    if (overall !== undefined) scores.set(now, overall.score)
    const at = (pick: (one: Interval) => number) => {
      const known = new Map(intervals.map((one) => [one.at, pick(one)]))
      if (overall !== undefined) {
        const own = pick({ at: now, low: overall.low, high: overall.high })
        // Nothing was reported since the last point: what is known now is known since then.
        const last = points.at(-1)?.at
        if (last !== undefined && !known.has(last)) known.set(last, own)
        known.set(now, own)
      }
      return times.map((time) => known.get(time) ?? null)
    }
    const series: ReadonlyArray<Series> = [
      { label: "score", colour: "accent", values: times.map((time) => scores.get(time) ?? null), kind: "step" },
      { label: "high", colour: "line-strong", values: at(({ high }) => high) },
      { label: "low", colour: "line-strong", values: at(({ low }) => low) }
    ]
    return { overall, points, series, times }
  }, [history, trust, intervals])
  const { overall, points, series, times } = drawn
  return (
    <Panel
      title="Trust"
      end={
        <span class="key">
          <span>
            <i /> score after each report
          </span>
          <span>
            <i class="area" /> 90 % interval
          </span>
        </span>
      }
    >
      <div class="body">
        {error !== undefined ? (
          <Notice>{error}</Notice>
        ) : history === undefined ? (
          <p class="faint">asking…</p>
        ) : points.length === 0 ? (
          <Empty title="No report yet">
            {overall === undefined
              ? ""
              : `A newcomer stands at ${score(overall.score)}, somewhere between ${score(overall.low)} and ${score(overall.high)}.`}
          </Empty>
        ) : (
          <Chart
            times={times}
            series={series}
            band={{ upper: 1, lower: 2, colour: "accent" }}
            range={{ min: 0, max: 1 }}
            format={score}
            label={`Trust after the last ${plural(points.length, "report")}: from ${score(points[0]!.score)} to ${score(points.at(-1)!.score)}${overall === undefined ? "" : `, now between ${score(overall.low)} and ${score(overall.high)}`}`}
          />
        )}
      </div>
    </Panel>
  )
}

/** What an agent did for others, by its traces: when it ended, how long it worked, and whether it was done. */
const worksOf = (id: string, tasks: ReadonlyArray<Task>) =>
  tasks
    .flatMap(({ hops }) => hops)
    .filter(({ executor, outcome }) => executor === id && (outcome === "completed" || outcome === "failed"))
    .map(({ end, outcome, worked }) => ({ at: end!, worked, done: outcome === "completed" }))
    .sort((a, b) => a.at - b.at)

const rank = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!

interface Props {
  readonly id: string
  readonly tasks: ReadonlyArray<Task>
  readonly history: TrustHistory | undefined
  readonly error: string | undefined
}

export const LatencyChart = ({ error, id, tasks }: Props) => {
  const drawn = useMemo(() => {
    const works = worksOf(id, tasks).filter(({ worked }) => worked !== undefined)
    const sorted = works.map(({ worked }) => worked!).sort((a, b) => a - b)
    const series: ReadonlyArray<Series> = [
      {
        label: "answered",
        colour: "healthy",
        values: works.map(({ done, worked }) => (done ? worked! : null)),
        kind: "points"
      },
      {
        label: "failed",
        colour: "failed",
        values: works.map(({ done, worked }) => (done ? null : worked!)),
        kind: "points"
      }
    ]
    return { times: works.map(({ at }) => at), series, sorted }
  }, [id, tasks])
  const { series, sorted, times } = drawn
  return (
    <Panel
      title="Latency"
      end={
        sorted.length === 0
          ? undefined
          : `p50 ${millis(rank(sorted, 0.5))} · p95 ${millis(rank(sorted, 0.95))} of ${count(sorted.length)} traced`
      }
    >
      <div class="body">
        {error !== undefined ? (
          <Notice>{error}</Notice>
        ) : sorted.length === 0 ? (
          <Empty title="Unknown">No trace tells how long it worked.</Empty>
        ) : (
          <Chart
            times={times}
            series={series}
            format={millis}
            height={150}
            label={`How long the last ${plural(sorted.length, "task")} took: half of them at most ${millis(rank(sorted, 0.5))}, 95 % at most ${millis(rank(sorted, 0.95))}`}
          />
        )}
      </div>
    </Panel>
  )
}

/** Stretches of time that outcomes are counted by. */
const BUCKETS = 24

/** An answer need not be a good one: whether it was is said by reports, and told beside it. */
export const OutcomeChart = ({ agent, error, id, tasks }: Props & { readonly agent: AgentRecord }) => {
  const drawn = useMemo(() => {
    const works = worksOf(id, tasks)
    const from = works[0]?.at ?? 0
    const width = Math.max(1_000, ((works.at(-1)?.at ?? 0) - from + 1) / BUCKETS)
    const buckets = Array.from(
      { length: works.length === 0 ? 0 : Math.min(BUCKETS, Math.ceil(((works.at(-1)?.at ?? 0) - from + 1) / width)) },
      (_, i) => ({ at: from + (i + 0.5) * width, done: 0, failed: 0 })
    )
    for (const { at, done } of works) {
      const bucket = buckets[Math.min(buckets.length - 1, Math.floor((at - from) / width))]!
      if (done) bucket.done++
      else bucket.failed++
    }
    const series: ReadonlyArray<Series> = [
      // Failures stand on top of what was done.
      { label: "ended", colour: "failed", values: buckets.map(({ done, failed }) => done + failed), kind: "bars" },
      { label: "answered", colour: "healthy", values: buckets.map(({ done }) => done), kind: "bars" }
    ]
    const done = works.filter((work) => work.done).length
    return { times: buckets.map(({ at }) => at), series, done, all: works.length }
  }, [id, tasks])
  const { all, done, series, times } = drawn
  return (
    <Panel
      title="Answers"
      end={
        all === 0
          ? undefined
          : [
              `${percent(done / all)} of ${count(all)} traced answered`,
              ...(agent.tasks_failed === 0 ? [] : [`${count(agent.tasks_failed)} reported bad`])
            ].join(" · ")
      }
    >
      <div class="body">
        {error !== undefined ? (
          <Notice>{error}</Notice>
        ) : all === 0 ? (
          <Empty title="Unknown">No trace tells how its work ended.</Empty>
        ) : (
          <Chart
            times={times}
            series={series}
            format={count}
            integers
            height={150}
            label={`${done} of the last ${plural(all, "traced task")} were answered, ${all - done} failed; ${plural(agent.tasks_failed, "report")} called what it did bad`}
          />
        )}
      </div>
    </Panel>
  )
}
