/**
 * `roaming`: streams and calls to agents in processes of their own, on both runtimes, through a proxy that resets, cuts, freezes
 * and refuses. Every chunk has to come once and in order, every call to be answered once, and every task to run once.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { setTimeout as pause } from "node:timers/promises"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Node from "@parley/core/Node"
import { fromSeed, type Seeded } from "@parley/core/testing/Seeded"
import { bars, lines } from "../../bench/src/Charts.ts"
import { spreadOf } from "../../bench/src/Spread.ts"
import { table } from "../../bench/src/Table.ts"
import { Job, layerOf, readNumbers, type Settings } from "../../packages/transport-tcp/test/roaming-agent.ts"
import { root, runCommand, type Runtime } from "../../scripts/setup.mjs"
import { FaultProxy } from "../../test-support/FaultProxy.ts"
import { linked, startModule, unavailable } from "../../test-support/Namespace.ts"
import { freePort } from "../../test-support/Throwaway.ts"
import { until } from "../../test-support/Until.ts"
import { type Experiment, type Report, row, type Terms } from "./Experiment.ts"

/** Limits that find out soon that a peer is silent: what takes half a minute otherwise takes a second, and shows the same. */
const limits = { keepaliveMs: 300, deadAfterMs: 1_000, handshakeTimeoutMs: 1_000 }

/** An agent in a process of its own, behind a proxy. */
interface Place {
  readonly runtime: Runtime
  readonly child: ChildProcess
  readonly proxy: FaultProxy
  readonly runs: () => Promise<Readonly<Record<string, number>>>
}

class World {
  readonly #closers: Array<() => unknown> = []

  async place(runtime: Runtime, random: Seeded): Promise<Place> {
    const proxy = await FaultProxy.to({ port: 1 }, { random: random.next })
    this.#closers.push(() => proxy.close())
    const port = await freePort()
    const settings: Settings = { port, advertise: [proxy.address], limits }
    const [file, ...args] = runCommand(runtime, `${root}/packages/transport-tcp/test/roaming-agent.ts`)
    const child = spawn(file, [...args, JSON.stringify(settings)], { stdio: ["pipe", "pipe", "inherit"] })
    this.#closers.push(() => child.kill("SIGKILL"))
    const said: Array<{ readonly node?: string; readonly runs?: Readonly<Record<string, number>> }> = []
    createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("{") && said.push(JSON.parse(line)))
    await until("an agent's start", () => said.length > 0)
    proxy.retarget({ port })
    const runs = async () => {
      child.stdin.write(`${JSON.stringify({ runs: true })}\n`)
      await until("how often tasks ran", () => said.at(-1)?.runs !== undefined)
      return said.pop()!.runs!
    }
    return { runtime, child, proxy, runs }
  }

  async caller(): Promise<Node.Node["Service"]> {
    const scope = Scope.makeUnsafe()
    this.#closers.push(() => Effect.runPromise(Scope.close(scope, Exit.void)))
    const context = await Effect.runPromise(Layer.buildWithScope(layerOf({ name: "caller", limits }), scope))
    return Context.get(context, Node.Node)
  }

  onClose(close: () => unknown): void {
    this.#closers.push(close)
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close()
  }
}

/** Reads one stream after the other, and counts what is wrong with them. */
class Reader {
  /** Chunks that came, of all its streams. */
  chunks = 0
  streams = 0
  readonly wrong: Array<string> = []
  #over = false

  constructor(node: Node.Node["Service"], address: string, count: number, ballast: number) {
    void this.#run(node, address, count, ballast)
  }
  async #run(node: Node.Node["Service"], address: string, count: number, ballast: number): Promise<void> {
    const input = { count, atOnce: 4, everyMs: 20, ballast }
    while (!this.#over) {
      const result = await Effect.runPromise(readNumbers(node, address, input, () => void this.chunks++))
      this.streams += 1
      if (result.error !== undefined || result.wrong !== undefined || result.seen !== count) {
        this.wrong.push(JSON.stringify(result))
      }
    }
    this.ended = true
  }
  ended = false
  stop(): void {
    this.#over = true
  }
}

/** Calls one task after the other, each under a name of its own. */
class Caller {
  readonly answers: Array<number> = []
  readonly lost: Array<string> = []
  #over = false
  ended = false

  constructor(node: Node.Node["Service"], address: string, name: string, random: Seeded) {
    void this.#run(node, address, name, random)
  }
  async #run(node: Node.Node["Service"], address: string, name: string, random: Seeded): Promise<void> {
    for (let n = 0; !this.#over; n++) {
      const task = { name: `${name}-${n}`, ms: 20 + random.int(300) }
      const call = node.call(Job, task, { to: address, deadline: "2 minutes" })
      await Effect.runPromise(
        Effect.match(call, {
          onSuccess: ({ runs }) => void this.answers.push(runs),
          onFailure: (error) => void this.lost.push(error.message)
        })
      )
    }
    this.ended = true
  }
  stop(): void {
    this.#over = true
  }
}

