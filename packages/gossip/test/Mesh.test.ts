/**
 * Verifies: in a mesh of real nodes messages arrive over many hops, once and in order; who is killed is held for dead and keeps its
 * record; the sides of a partition know all of each other again; only neighbours stay connected; runtimes mix.
 */
import { describe, expect, test } from "bun:test"
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Heard } from "@parley/core/Broadcast"
import { FaultProxy } from "../../../test-support/FaultProxy.ts"
import { command, current, repository, type Runtime } from "../../../test-support/Runtime.ts"
import { type Joined, joined, meet, run, until } from "./ground.ts"

const LONG_MS = 60_000

const listen = (node: Joined, topic: string) =>
  Effect.gen(function* () {
    const heard: Array<Heard> = []
    yield* node.carrier.subscribe(topic, (one) => void heard.push(one))
    return heard
  })
const found = (node: Joined): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(Effect.orDie(Stream.runCollect(node.membership.find({}))), (all) => all.map((one) => String(one.node)))
const knowEachOther = (nodes: ReadonlyArray<Joined>) => (): Effect.Effect<boolean> =>
  Effect.map(Effect.forEach(nodes, found), (all) =>
    all.every((one, i) => nodes.every((node, j) => i === j || one.includes(node.nodeId)))
  )

/** Nodes in a row: each has met the one before it alone. */
const row = (count: number) =>
  Effect.gen(function* () {
    const nodes: Array<Joined> = []
    for (let n = 0; n < count; n++) {
      const node = yield* joined()
      const before = nodes.at(-1)
      if (before !== undefined) yield* meet(node, before)
      yield* node.advertise()
      nodes.push(node)
    }
    return nodes
  })

/** A node in a process, what it has said, and a way to talk to it. */
const start = (contact: string, topic: string, runtime: Runtime = current) =>
  Effect.gen(function* () {
    const [program, ...args] = command(join(repository, "packages/gossip/test/member.ts"), runtime)
    const child: ChildProcess = spawn(program, [...args, contact, topic], { stdio: ["pipe", "pipe", "inherit"] })
    yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
    const said: Array<{ node?: string; address?: string; from?: string; data?: unknown }> = []
    createInterface({ input: child.stdout! }).on("line", (line) => void said.push(JSON.parse(line)))
    yield* until("the process has started", () => Effect.sync(() => said.length > 0), LONG_MS)
    const { address, node } = said[0]!
    return { child, said, node: node!, address: address!, publish: (text: string) => child.stdin!.write(`${text}\n`) }
  })

