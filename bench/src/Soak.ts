/** `soak`: full load for minutes while agents join, leave and die; no call lost, none done twice, memory flat. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import { lines } from "./Charts.ts"
import { Child } from "./Child.ts"
import { goal, type Part, type Report, type Terms } from "./Part.ts"
import { numberOf } from "./OptionValues.ts"
import { slopeOf } from "./Slope.ts"
import type { AskOrder, FailedCall, Totals } from "./SoakAsk.ts"
import { type Account, type End, Ledger } from "./SoakLedger.ts"
import type { Sample } from "./SoakSample.ts"
import { KEPT } from "./SoakTask.ts"
import { type Agent, type Events, VISIT_CALLS, VISITS_FROM, World } from "./SoakWorld.ts"
import { short, table, whole } from "./Table.ts"
import { UsageError } from "./UsageError.ts"

const MIB = 2 ** 20
const MINUTES = 10
const INFLIGHT = 64
/** Something happens to the agents this often, and memory is looked at that often, in ms. */
const TURN_MS = 1_500
const SAMPLE_MS = 5_000
/** Calls that are told in full in the results. */
const TOLD = 20
/** Of a brief run, in ms: so short that its memory says nothing. */
const BRIEF = { ms: 12_000, turn: 200, sample: 1_000 }
/** Until agents have told each other of themselves, or ended what they were at. */
const QUIET_MS = 1_000
/** The part of the time that is warming up: compilers, buffers, and what is kept up to a bound. */
const WARM = 0.4
/** What live objects and resident memory may grow by in a minute after that, beyond what the agents that come account for. */
const MAX_HEAP_MIB = 1
const MAX_RSS_MIB = 4

const help = `bench soak: full load while agents join, leave and are killed; nothing lost, nothing done twice, flat memory

  --minutes N         how long (default: ${MINUTES})
  --runtime bun|deno  of all processes (default: bun)
  --inflight N        calls in flight (default: ${INFLIGHT})
  --seed N            who comes and goes (default: by the clock)

Exits with 1 when a call is lost or done twice, or memory grows.`

interface Options {
  readonly runtime: Runtime
  readonly ms: number
  readonly turn: number
  readonly sample: number
  readonly inflight: number
  readonly seed: number
}

const optionsOf = (args: ReadonlyArray<string>, brief: boolean): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string" },
      runtime: { type: "string", default: "bun" },
      inflight: { type: "string", default: String(INFLIGHT) },
      seed: { type: "string", default: String(Date.now() % 2 ** 31) }
    }
  })
  const { runtime } = values
  if (runtime !== "bun" && runtime !== "deno") throw new UsageError(`--runtime is bun or deno, not "${runtime}"`)
  const ms = brief ? BRIEF.ms : MINUTES * 60_000
  return {
    runtime,
    ms: values.minutes === undefined ? ms : numberOf("minutes", values.minutes, 0.1, false) * 60_000,
    turn: brief ? BRIEF.turn : TURN_MS,
    sample: brief ? BRIEF.sample : SAMPLE_MS,
    inflight: numberOf("inflight", values.inflight, 1, true),
    seed: numberOf("seed", values.seed, 0, true)
  }
}

/** What was held at a moment, in seconds from the beginning, by the asking node and by each agent that stays. */
interface Moment {
  readonly at: number
  readonly answered: number
  readonly agents: number
  readonly asking: Sample
  readonly residents: ReadonlyArray<Sample>
}

/** How memory of a process grew after warming up, in MiB a minute. */
interface Growth {
  readonly who: string
  readonly heap: number
  readonly rss: number
}

const growthOf = (who: string, moments: ReadonlyArray<Moment>, of: (moment: Moment) => Sample): Growth => {
  const slope = (value: (sample: Sample) => number): number =>
    slopeOf(moments.map((moment) => [moment.at / 60, value(of(moment)) / MIB]))
  return { who, heap: slope(({ heap }) => heap), rss: slope(({ rss }) => rss) }
}