const faults = ["reset", "reset", "reset", "reset", "end", "loss", "cut", "silence"] as const
type Fault = (typeof faults)[number]

interface Cut {
  readonly fault: Fault
  /** Until every stream of the agent went on, since the fault was over. */
  readonly ms: number
}

/** Until each of these has gone on since now. */
const goneOn = async (readers: ReadonlyArray<Reader>): Promise<number> => {
  const from = performance.now()
  const since = readers.map(({ chunks }) => chunks)
  await until("every stream to go on", () => readers.every(({ chunks }, index) => chunks > since[index]!), {
    withinMs: 60_000,
    diagnose: () =>
      `${readers.filter(({ chunks }, index) => chunks <= since[index]!).length} of ${readers.length} stand`
  })
  return performance.now() - from
}

const fault = async ({ proxy }: Place, kind: Fault, random: Seeded): Promise<void> => {
  switch (kind) {
    case "reset":
      return void proxy.reset()
    case "end":
      return void proxy.end()
    case "loss": {
      const before = proxy.counters.broken
      proxy.loss(0.2)
      await until("a connection to be lost", () => proxy.counters.broken > before)
      return proxy.loss(0)
    }
    case "cut":
    case "silence":
      if (kind === "cut") proxy.cut()
      else proxy.silence(random.pick(["toClient", "toServer"] as const))
      // Nobody is told: long enough for both to find out, or too short for that.
      await pause(random.pick([200, 1_500]))
      await proxy.heal()
  }
}

const run = async (terms: Terms): Promise<Report> => {
  const random = fromSeed(terms.seed)
  const [streams, cuts, freezes] = terms.brief ? [20, 25, 1] : [100, 1_000, 4]
  const world = new World()
  try {
    const places = [await world.place("bun", random), await world.place("deno", random)]
    const node = await world.caller()
    const at = (index: number) => places[index % places.length]!.proxy.address
    const readers = Array.from(
      { length: streams },
      (_, index) => new Reader(node, at(index), 300, index % 10 < 2 ? 2_000 : 20)
    )
    const callers = Array.from({ length: 20 }, (_, index) => new Caller(node, at(index), `job-${index}`, random))
    await goneOn(readers)

    // Each agent has its own cuts, so that both are cut at once now and then.
    const done: Array<Cut> = []
    const cutting = async (place: Place, own: Seeded): Promise<void> => {
      const mine = readers.filter((_, index) => at(index) === place.proxy.address)
      for (let n = 0; n < Math.ceil(cuts / places.length); n++) {
        // Cuts that nobody is told of take as long as it takes to find out: one in thirty is enough.
        const wanted = own.pick(faults)
        const kind = (wanted === "cut" || wanted === "silence") && own.int(8) > 0 ? "reset" : wanted
        await fault(place, kind, own)
        done.push({ fault: kind, ms: await goneOn(mine) })
        if (done.length % 100 === 0) terms.say(`roaming: ${done.length} of ${cuts} cuts`)
      }
    }
    await Promise.all(places.map((place) => cutting(place, fromSeed(random.int(2 ** 32)))))

    const frozenMs: Array<number> = []
    for (let n = 0; n < freezes; n++) {
      const { child, proxy } = places[n % places.length]!
      process.kill(child.pid!, "SIGSTOP")
      await pause(3_000)
      process.kill(child.pid!, "SIGCONT")
      frozenMs.push(await goneOn(readers.filter((_, index) => at(index) === proxy.address)))
    }

    for (const each of [...readers, ...callers]) each.stop()
    await until("the last streams and calls to end", () => [...readers, ...callers].every(({ ended }) => ended), {
      withinMs: 60_000
    })
    const ran = (await Promise.all(places.map(({ runs }) => runs()))).flatMap((runs) => Object.values(runs))
    const ended = readers.reduce((sum, reader) => sum + reader.streams, 0)
    const chunks = readers.reduce((sum, reader) => sum + reader.chunks, 0)
    const wrong = readers.flatMap((reader) => reader.wrong)
    const lost = callers.flatMap((caller) => caller.lost)
    const answers = callers.flatMap((caller) => caller.answers)
    const twice = ran.filter((times) => times > 1).length + answers.filter((times) => times > 1).length
    const moved = terms.brief ? undefined : await move(world)

    const kinds = [...new Set(done.map((cut) => cut.fault))]
    const spreads = kinds.map((kind) => ({
      kind,
      ms: spreadOf(done.filter((cut) => cut.fault === kind).map(({ ms }) => ms))
    }))
    const ms = (value: number) => `${Math.round(value)} ms`
    const text = [
      table(
        ["fault", "times", "median", "most"],
        [
          ...spreads.map(({ kind, ms: spread }) => [
            kind,
            String(done.filter((cut) => cut.fault === kind).length),
            ms(spread.median),
            ms(spread.max)
          ]),
          ["stopped for 3 s", String(freezes), ms(spreadOf(frozenMs).median), ms(spreadOf(frozenMs).max)],
          ...(moved === undefined ? [] : [["address changed", "1", ms(moved), ms(moved)]])
        ]
      ),
      `Until all streams of the agent gave their next chunk, after the fault was over. ${ended.toLocaleString("en-US")} streams`,
      `of 300 chunks, ${streams} at a time, and ${answers.length.toLocaleString("en-US")} calls, 20 at a time, to an agent on Bun and one on Deno.`,
      ...wrong.slice(0, 5),
      ...lost.slice(0, 5)
    ].join("\n")
    return {
      text,
      rows: [
        row(
          "roaming-gaps",
          `streams with a gap, a repeat or an error, over ${done.length.toLocaleString("en-US")} cuts under ${streams} streams at a time`,
          { atMost: 0 },
          "streams",
          wrong.length,
          ended,
          terms.seed
        ),
        row(
          "roaming-calls-lost",
          "calls lost across the same cuts",
          { atMost: 0 },
          "calls",
          lost.length,
          answers.length,
          terms.seed
        ),
        row(
          "roaming-calls-twice",
          "tasks of these calls that ran more than once",
          { atMost: 0 },
          "tasks",
          twice,
          ran.length,
          terms.seed
        ),
        row(
          "roaming-freeze",
          "until all streams of an agent that was stopped for 3 s go on, since it runs again",
          { atMost: terms.brief ? 20_000 : 5_000 },
          "ms",
          spreadOf(frozenMs).max,
          freezes,
          terms.seed
        ),
        ...(moved === undefined
          ? []
          : [
              row(
                "roaming-move",
                "until a stream goes on whose reader's address changed without a word",
                { atMost: 10_000 },
                "ms",
                moved,
                1,
                terms.seed
              )
            ])
      ],
      data: {
        streams,
        cuts,
        chunks,
        ended,
        calls: answers.length,
        ran: ran.length,
        spreads,
        frozenMs,
        movedMs: moved ?? null
      },
      charts: [
        bars({
          name: "roaming-recovery",
          title: "Streams after a fault",
          note: `ms until all streams of an agent gave their next chunk, by fault; chunks come every 20 ms; shorter is better`,
          unit: "ms",
          bars: [
            ...spreads.map(({ kind, ms: spread }) => ({ label: kind, value: spread, ours: true })),
            { label: "stopped for 3 s", value: spreadOf(frozenMs), ours: true }
          ]
        }),
        lines({
          name: "roaming-cuts",
          title: "One thousand cuts",
          note: "ms until all streams of the agent go on, cut by cut, the quickest first",
          x: { name: "cuts" },
          y: { name: "ms" },
          lines: kinds.map((kind) => ({
            label: kind,
            points: done
              .filter((cut) => cut.fault === kind)
              .map((cut) => cut.ms)
              .sort((a, b) => a - b)
              .map((each, index) => [index + 1, each] as const)
          }))
        })
      ]
    }
  } finally {
    await world.close()
  }
}

