/**
 * `nat`: two nodes behind any two kinds of routers, and nothing but a tracker that both can reach: all pairs connect, and which
 * of them come by a direct connection, and how soon. In network namespaces, with processes of both runtimes.
 */
import { bars } from "../../bench/src/Charts.ts"
import { spreadOf } from "../../bench/src/Spread.ts"
import { short, table } from "../../bench/src/Table.ts"
import { runCommand, type Runtime } from "../../scripts/setup.mjs"
import { type Namespace, type Program, start } from "../../test-support/Namespace.ts"
import * as Nat from "../../test-support/Nat.ts"
import { current } from "../../test-support/Runtime.ts"
import { type Experiment, type Report, row, type Terms } from "./Experiment.ts"
import type { News, Order } from "./nat/node.ts"

/** `restricted` here is by address and port: what most routers at homes do, and the harder of the two kinds. */
const kinds = ["open", "full-cone", "port-restricted", "symmetric"] as const
type Kind = (typeof kinds)[number]
const file = new URL("./nat/node.ts", import.meta.url).pathname
const TRACKER = "tcp://203.0.113.2:7878"
/** A direct connection is waited for so long; the first attempt is over by then. */
const PATIENCE_MS = 3_500
/** A random port of one end cannot be foretold by an end that lets in foretold ports alone. */
const canBeDirect = (a: Kind, b: Kind): boolean =>
  !([a, b].includes("symmetric") && [a, b].every((kind) => kind === "symmetric" || kind === "port-restricted"))

interface Node {
  readonly program: Program
  readonly id: string
  readonly relay: string
}

interface Pair {
  readonly a: Kind
  readonly b: Kind
  readonly runtimes: readonly [Runtime, Runtime]
  /** A word went there and back, over whichever connection. */
  readonly connected: boolean
  /** From the relayed connection to the direct one at the end that has it later, in ms. */
  readonly directMs: ReadonlyArray<number>
  /** Rounds in which it stayed relayed. */
  readonly relayed: number
}

const order = ({ program }: Pick<Node, "program">, what: Order): void => program.tell(JSON.stringify(what))
const startNode = (at: Namespace, runtime: Runtime, seed: number): Program => {
  const [binary, ...args] = runCommand(runtime, file)
  return start(at, binary!, [...args, seed.toString(16), at.address === "203.0.113.2" ? "tracker" : TRACKER])
}
const ready = async (program: Program): Promise<Node> => {
  const { node } = await program.next<News & { node: string }>((news) => "node" in news, 30_000)
  const isRelayed = (address: string): boolean => address.startsWith("relay:")
  const { addresses } = await program.next<News & { addresses: ReadonlyArray<string> }>(
    (news) => "addresses" in news && news.addresses.some(isRelayed),
    30_000
  )
  return { program, id: node, relay: addresses.find(isRelayed)! }
}

type Connected = Extract<News, { connected: string }>
const isConnected =
  (peer: string, relayed?: boolean) =>
  (news: News): news is Connected =>
    "connected" in news && news.connected === peer && (relayed === undefined || news.relayed === relayed)

const echo = async (a: Node, b: Node): Promise<boolean> => {
  order(a, { echo: b.id })
  const news = await a.program.next<News>(
    (each) => ("echoed" in each && each.echoed === b.id) || ("failed" in each && each.failed === b.id)
  )
  return "echoed" in news
}

/** One connection through the relay, and what becomes of it; undefined where it stays relayed. */
const meet = async (a: Node, b: Node, patient: boolean): Promise<{ ms: number | undefined; connected: boolean }> => {
  order(a, { connect: b.relay, node: b.id })
  const first = await a.program.next<Connected>(isConnected(b.id))
  const atOnce = await echo(a, b)
  let ms: number | undefined
  if (patient) {
    try {
      const near = await a.program.next<Connected>(isConnected(b.id, false), PATIENCE_MS)
      const far = await b.program.next<Connected>(isConnected(a.id, false), PATIENCE_MS)
      ms = Math.max(near.at, far.at) - first.at
    } catch {
      // It stays relayed.
    }
  }
  const connected = atOnce && (await echo(a, b))
  order(a, { drop: b.id })
  await b.program.next<News>((news) => "gone" in news && news.gone === a.id)
  return { ms, connected }
}

