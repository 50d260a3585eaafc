/** `stream`: small chunks a second, bulk bytes beside bare TCP, and the memory that a gigabyte and a slow reader cost. */
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import { bars } from "./Charts.ts"
import { Child } from "./Child.ts"
import { goal, type Goal, type Part, type Report, type Terms } from "./Part.ts"
import { ratioOf, type Spread, spreadOf } from "./Spread.ts"
import { BLOCK_BYTES, type Order, type Peak, REST_BYTES, type Taken } from "./StreamOrders.ts"
import { short, spread, table, whole } from "./Table.ts"
import { takeTurns, valuesOf } from "./Turns.ts"
import { numberOf, runtimesOf } from "./OptionValues.ts"

const MIB = 2 ** 20
const GIB = 2 ** 30
/** How long a slow reader rests after each `REST_BYTES`. */
const REST_MS = 2
/** By how much either end may grow while a gigabyte goes through it: less than a tenth of that. */
const MOST_MIB = 96

const help = `bench stream: long answers between two processes, beside bare TCP

  --runtime bun,deno    runtimes (default: both)
  --pairs N             rounds (default: 5)
  --rows N              small chunks of a round (default: 1,000,000)
  --mib N               bulk data of a round in MiB (default: 256)`

interface Options {
  readonly runtimes: ReadonlyArray<Runtime>
  readonly pairs: number
  readonly rows: number
  readonly bytes: number
  /** Bulk data of the runs whose memory is looked at; slower runtimes, by which nothing is judged, take less. */
  readonly whole: { readonly [R in Runtime]: number }
}

const optionsOf = (args: ReadonlyArray<string>, brief: boolean): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runtime: { type: "string", default: "bun,deno" },
      pairs: { type: "string", default: brief ? "1" : "5" },
      rows: { type: "string", default: brief ? "10000" : "1000000" },
      mib: { type: "string", default: brief ? "4" : "256" }
    }
  })
  return {
    runtimes: runtimesOf(values.runtime),
    pairs: numberOf("pairs", values.pairs, 1, true),
    rows: numberOf("rows", values.rows, 1, true),
    bytes: numberOf("mib", values.mib, 1, true) * MIB,
    whole: brief ? { bun: 16 * MIB, deno: 16 * MIB } : { bun: GIB, deno: GIB / 4 }
  }
}

/** Who serves, and who reads. */
interface Pair {
  readonly serving: Child<Order>
  readonly reading: Child<Order>
}

const pairOf = async (
  runtime: Runtime,
  what: "parley" | "tcp" | "sealed",
  started: Array<Child<Order>>
): Promise<Pair> => {
  const start = async (...args: ReadonlyArray<string>) => {
    const child = new Child<Order>(runtime, "StreamEnd.ts", [what, ...args])
    started.push(child)
    return { child, address: (await child.read<{ readonly address: string }>()).address }
  }
  const { address, child: serving } = await start("serve")
  const { child: reading } = await start("read", address)
  return { serving, reading }
}

/** What a transfer took. CPU time is of both ends, in microseconds. */
interface Round extends Taken {
  readonly micros: number
}

const transfer = async ({ reading, serving }: Pair, order: Order): Promise<Round> => {
  const ends = [reading, serving]
  const used = async () => {
    let micros = 0
    for (const end of ends) micros += (await end.used()).micros
    return micros
  }
  const before = await used()
  const taken = await reading.tell<Taken>(order)
  return { ...taken, micros: (await used()) - before }
}

/** By how much the ends grew, in MiB, and what the transfer took. */
interface Growth {
  readonly sentMiB: number
  readonly servingMiB: number
  readonly readingMiB: number
  readonly seconds: number
}

const growthOf = async (pair: Pair, bytes: number, restMs: number): Promise<Growth> => {
  for (const end of [pair.serving, pair.reading]) {
    await end.collected()
    await end.tell({ _tag: "Watch", on: true })
  }
  const { seconds } = await pair.reading.tell<Taken>({ _tag: "Bytes", bytes, restMs })
  const grown = async (end: Child<Order>) => {
    const { before, most } = await end.tell<Peak>({ _tag: "Watch", on: false })
    return (most - before) / MIB
  }
  return {
    sentMiB: bytes / MIB,
    servingMiB: await grown(pair.serving),
    readingMiB: await grown(pair.reading),
    seconds
  }
}