/** A reader whose only address is taken away, and another given: until its stream goes on. */
const move = async (world: World): Promise<number | undefined> => {
  if (unavailable !== undefined) return undefined
  const [near, far] = await linked()
  world.onClose(() => [near, far].forEach((each) => each.remove()))
  const program = `${root}/packages/transport-tcp/test/roaming-agent.ts`
  const server = startModule(far, program, [JSON.stringify({ host: "0.0.0.0" })])
  world.onClose(() => server.kill())
  const said = await server.next<{ readonly addresses: ReadonlyArray<string> }>((line) => line.addresses !== undefined)
  const mover = startModule(near, program, [JSON.stringify({ host: "0.0.0.0" })])
  world.onClose(() => mover.kill())
  const input = { count: 3_000, atOnce: 10, everyMs: 50, ballast: 20 }
  mover.tell(JSON.stringify({ read: { to: said.addresses[0], input, everyNth: 10 } }))
  await mover.next<{ readonly at: number }>((line) => line.at >= 200)
  execFileSync("ip", ["-n", near.name, "addr", "del", "10.77.0.1/24", "dev", "wire0"])
  const from = performance.now()
  execFileSync("ip", ["-n", near.name, "addr", "add", "10.77.0.9/24", "dev", "wire0"])
  // What was on its way comes at once; the next after that needs the new address.
  let last = 0
  const quietFrom = performance.now()
  for (;;) {
    const { at: now } = await mover.next<{ readonly at: number }>((line) => line.at > last)
    last = now
    if (performance.now() - quietFrom > 500) return performance.now() - from
  }
}

/** Streams and calls across cuts. */
export const roaming: Experiment = {
  what: "streams and calls across a thousand cuts, stopped processes and a changed address: no gap, no repeat, nothing lost",
  run
}