describe("a mesh", () => {
  test(
    "carries messages of several over many hops: each once, and in order",
    () =>
      run(
        Effect.gen(function* () {
          const nodes = yield* row(10)
          yield* until("all know all", knowEachOther(nodes))
          const heard = yield* Effect.forEach(nodes, (node) => listen(node, "t"))
          const publishers = [nodes[0]!, nodes[5]!, nodes[9]!]
          for (let n = 0; n < 40; n++) {
            for (const publisher of publishers) yield* Effect.orDie(publisher.carrier.publish("t", String(n)))
            if (n % 10 === 0) yield* Effect.sleep("20 millis")
          }
          const expected = Array.from({ length: 40 }, (_, n) => String(n))
          yield* until("all have heard all", () => Effect.sync(() => heard.every((one) => one.length >= 120)))
          for (const one of heard)
            for (const publisher of publishers)
              expect(one.flatMap(({ from, text }) => (from === publisher.nodeId ? [text] : []))).toEqual(expected)
        })
      ),
    LONG_MS
  )

  test(
    "stays connected to neighbours, and not to everybody",
    () =>
      run(
        Effect.gen(function* () {
          const nodes = yield* row(16)
          yield* until("all know all", knowEachOther(nodes))
          // Twice the neighbours, for those who are just being asked.
          yield* until(
            "connections are let go",
            () => Effect.sync(() => nodes.every(({ connections }) => connections.list().length <= 11)),
            30_000
          )
          for (const { neighbors } of nodes) expect(neighbors().length > 0 && neighbors().length <= 5).toBe(true)
        })
      ),
    LONG_MS
  )

  test(
    "hears a goodbye everywhere, and does not bring the node back",
    () =>
      run(
        Effect.gen(function* () {
          const nodes = yield* row(6)
          yield* until("all know all", knowEachOther(nodes))
          const [leaver, ...rest] = [nodes[3]!, ...nodes.slice(0, 3), ...nodes.slice(4)]
          const old = leaver.record()
          yield* leaver.bury
          yield* until("nobody finds it", () =>
            Effect.map(Effect.forEach(rest, found), (all) => all.every((one) => !one.includes(leaver.nodeId)))
          )
          // Its earlier record comes again, from one who kept it.
          const replayer = yield* joined()
          yield* meet(replayer, nodes[0]!)
          yield* until("it has a neighbour", () => Effect.sync(() => replayer.neighbors().length > 0))
          expect(old.seq < leaver.record().seq).toBe(true)
          expect(yield* found(replayer)).not.toContain(leaver.nodeId)
        })
      ),
    LONG_MS
  )

  test(
    "holds a killed process for dead, and keeps its record",
    () =>
      run(
        Effect.gen(function* () {
          const nodes = yield* row(5)
          const child = yield* start(nodes[0]!.addresses[0]!, "t")
          const isKnown = () =>
            Effect.map(Effect.forEach(nodes, found), (all) => all.every((one) => one.includes(child.node)))
          yield* until("all know the process", isKnown)
          expect(nodes.some(({ carrier }) => carrier.isDown(child.node as never))).toBe(false)
          child.child.kill("SIGKILL")
          yield* until(
            "all hold it for dead",
            () => Effect.sync(() => nodes.every(({ carrier }) => carrier.isDown(child.node as never))),
            40_000
          )
          expect(yield* isKnown()).toBe(true)
          for (const one of nodes) for (const other of nodes) expect(one.carrier.isDown(other.nodeId)).toBe(false)
        })
      ),
    LONG_MS
  )

  test(
    "that was cut in two knows all again, and hears what it missed",
    () =>
      run(
        Effect.gen(function* () {
          // All connections between the sides go through proxies: who dials a node of the other side dials its proxy.
          const [left, right] = [yield* row(3), yield* row(3)]
          const port = (node: Joined): number => Number(new URL(node.addresses[0]!.replace("tcp:", "http:")).port)
          const proxies = yield* Effect.forEach([...left, ...right], (node) =>
            Effect.acquireRelease(
              Effect.promise(() => FaultProxy.to({ port: port(node) })),
              (proxy) => Effect.promise(() => proxy.close())
            )
          )
          const all = [...left, ...right]
          for (const [i, node] of all.entries())
            yield* node.advertise({ addresses: [`tcp://127.0.0.1:${proxies[i]!.port}`] })
          yield* Effect.orDie(left[0]!.connections.connect({ addresses: [`tcp://127.0.0.1:${proxies[3]!.port}`] }))
          yield* until("all know all", knowEachOther(all), 20_000)
          const heard = yield* Effect.forEach(all, (node) => listen(node, "t"))
          for (const proxy of proxies) proxy.cut()
          for (const side of [left, right]) for (const node of side) yield* node.advertise()
          yield* Effect.orDie(left[0]!.carrier.publish("t", "left"))
          yield* Effect.orDie(right[0]!.carrier.publish("t", "right"))
          const texts = (): ReadonlyArray<string> => heard.map((one) => one.map(({ text }) => text).join())
          yield* until("each side has heard its own", () => Effect.sync(() => texts().every((one) => one !== "")))
          expect(texts()).toEqual(["left", "left", "left", "right", "right", "right"])
          yield* Effect.promise(() => Promise.all(proxies.map((proxy) => proxy.heal())))
          yield* until("all have heard both", () => Effect.sync(() => heard.every((one) => one.length >= 2)), 40_000)
          for (const one of heard) expect(one.map(({ text }) => text).sort()).toEqual(["left", "right"])
          yield* until("all know all", knowEachOther(all), 20_000)
        })
      ),
    LONG_MS
  )

  test(
    "mixes runtimes",
    () =>
      run(
        Effect.gen(function* () {
          const node = yield* joined()
          const heard = yield* listen(node, "t")
          const bun = yield* start(node.addresses[0]!, "t", "bun")
          const deno = yield* start(bun.address, "t", "deno")
          yield* until(
            "each hears each",
            () =>
              Effect.gen(function* () {
                yield* Effect.orDie(node.carrier.publish("t", '"here"'))
                bun.publish("bun")
                deno.publish("deno")
                yield* Effect.sleep("100 millis")
                const hears = (one: typeof bun, ...whom: ReadonlyArray<string>): boolean =>
                  whom.every((from) => one.said.some((line) => line.from === from))
                return (
                  hears(bun, node.nodeId, deno.node) &&
                  hears(deno, node.nodeId, bun.node) &&
                  [bun, deno].every((one) => heard.some(({ from }) => from === one.node))
                )
              }),
            30_000
          )
        })
      ),
    LONG_MS
  )
})