const measure = async (
  runtimes: readonly [Runtime, Runtime],
  pairs: ReadonlyArray<readonly [Kind, Kind]>,
  rounds: number,
  { say, seed }: Terms
): Promise<ReadonlyArray<Pair>> => {
  const net = await Nat.build({ sites: [...kinds, ...kinds].map((nat) => ({ nat })) })
  try {
    const tracker = startNode(net.publicHosts[0]!, runtimes[0], 1)
    await tracker.next<News>((news) => "node" in news, 30_000)
    // Which of two NodeIds is smaller differs from run to run.
    const programs = net.sites.map((site, index) =>
      startNode(site.hosts[0]!, runtimes[index < kinds.length ? 0 : 1], (Math.abs(seed) % 0xff_ffff) * 100 + index + 2)
    )
    const nodes = await Promise.all(programs.map(ready))
    const found: Array<Pair> = []
    for (const [a, b] of pairs) {
      const [near, far] = [nodes[kinds.indexOf(a)]!, nodes[kinds.length + kinds.indexOf(b)]!]
      const directMs: Array<number> = []
      let relayed = 0
      let connected = true
      for (let round = 0; round < rounds && !(round > 0 && !canBeDirect(a, b)); round++) {
        const met = await meet(near, far, true)
        connected &&= met.connected
        if (met.ms === undefined) relayed++
        else directMs.push(met.ms)
      }
      found.push({ a, b, runtimes, connected, directMs, relayed })
      say(`${runtimes.join(" to ")}: ${a} to ${b}: ${connected ? "" : "not "}connected, ${directMs.length} direct`)
    }
    return found
  } finally {
    net.close()
  }
}

const run = async (terms: Terms): Promise<Report> => {
  const every = kinds.flatMap((a) => kinds.map((b) => [a, b] as const))
  const few = [
    ["open", "symmetric"],
    ["full-cone", "port-restricted"],
    ["port-restricted", "port-restricted"],
    ["symmetric", "full-cone"],
    ["symmetric", "port-restricted"]
  ] as const
  const other: Runtime = current === "bun" ? "deno" : "bun"
  const mixes: ReadonlyArray<readonly [Runtime, Runtime]> = terms.brief
    ? [[current, other]]
    : [
        ["bun", "bun"],
        ["bun", "deno"],
        ["deno", "bun"],
        ["deno", "deno"]
      ]
  const [pairs, rounds] = terms.brief ? [few, 2] : [every, 5]
  const found: Array<Pair> = []
  for (const runtimes of mixes) found.push(...(await measure(runtimes, pairs, rounds, terms)))

  const possible = found.filter(({ a, b }) => canBeDirect(a, b))
  const all = possible.flatMap(({ directMs }) => directMs)
  const tried = possible.reduce((sum, { directMs, relayed }) => sum + directMs.length + relayed, 0)
  const of = (a: Kind, b: Kind): ReadonlyArray<Pair> => found.filter((pair) => pair.a === a && pair.b === b)
  const cell = (a: Kind, b: Kind): string => {
    const ms = of(a, b).flatMap(({ directMs }) => directMs)
    if (of(a, b).length === 0) return ""
    return ms.length === 0 ? "relayed" : `${short(spreadOf(ms).median)} (${short(Math.max(...ms))})`
  }
  const text = `From a relayed connection to a direct one, in ms: the median, and the longest in brackets. Rows: who dialled.\n\n${table(
    ["", ...kinds],
    kinds.map((a) => [a, ...kinds.map((b) => cell(a, b))])
  )}`
  const most = terms.brief ? 3_000 : 1_000
  const connected = found.filter((pair) => pair.connected).length
  return {
    text,
    rows: [
      row(
        "nat-connected",
        `pairs of routers behind which two nodes reach each other, of ${pairs.length}, on ${mixes.length} mixes of runtimes`,
        { atLeast: found.length },
        "pairs",
        connected,
        found.length,
        terms.seed
      ),
      row(
        "nat-direct",
        "connections that became direct where that is possible",
        { atLeast: 100 },
        "%",
        (100 * all.length) / tried,
        tried,
        terms.seed
      ),
      row(
        "nat-direct-ms",
        "longest time from a relayed connection to a direct one at both ends",
        { atMost: most },
        "ms",
        Math.max(...all),
        all.length,
        terms.seed
      )
    ],
    data: { pairs: found },
    charts: [
      bars({
        name: "nat",
        title: "From relayed to direct, by the routers of the two ends",
        note: "Median, fastest and slowest connection, Bun and Deno at both ends. Shorter is better; the goal is 1 s.",
        unit: "ms",
        bars: pairs
          .filter(([a, b]) => canBeDirect(a, b))
          .flatMap(([a, b]) => {
            const ms = of(a, b).flatMap(({ directMs }) => directMs)
            return ms.length === 0 ? [] : [{ label: `${a} to ${b}`, value: spreadOf(ms), ours: true }]
          })
      })
    ]
  }
}

export const natMatrix: Experiment = {
  what: "nodes behind every two kinds of routers connect, and do without the relay within a second where a way leads",
  unavailable: Nat.unavailable(),
  run
}
