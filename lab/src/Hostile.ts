/** `hostile`: strangers do their worst to one node, attack by attack, while honest peers go on; and then all of it for ten minutes. */
import { setTimeout as pause } from "node:timers/promises"
import type { Runtime } from "../../scripts/setup.mjs"
import { lines } from "../../bench/src/Charts.ts"
import { Child } from "../../bench/src/Child.ts"
import { slopeOf } from "../../bench/src/Slope.ts"
import type { Sample } from "../../bench/src/SoakSample.ts"
import { quantile } from "../../bench/src/Spread.ts"
import { short, table } from "../../bench/src/Table.ts"
import { untilValue } from "../../test-support/Until.ts"
import type { Counts } from "./hostile/Attack.ts"
import { attacks } from "./hostile/Attacks.ts"
import { type Seen, startFriend } from "./hostile/Friend.ts"
import type { VictimOrder, VictimReady, VictimSample } from "./hostile/VictimMain.ts"
import { type Experiment, type Report, row, type Terms } from "./Experiment.ts"

const MIB = 2 ** 20
/** How long each attack lasts by itself, and in a brief run, in ms. */
const ALONE_MS = { full: 10_000, brief: 1_500 }
/** All attacks together, in ms. */
const SOAK_MS = { full: 600_000, brief: 4_000 }
/** Connections of the crowd. */
const CROWD = 10_000
/** Those of a small run on Deno, which accepts 128 a turn of its loop at most: a small run begins and ends with all of them. */
const CROWD_OF_DENO = 2_000
const SAMPLE_MS = { full: 5_000, brief: 500 }
/** The part of the soak that is warming up: what is kept up to a bound fills. */
const WARM = 0.4
/** What the attacked node may hold beyond what it held in quiet: `MAX_HELD_BYTES` of transport and half of `recordBytes` of core. */
const MOST_MIB = 640
/** What an honest call may take at p95 while the attackers and the attacked share two processors, in ms. */
const MOST_P95_MS = 250

interface Moment {
  readonly at: number
  readonly sample: Sample
  /** Honest peers among the attacked node's neighbours in gossip, and all its neighbours. */
  readonly honest: number
  readonly neighbors: number
}

interface Trial {
  readonly name: string
  readonly what: string
  readonly counts: Counts
  readonly seen: Seen
  readonly moments: ReadonlyArray<Moment>
  /** Messages that the honest peer published, and those of them that the attacked node did not hear. */
  readonly published: number
  readonly missed: number
  /** CPU time that the attacked node used, of one processor. */
  readonly cpu: number
}

const ofLatencies = ({ latencies }: Seen, part: number): number =>
  quantile(
    [...latencies].sort((a, b) => a - b),
    part
  )

/** How long what an honest peer has published may take to arrive, in ms. */
const ARRIVAL_MS = 10_000

/** The attacked node with its friend. */
class World {
  readonly victim: Child<VictimOrder>
  readonly ready: VictimReady
  readonly friend: Awaited<ReturnType<typeof startFriend>>
  readonly quiet: Sample
  readonly crowd: number
  readonly began = performance.now()

  private constructor(
    victim: Child<VictimOrder>,
    ready: VictimReady,
    friend: Awaited<ReturnType<typeof startFriend>>,
    quiet: Sample,
    crowd: number
  ) {
    this.victim = victim
    this.ready = ready
    this.friend = friend
    this.quiet = quiet
    this.crowd = crowd
  }

  static async start(runtime: Runtime, crowd: number): Promise<World> {
    const victim = new Child<VictimOrder>(runtime, "../../lab/src/hostile/VictimMain.ts")
    let friend: World["friend"] | undefined
    try {
      const ready = await victim.read<VictimReady>()
      friend = await startFriend(ready.address, ready.node)
      const { nodeId } = friend
      const quiet = await untilValue(
        "the honest peer to be a neighbour",
        () => victim.tell<VictimSample>({ _tag: "Sample" }),
        ({ neighbors }) => neighbors.includes(nodeId)
      )
      friend.take()
      return new World(victim, ready, friend, quiet, crowd)
    } catch (error) {
      await friend?.stop()
      victim.close()
      throw error
    }
  }

  async stop(): Promise<void> {
    await this.friend.stop()
    this.victim.close()
  }