interface Measured {
  readonly runtime: Runtime
  readonly pairs: number
  readonly chunksPerSecond: Spread
  /** CPU time of both ends. */
  readonly microsPerChunk: Spread
  readonly mibPerSecond: Spread
  readonly tcpMibPerSecond: Spread
  /** Bare TCP with AES-GCM and nothing else: the ceiling. */
  readonly sealedMibPerSecond: Spread
  /** Of the rate of bare TCP, and of sealed TCP, in the same round. */
  readonly ofTcp: Spread
  readonly ofSealed: Spread
  /** What is left of bare TCP's rate when it is sealed. */
  readonly sealedOfTcp: Spread
  readonly microsPerBlock: Spread
  readonly sealedMicrosPerBlock: Spread
  readonly tcpMicrosPerBlock: Spread
  readonly quick: Growth
  readonly slow: Growth
}

const measure = async (runtime: Runtime, options: Options, { say }: Terms): Promise<Measured> => {
  const { bytes, pairs, rows, whole: all } = options
  const started: Array<Child<Order>> = []
  try {
    const parley = await pairOf(runtime, "parley", started)
    const tcp = await pairOf(runtime, "tcp", started)
    const sealed = await pairOf(runtime, "sealed", started)
    const bulk = (pair: Pair) => transfer(pair, { _tag: "Bytes", bytes, restMs: 0 })
    const small = () => transfer(parley, { _tag: "Rows", rows })
    const rounds = await takeTurns<Round>(
      [
        { name: "chunks", warmUp: () => small().then(small), round: small },
        { name: "parley", warmUp: () => bulk(parley).then(() => bulk(parley)), round: () => bulk(parley) },
        { name: "sealed", warmUp: () => bulk(sealed), round: () => bulk(sealed) },
        { name: "tcp", warmUp: () => bulk(tcp), round: () => bulk(tcp) }
      ],
      pairs
    )
    say(`stream: ${runtime}: ${pairs} rounds measured`)
    const quick = await growthOf(parley, all[runtime], 0)
    const slow = await growthOf(parley, all[runtime], REST_MS)
    say(`stream: ${runtime}: memory measured`)
    const rate = (name: string) => valuesOf(rounds, name, (round) => round.bytes / MIB / round.seconds)
    const perBlock = (name: string) =>
      spreadOf(valuesOf(rounds, name, (round) => (round.micros / round.bytes) * 65_536))
    return {
      runtime,
      pairs,
      chunksPerSecond: spreadOf(valuesOf(rounds, "chunks", ({ chunks, seconds }) => chunks / seconds)),
      microsPerChunk: spreadOf(valuesOf(rounds, "chunks", ({ chunks, micros }) => micros / chunks)),
      mibPerSecond: spreadOf(rate("parley")),
      tcpMibPerSecond: spreadOf(rate("tcp")),
      sealedMibPerSecond: spreadOf(rate("sealed")),
      ofTcp: ratioOf(rate("parley"), rate("tcp")),
      ofSealed: ratioOf(rate("parley"), rate("sealed")),
      sealedOfTcp: ratioOf(rate("sealed"), rate("tcp")),
      microsPerBlock: perBlock("parley"),
      sealedMicrosPerBlock: perBlock("sealed"),
      tcpMicrosPerBlock: perBlock("tcp"),
      quick,
      slow
    }
  } finally {
    for (const child of started) child.close()
  }
}

const grown = ({ readingMiB, servingMiB }: Growth): number => Math.max(readingMiB, servingMiB)