/** A death explains a failure where everybody who was tried had gone by its end, and one of them while it was under way. */
const isExplained = ({ from, to, tried }: FailedCall, agents: ReadonlyMap<string, Agent>): boolean => {
  const gone = tried.map(({ peer }) => (peer === undefined ? undefined : agents.get(peer)?.goneAt))
  return (
    gone.every((at) => at !== undefined && at > 0 && at <= to) &&
    gone.some((at) => at !== undefined && at >= from - TURN_MS)
  )
}

interface Outcome {
  readonly moments: ReadonlyArray<Moment>
  readonly totals: Totals
  /** What is still held a moment after the last call. */
  readonly last: Moment
  /** Tasks, and streams beyond those that a connection has anyway, when all calls have ended. */
  readonly leftOpen: number
  readonly events: Events
  /** Tasks of the asking node that each agent began. */
  readonly begun: ReadonlyArray<{ readonly index: number; readonly end: End; readonly begun: number }>
  readonly account: Account
  readonly visits: Account
  readonly brokenByLeaving: ReadonlyArray<FailedCall>
  readonly unexplained: ReadonlyArray<FailedCall>
}

const leftOpen = (quiet: Moment, last: Moment): number => {
  const nodes = ({ asking, residents }: Moment): ReadonlyArray<Sample> => [asking, ...residents]
  const sum = (moment: Moment, of: (sample: Sample) => number): number =>
    nodes(moment).reduce((sum, sample) => sum + of(sample), 0)
  const streams = ({ streams }: Sample): number => streams
  const connections = ({ connections }: Sample): number => connections
  const usual = (sum(quiet, streams) / sum(quiet, connections)) * sum(last, connections)
  return sum(last, ({ tasks }) => tasks) + Math.round(sum(last, streams) - usual)
}

/** Calls that an agent had begun when it left, and did not answer: it was to end them first. */
const breaksByLeaving = ({ failovers, failures }: Totals, agents: ReadonlyMap<string, Agent>, ledger: Ledger) => {
  const broke = ({ tried }: FailedCall): boolean =>
    tried.some(({ peer, tag }) => tag === "Disconnected" && agents.get(peer ?? "")?.end === "left")
  const begun = failures.filter((call) => broke(call) && ledger.isBegun(call.n))
  // One that another agent answered was begun by that one at least.
  const twice = new Set(ledger.account().twice.map(({ n }) => n))
  return [...begun, ...failovers.filter((call) => broke(call) && twice.has(call.n))]
}

const soakFor = async (options: Options, directory: string, say: Terms["say"]): Promise<Outcome> => {
  const log = join(directory, "asking")
  const asking = new Child<AskOrder>(options.runtime, "SoakAsk.ts", ["0", String(VISITS_FROM), log])
  const world = new World(options.runtime, directory, asking, options.seed)
  try {
    await asking.read()
    await world.start()
    const began = performance.now()
    const passed = (): number => performance.now() - began
    const look = async (): Promise<Moment> => ({
      at: passed() / 1_000,
      answered: await asking.tell<number>({ _tag: "Count" }),
      agents: world.living.length,
      asking: await asking.tell<Sample>({ _tag: "Sample" }),
      residents: await Promise.all(world.residents.map(({ child }) => child.tell<Sample>({ _tag: "Sample" })))
    })
    await pause(QUIET_MS)
    const quiet = await look()
    await asking.tell({ _tag: "Start", inflight: options.inflight })
    const moments: Array<Moment> = []
    let nextSample = options.sample
    let said = 0
    while (passed() < options.ms) {
      await world.turn()
      if (passed() >= nextSample) {
        moments.push(await look())
        nextSample = passed() + options.sample
      }
      if (passed() >= said + 15_000) {
        said = passed()
        const { joined, killed, left } = world.events
        const now = moments.at(-1)
        say(
          `soak: ${Math.round(said / 1_000)} s of ${Math.round(options.ms / 1_000)}, ${whole(now?.answered ?? 0)} calls, ` +
            `${joined} joined, ${left} left, ${killed} killed, ` +
            `heap ${short((now?.asking.heap ?? 0) / MIB)} MiB, resident ${short((now?.asking.rss ?? 0) / MIB)} MiB`
        )
      }
      await pause(options.turn)
    }
    const totals = await asking.tell<Totals>({ _tag: "Stop" })
    world.endVisit()
    await pause(QUIET_MS)
    const last = await look()
    await world.end()
    asking.close()
    say("soak: reads what everybody wrote")
    const main = new Ledger(0, totals.issued)
    main.answers(log)
    const visits = new Ledger(VISITS_FROM, world.events.visits * VISIT_CALLS)
    for (const each of world.visitLogs) visits.answers(each)
    const begun = world.agents.map(({ end, index, log }) => {
      visits.agent(log, index, end)
      return { index, end, begun: main.agent(log, index, end) }
    })
    const agents = new Map(world.agents.map((agent) => [agent.node, agent]))
    return {
      moments,
      totals,
      last,
      leftOpen: leftOpen(quiet, last),
      events: world.events,
      begun,
      account: main.account(),
      visits: visits.account(),
      brokenByLeaving: breaksByLeaving(totals, agents, main),
      unexplained: totals.failures.filter((failure) => !isExplained(failure, agents))
    }
  } finally {
    world.abandon()
    asking.close()
  }
}