  #missing(from: number, to: number): Promise<number> {
    return this.victim.tell({ _tag: "Missing", from, to })
  }

  async trial(names: ReadonlyArray<string>, ms: number, everyMs: number, seed: number): Promise<Trial> {
    const at = new URL(this.ready.address)
    const attackers = new Child("bun", "../../lab/src/hostile/AttackMain.ts", [
      this.ready.node,
      at.hostname,
      at.port,
      String(this.crowd),
      String(seed),
      ...names
    ])
    await attackers.read<{ readonly attacking: ReadonlyArray<string> }>()
    this.friend.take()
    const from = this.friend.published()
    const { micros } = await this.victim.used()
    const began = performance.now()
    const moments: Array<Moment> = []
    while (performance.now() - began < ms) {
      await pause(everyMs)
      const at = (performance.now() - began) / 1_000
      const { neighbors, ...sample } = await this.victim.tell<VictimSample>({ _tag: "Sample" })
      const honest = neighbors.filter((peer) => peer === this.friend.nodeId).length
      moments.push({ at, sample, honest, neighbors: neighbors.length })
    }
    const used = (await this.victim.used()).micros - micros
    const seconds = (performance.now() - began) / 1_000
    const seen = this.friend.take()
    const to = this.friend.published()
    // The attack goes on until they have come, or should have.
    const arrived = performance.now() + ARRIVAL_MS
    let missed = await this.#missing(from, to)
    while (missed > 0 && performance.now() < arrived) {
      await pause(200)
      missed = await this.#missing(from, to)
    }
    attackers.close()
    const counts = await attackers.read<{ readonly [name: string]: Counts }>()
    return {
      name: names.length === 1 ? names[0]! : "all of it",
      what: names.length === 1 ? attacks[names[0]!]!.what : "all of it at once",
      counts:
        names.length === 1
          ? counts[names[0]!]!
          : Object.fromEntries(
              Object.entries(counts).flatMap(([name, each]) =>
                Object.entries(each).map(([what, n]) => [`${name}: ${what}`, n])
              )
            ),
      seen,
      moments,
      published: to - from,
      missed,
      cpu: used / 1e6 / seconds
    }
  }
}

const most = (trial: Trial, of: (sample: Sample) => number): number =>
  Math.max(...trial.moments.map(({ sample }) => of(sample)))

const rowsText = (trials: ReadonlyArray<Trial>, quiet: Sample): string =>
  table(
    ["attack", "calls", "failed", "p50 ms", "p95 ms", "newcomers", "turned away", "MiB more", "CPU", "did"],
    trials.map((trial) => [
      trial.name,
      String(trial.seen.latencies.length + trial.seen.failed.length),
      String(trial.seen.failed.length),
      short(ofLatencies(trial.seen, 0.5)),
      short(ofLatencies(trial.seen, 0.95)),
      String(trial.seen.newcomers),
      String(trial.seen.turnedAway.length),
      String(Math.round((most(trial, ({ rss }) => rss) - quiet.rss) / MIB)),
      `${Math.round(trial.cpu * 100)} %`,
      Object.entries(trial.counts)
        .map(([what, n]) => `${n.toLocaleString("en-US")} ${what}`)
        .join(", ")
        .slice(0, 100)
    ])
  )

const growth = (trial: Trial, of: (sample: Sample) => number): number => {
  const warm = trial.moments.slice(Math.floor(trial.moments.length * WARM))
  return slopeOf(warm.map(({ at, sample }) => [at / 60, of(sample) / MIB]))
}