const goalsOf = (bun: Measured | undefined): ReadonlyArray<Goal> => {
  const runs = bun?.pairs ?? 0
  return [
    goal(
      "stream-chunks",
      "small chunks of one stream, encrypted, Bun",
      { atLeast: 500_000 },
      "chunks/s",
      bun?.chunksPerSecond.median,
      runs
    ),
    goal(
      "stream-gib",
      "bulk bytes of one stream, encrypted, Bun",
      { atLeast: 0.5 },
      "× bare TCP",
      bun?.ofTcp.median,
      runs
    ),
    goal(
      "stream-memory",
      `growth of either end by ${whole(bun?.quick.sentMiB ?? GIB / MIB)} MiB, to a quick and to a slow reader, Bun`,
      { atMost: MOST_MIB },
      "MiB",
      bun === undefined ? undefined : Math.max(grown(bun.quick), grown(bun.slow)),
      bun === undefined ? 0 : 2
    )
  ]
}

const textOf = (
  all: ReadonlyArray<Measured>,
  { bytes, rows }: Options
): string => `Small chunks: ${whole(rows)} of {"n", "text"} a round, as JSON, through \`node.stream\`
${table(
  ["runtime", "chunks/s", "CPU µs/chunk, both ends"],
  all.map((each) => [each.runtime, spread(each.chunksPerSecond, whole), spread(each.microsPerChunk)])
)}

Bulk: ${whole(bytes / MIB)} MiB a round, in chunks of ${BLOCK_BYTES / 1_024} KiB. Sealed TCP is bare TCP with AES-GCM by node:crypto, and no more
${table(
  ["runtime", "", "MiB/s", "of bare TCP", "CPU µs/64 KiB, both ends"],
  all.flatMap((each) => [
    [each.runtime, "Parley", spread(each.mibPerSecond, whole), spread(each.ofTcp), spread(each.microsPerBlock)],
    [
      each.runtime,
      "sealed TCP",
      spread(each.sealedMibPerSecond, whole),
      spread(each.sealedOfTcp),
      spread(each.sealedMicrosPerBlock)
    ],
    [each.runtime, "bare TCP", spread(each.tcpMibPerSecond, whole), "1", spread(each.tcpMicrosPerBlock)]
  ])
)}
${all.map(({ ofSealed, runtime }) => `${runtime}: Parley is ${spread(ofSealed)} of sealed TCP`).join("\n")}

Memory: by how much an end grew meanwhile; a slow reader rests ${REST_MS} ms after each ${REST_BYTES / MIB} MiB
${table(
  ["runtime", "reader", "sent, MiB", "serving, MiB", "reading, MiB", "seconds"],
  all.flatMap(({ quick, runtime, slow }) =>
    [["quick", quick] as const, ["slow", slow] as const].map(([name, growth]) => [
      runtime,
      name,
      whole(growth.sentMiB),
      short(growth.servingMiB),
      short(growth.readingMiB),
      short(growth.seconds)
    ])
  )
)}`

const run = async (args: ReadonlyArray<string>, terms: Terms): Promise<Report> => {
  const options = optionsOf(args, terms.brief)
  const all: Array<Measured> = []
  for (const runtime of options.runtimes) all.push(await measure(runtime, options, terms))
  const { bytes, pairs, rows, whole: most } = options
  return {
    text: textOf(all, options),
    goals: goalsOf(all.find(({ runtime }) => runtime === "bun")),
    data: {
      settings: { pairs, rows, bytes, blockBytes: BLOCK_BYTES, wholeBytes: most, restMs: REST_MS },
      streams: all
    },
    charts: [
      bars({
        name: "stream",
        title: "Bulk bytes of one stream",
        note: `Chunks of ${BLOCK_BYTES / 1_024} KiB between two processes, beside bare TCP in the same round. More is better.`,
        unit: "MiB/s",
        write: whole,
        bars: all.flatMap(({ mibPerSecond, runtime, sealedMibPerSecond, tcpMibPerSecond }) => [
          { label: `Parley, ${runtime}`, value: mibPerSecond, ours: true },
          { label: `sealed TCP, ${runtime}`, value: sealedMibPerSecond },
          { label: `bare TCP, ${runtime}`, value: tcpMibPerSecond }
        ])
      })
    ]
  }
}

/** Long answers. */
export const stream: Part = { what: "small chunks and bulk bytes of a stream, beside bare TCP", help, run }