const run = async (args: ReadonlyArray<string>, { brief, say }: Terms): Promise<Report> => {
  const options = optionsOf(args, brief)
  say(`soak: ${options.ms / 60_000} minutes on ${options.runtime}, seed ${options.seed}`)
  const directory = mkdtempSync(join(tmpdir(), "parley-soak-"))
  try {
    return reportOf(options, await soakFor(options, directory, say), brief)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const reportOf = (options: Options, outcome: Outcome, brief: boolean): Report => {
  const { account, begun, brokenByLeaving, events, last, leftOpen, moments, totals, unexplained, visits } = outcome
  const seconds = moments.at(-1)?.at ?? 0
  const late = moments.filter(({ at }) => at >= seconds * WARM)
  const growths = [
    growthOf("asking node", late, ({ asking }) => asking),
    ...last.residents.map((_, i) => growthOf(`agent ${i}`, late, ({ residents }) => residents[i]!))
  ]
  const heap = Math.max(...growths.map((growth) => growth.heap))
  const rss = Math.max(...growths.map((growth) => growth.rss))
  const unanswered = totals.issued - totals.answered - totals.failed
  // Of many failures only some are told: the others count as unexplained.
  const lost =
    unanswered + totals.wrong + account.unfounded + unexplained.length + totals.failed - totals.failures.length
  const doubled = [account, visits].reduce(
    (sum, { answeredTwice, twiceAtOne, twiceUnforced }) => sum + answeredTwice + twiceAtOne + twiceUnforced,
    0
  )
  const goals = [
    goal("soak-lost", "calls neither answered rightly nor failed for a death", { atMost: 0 }, "", lost, 1),
    goal("soak-doubled", "tasks done twice though nobody was killed over them", { atMost: 0 }, "", doubled, 1),
    goal(
      "soak-memory",
      "growth of live memory, the worst process, MiB a minute",
      { atMost: MAX_HEAP_MIB },
      "MiB a minute",
      brief ? undefined : heap,
      late.length
    )
  ]
  const failures = [
    ...(lost > 0 ? [`${lost} calls lost`] : []),
    ...(doubled > 0 ? [`${doubled} tasks done twice`] : []),
    ...(leftOpen !== 0 ? [`${leftOpen} streams and tasks were left open`] : []),
    ...(!brief && heap > MAX_HEAP_MIB ? [`live memory grows by ${short(heap)} MiB a minute`] : []),
    ...(!brief && rss > MAX_RSS_MIB ? [`resident memory grows by ${short(rss)} MiB a minute`] : [])
  ]
  const text = `soak: ${short(seconds / 60)} minutes on ${options.runtime}, ${options.inflight} calls in flight, seed ${options.seed}
Agents keep ${whole(KEPT.entries)} finished tasks at most, for ${KEPT.ms / 1_000} s, so that this memory is full when its growth is looked at, from ${Math.round(seconds * WARM)} s on.

${table(
  ["", ""],
  [
    ["calls answered", whole(totals.answered)],
    ["  a second", whole(totals.answered / seconds)],
    ["agents joined", whole(events.joined)],
    ["agents that left with a word", whole(events.left)],
    ["agents killed", whole(events.killed)],
    ["callers killed", whole(events.visits)],
    ["calls answered by another agent than the first", whole(totals.failedOver)],
    ["  begun by one that was killed, and done by another", whole(account.afterDeath)],
    ["calls failed, for a death", whole(totals.failures.length - unexplained.length)],
    ["calls that broke off because an agent left", whole(brokenByLeaving.length)],
    ["calls lost", whole(lost)],
    ["  without an end", whole(unanswered)],
    ["  failed without a death", whole(unexplained.length + totals.failed - totals.failures.length)],
    ["  answered wrongly", whole(totals.wrong + account.unfounded)],
    ["tasks done twice", whole(doubled)],
    ["  by one agent", whole(account.twiceAtOne + visits.twiceAtOne)],
    ["  by two, neither of them killed", whole(account.twiceUnforced + visits.twiceUnforced)],
    ["streams and tasks left open", whole(leftOpen)]
  ]
)}

${table(
  ["memory", "live, MiB", "a minute", "resident, MiB", "a minute"],
  growths.map(({ heap, rss, who }, i) => {
    const held = i === 0 ? last.asking : last.residents[i - 1]!
    return [who, short(held.heap / MIB), short(heap), short(held.rss / MIB), short(rss)]
  })
)}

${table(
  ["held at the end", "connections", "records", "trust", "open circuits"],
  [last.asking, ...last.residents].map(({ circuits, connections, records, trust }, i) => [
    i === 0 ? "asking node" : `agent ${i - 1}`,
    whole(connections),
    whole(records),
    whole(trust),
    whole(circuits)
  ])
)}`
  const line = (label: string, value: (moment: Moment) => number) => ({
    label,
    points: moments.map((moment) => [moment.at, value(moment) / MIB] as const)
  })
  return {
    text,
    goals,
    data: {
      settings: { ...options, warm: WARM, kept: KEPT, maxHeapMiB: MAX_HEAP_MIB, maxRssMiB: MAX_RSS_MIB },
      events,
      begun,
      totals: { ...totals, failures: totals.failures.slice(0, TOLD), failovers: totals.failovers.slice(0, TOLD) },
      brokenByLeaving: brokenByLeaving.slice(0, TOLD),
      account,
      visits,
      unexplained: unexplained.slice(0, TOLD),
      lost,
      doubled,
      leftOpen,
      growths,
      moments,
      last
    },
    charts: [
      lines({
        name: "soak",
        title: "Memory under full load, while agents join, leave and die",
        note: `${whole(totals.answered)} calls, ${events.joined} agents joined, ${events.left} left, ${events.killed} were killed; flat is good`,
        x: { name: "seconds" },
        y: { name: "MiB" },
        lines: [
          line("asker live", ({ asking }) => asking.heap),
          line("asker resident", ({ asking }) => asking.rss),
          ...last.residents.flatMap((_, i) => [
            line(`agent ${i} live`, ({ residents }) => residents[i]!.heap),
            line(`agent ${i} resident`, ({ residents }) => residents[i]!.rss)
          ])
        ]
      })
    ],
    ...(failures.length === 0 ? {} : { failed: failures.join(", ") })
  }
}

/** The soak. */
export const soak: Part = {
  what: "full load while agents join, leave and are killed: nothing lost, nothing done twice, flat memory",
  help,
  run
}