const run = async ({ brief, say, seed }: Terms): Promise<Report> => {
  const size = brief ? "brief" : "full"
  const runtime: Runtime = "Deno" in globalThis ? "deno" : "bun"
  const world = await World.start(runtime, brief && runtime === "deno" ? CROWD_OF_DENO : CROWD)
  try {
    const trials: Array<Trial> = []
    for (const [i, name] of Object.keys(attacks).entries()) {
      say(`hostile: ${attacks[name]!.what}`)
      trials.push(await world.trial([name], ALONE_MS[size], SAMPLE_MS.brief, seed + 100 * i))
    }
    say(`hostile: all of it at once, ${SOAK_MS[size] / 1_000} s`)
    const soak = await world.trial(Object.keys(attacks), SOAK_MS[size], SAMPLE_MS[size], seed)
    const all = [...trials, soak]
    const calls = all.reduce((sum, { seen }) => sum + seen.latencies.length + seen.failed.length, 0)
    const failed = all.flatMap(({ seen }) => seen.failed)
    const newcomers = all.reduce((sum, { seen }) => sum + seen.newcomers + seen.turnedAway.length, 0)
    const turnedAway = all.flatMap(({ seen }) => seen.turnedAway)
    const rss = Math.max(...all.map((trial) => most(trial, (sample) => sample.rss)))
    for (const why of new Set([...failed, ...turnedAway])) say(`hostile: ${why}`)
    return {
      text: `An honest peer calls every 20 ms, newcomers join, attackers have the other processor (${runtime}):\n\n${rowsText(all, world.quiet)}`,
      rows: [
        row(
          "hostile-calls",
          `Calls of an honest peer that failed, under ${trials.length} attacks and all at once`,
          { atMost: 0 },
          "calls",
          failed.length,
          calls,
          seed
        ),
        row(
          "hostile-newcomers",
          "Honest newcomers turned away meanwhile",
          { atMost: 0 },
          "newcomers",
          turnedAway.length,
          newcomers,
          seed
        ),
        row(
          "hostile-eclipse",
          "Messages of an honest peer that the attacked node did not hear, while strangers that carry nothing on want to be its neighbours",
          { atMost: 0 },
          "messages",
          all.reduce((sum, { missed }) => sum + missed, 0),
          all.reduce((sum, { published }) => sum + published, 0),
          seed
        ),
        row(
          "hostile-neighbours",
          "Honest peers among the attacked node's neighbours in gossip, at the least, of one that is there (runs: looks)",
          { atLeast: 1 },
          "",
          Math.min(...all.flatMap(({ moments }) => moments.map(({ honest }) => honest))),
          all.reduce((sum, { moments }) => sum + moments.length, 0),
          seed
        ),
        ...(brief
          ? []
          : [
              row(
                "hostile-p95",
                "p95 of an honest call under the worst attack, on a processor shared with the attackers",
                { atMost: MOST_P95_MS },
                "ms",
                Math.max(...all.map(({ seen }) => ofLatencies(seen, 0.95))),
                all.length,
                seed
              ),
              row(
                "hostile-heap",
                "What live objects grow by in ten minutes of all attacks at once, after warming up",
                { atMost: 1 },
                "MiB a minute",
                growth(soak, ({ heap }) => heap),
                soak.moments.length,
                seed
              ),
              row(
                "hostile-rss",
                "What resident memory grows by meanwhile",
                { atMost: 4 },
                "MiB a minute",
                growth(soak, ({ rss: each }) => each),
                soak.moments.length,
                seed
              )
            ]),
        row(
          "hostile-memory",
          "Memory that the attacked node holds at most beyond its quiet",
          { atMost: MOST_MIB },
          "MiB",
          (rss - world.quiet.rss) / MIB,
          all.length,
          seed
        )
      ],
      data: {
        trials: all.map(({ counts, cpu, missed, moments, name, published, seen, what }) => ({
          name,
          what,
          cpu,
          counts,
          published,
          missed,
          calls: seen.latencies.length,
          failed: seen.failed.slice(0, 5),
          newcomers: seen.newcomers,
          turnedAway: seen.turnedAway.slice(0, 5),
          p50: ofLatencies(seen, 0.5),
          p95: ofLatencies(seen, 0.95),
          moments: moments.length > 30 ? moments.filter((_, i) => i % 4 === 0) : moments
        }))
      },
      charts: [
        lines({
          name: "hostile-memory",
          title: "Memory of a node under all attacks at once",
          note: "MiB over minutes; flat is good",
          x: { name: "minutes" },
          y: { name: "MiB" },
          lines: [
            {
              label: "resident",
              points: soak.moments.map(({ at, sample }) => [at / 60, sample.rss / MIB])
            },
            { label: "live objects", points: soak.moments.map(({ at, sample }) => [at / 60, sample.heap / MIB]) }
          ]
        })
      ]
    }
  } finally {
    await world.stop()
  }
}

export const hostile: Experiment = {
  what: "Strangers do their worst to one node, attack by attack and then all at once for ten minutes",
  run
}
