/**
 * Calls and streams over real sockets, to agents in processes of their own on either runtime, through a proxy that cuts, freezes
 * and refuses, and across machines that are stopped, killed and given another address.
 */
import { afterEach, describe, expect, test } from "bun:test"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Node from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import { FaultProxy } from "../../../test-support/FaultProxy.ts"
import { linked, startModule, unavailable } from "../../../test-support/Namespace.ts"
import { command, current, type Runtime } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import { freePort } from "../../../test-support/Throwaway.ts"
import { until } from "../../../test-support/Until.ts"
import { Job, layerOf, readNumbers, type Settings } from "./roaming-agent.ts"

const program = `${import.meta.dirname}/roaming-agent.ts`
const other: Runtime = current === "bun" ? "deno" : "bun"

/** Limits that find out within a second that a peer is silent. */
const impatient = {
  keepaliveMs: 200,
  deadAfterMs: 600,
  handshakeTimeoutMs: 1_000
}

const closers: Array<() => unknown> = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

interface Line {
  readonly node?: string
  readonly addresses?: ReadonlyArray<string>
  readonly runs?: Readonly<Record<string, number>>
}

/** An agent in a process of its own. */
class Agent {
  readonly child: ChildProcess
  readonly lines: Array<Line> = []
  said = ""

  constructor(runtime: Runtime, settings: Settings) {
    const [file, ...args] = command(program, runtime)
    this.child = spawn(file, [...args, JSON.stringify(settings)], { stdio: ["pipe", "pipe", "pipe"] })
    this.child.stderr?.on("data", (text: Uint8Array) => (this.said += String(text)))
    createInterface({ input: this.child.stdout! }).on("line", (line) => {
      if (line.startsWith("{")) this.lines.push(JSON.parse(line) as Line)
    })
    closers.push(() => this.child.kill("SIGKILL"))
  }
  async next<A>(what: string, find: (line: Line) => A | undefined): Promise<A> {
    let found: A | undefined
    await until(
      what,
      () => {
        for (let line = this.lines.shift(); line !== undefined && found === undefined; line = this.lines.shift()) {
          found = find(line)
        }
        return found !== undefined
      },
      { diagnose: () => this.said.slice(-2_000) }
    )
    return found!
  }
  async runs(): Promise<Readonly<Record<string, number>>> {
    this.child.stdin!.write(`${JSON.stringify({ runs: true })}\n`)
    return this.next("how often tasks ran", ({ runs }) => runs)
  }
}

/** An agent behind a proxy, whose records name the proxy. */
const behindProxy = async (runtime: Runtime, settings: Settings = {}) => {
  const proxy = await FaultProxy.to({ port: 1 })
  closers.push(() => proxy.close())
  const agent = new Agent(runtime, { advertise: [proxy.address], ...settings })
  const node = await agent.next("its start", (line) => line.node)
  // Where it listens is not what it advertises: the kernel knows.
  return { agent, proxy, node }
}

const setup = async (runtime: Runtime, settings: Settings = {}) => {
  const port = await freePort()
  const { agent, node, proxy } = await behindProxy(runtime, { port, ...settings })
  proxy.retarget({ port })
  return { agent, node, proxy }
}

/** A node of this process. */
const caller = async (settings: Settings = {}): Promise<Node.Node["Service"]> => {
  const scope = Scope.makeUnsafe()
  closers.push(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const context = await Effect.runPromise(Layer.buildWithScope(layerOf({ name: "caller", ...settings }), scope))
  return Context.get(context, Node.Node)
}

const input = (count: number, atOnce = 10, everyMs = 1, ballast = 0) => ({ count, atOnce, everyMs, ballast })

describe("a stream over TCP", () => {
  for (const runtime of [current, other]) {
    test(`from an agent on ${runtime} goes on after resets, cuts and silences: no gap, no repeat`, async () => {
      const { proxy } = await setup(runtime, { limits: impatient })
      const node = await caller({ limits: impatient })
      let at = 0
      const result = Effect.runPromise(readNumbers(node, proxy.address, input(20_000, 100, 1, 200), (n) => (at = n)))
      const passes = async (): Promise<void> => {
        const from = at
        await until("it goes on", () => at > from || `at ${at}`)
      }
      await passes()
      for (let n = 0; n < 5; n++) {
        proxy.reset()
        await passes()
      }
      proxy.cut()
      await until("both give the connection up", () => node.connections.list().length === 0)
      await proxy.heal()
      await passes()
      proxy.silence("toClient")
      await until("the reader gives it up", () => node.connections.list().length === 0)
      await proxy.heal()
      await passes()
      proxy.loss(0.05)
      await passes()
      await passes()
      proxy.loss(0)
      expect(await result).toEqual({ seen: 20_000, wrong: undefined, error: undefined })
      expect(proxy.counters.broken).toBeGreaterThan(2)
    }, 90_000)
  }

  test("goes on after its agent was stopped for longer than it may be silent", async () => {
    const { agent, proxy } = await setup(other, { limits: impatient })
    const node = await caller({ limits: impatient })
    let at = 0
    const result = Effect.runPromise(readNumbers(node, proxy.address, input(3_000, 10, 1), (n) => (at = n)))
    await until("it began", () => at > 0)
    // Deno's `child.kill` sends one signal only.
    process.kill(agent.child.pid!, "SIGSTOP")
    await until("it is given up", () => node.connections.list().length === 0)
    process.kill(agent.child.pid!, "SIGCONT")
    expect(await result).toEqual({ seen: 3_000, wrong: undefined, error: undefined })
  }, 90_000)

  test("that nobody reads for a while is held back across breaks", async () => {
    const { proxy } = await setup(current)
    const node = await caller()
    let at = 0
    const pace = (n: number) => {
      at = n
      if (n % 500 === 0) proxy.reset()
    }
    // 3,000 of 2 KB: some megabytes, as fast as they come.
    const result = await Effect.runPromise(readNumbers(node, proxy.address, input(3_000, 100, 0, 1_000), pace))
    expect([result, at]).toEqual([{ seen: 3_000, wrong: undefined, error: undefined }, 2_999])
  }, 90_000)
})

describe("calls over TCP", () => {
  test("across resets and cuts: none is lost, none runs twice", async () => {
    const { agent, proxy } = await setup(other, { limits: impatient })
    const node = await caller({ limits: impatient })
    const names = Array.from({ length: 300 }, (_, n) => `job ${n}`)
    const cutting = setInterval(() => proxy.reset(), 60)
    closers.push(() => clearInterval(cutting))
    const one = (name: string, index: number) =>
      Effect.delay(node.call(Job, { name, ms: 20 + (index % 7) * 30 }, { to: proxy.address }), index * 4)
    const answers = await Effect.runPromise(
      Effect.forEach(names, (name, index) => one(name, index), { concurrency: "unbounded" })
    )
    clearInterval(cutting)
    expect(answers).toEqual(names.map((name) => ({ name, runs: 1 })))
    expect(new Set(Object.values(await agent.runs()))).toEqual(new Set([1]))
    expect(proxy.counters.broken).toBeGreaterThan(5)
  }, 90_000)

  test("fail soon when their agent is killed, and say so", async () => {
    const { agent, node: peer, proxy } = await setup(other)
    const node = await caller()
    const failure = Effect.runPromise(
      Effect.flip(node.call(Job, { name: "long", ms: 60_000 }, { to: proxy.address, deadline: "60 seconds" }))
    )
    await until("it is connected", () => node.connections.list().length === 1)
    agent.child.kill("SIGKILL")
    await proxy.refuse()
    proxy.reset()
    expect({ ...(await failure).reason }).toEqual({ _tag: "Disconnected", peer: peer as NodeId })
  }, 90_000)

  test("fail soon when their agent was killed and another took its place", async () => {
    const port = await freePort()
    const { agent, proxy } = await behindProxy(current, { port })
    proxy.retarget({ port })
    const node = await caller()
    const failure = Effect.runPromise(
      Effect.flip(node.call(Job, { name: "long", ms: 60_000 }, { to: proxy.address, deadline: "60 seconds" }))
    )
    await until("it is connected", () => node.connections.list().length === 1)
    agent.child.kill("SIGKILL")
    const next = new Agent(current, { port, advertise: [proxy.address] })
    await next.next("its start", (line) => line.node)
    // It has another key: whoever answers there is not the agent that has the task.
    expect((await failure).reason._tag).toBe("Disconnected")
  }, 90_000)
})

describe("a machine that moves", () => {
  skipTest(unavailable)(
    "is noticed by itself: it tells its new address, and goes on with its streams",
    async () => {
      const [a, b] = await linked()
      closers.push(() => [a, b].forEach((each) => each.remove()))
      const server = startModule(b, program, [JSON.stringify({ host: "0.0.0.0" })])
      closers.push(() => server.kill())
      const { addresses } = await server.next<{ addresses: ReadonlyArray<string> }>(
        (line) => line.addresses?.length > 0
      )
      const mover = startModule(a, program, [JSON.stringify({ host: "0.0.0.0" })])
      closers.push(() => mover.kill())
      const began = await mover.next<{ addresses: ReadonlyArray<string> }>((line) => line.addresses?.length > 0)
      expect(began.addresses[0]).toContain("10.77.0.1:")
      const read = { to: addresses[0]!, input: input(6_000, 10, 10), everyNth: 100 }
      mover.tell(JSON.stringify({ read }))
      await mover.next<{ at: number }>((line) => line.at >= 100)
      const ip = (...args: ReadonlyArray<string>) => execFileSync("ip", ["-n", a.name, ...args])
      ip("addr", "del", "10.77.0.1/24", "dev", "wire0")
      ip("addr", "add", "10.77.0.9/24", "dev", "wire0")
      await until("its new address is told", async () => {
        mover.tell(JSON.stringify({ addresses: true }))
        const now = await mover.next<{ addresses: ReadonlyArray<string> }>((line) => line.addresses !== undefined)
        return now.addresses[0]?.includes("10.77.0.9:") === true || now.addresses
      })
      const { result } = await mover.next<{ result: object }>((line) => line.result !== undefined, 25_000)
      expect(result).toEqual({ seen: 6_000 })
    },
    90_000
  )
})
