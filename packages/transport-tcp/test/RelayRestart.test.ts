/**
 * Verifies: with relays as processes that are killed, frozen and started again, nodes stay reachable at those that stand, come back
 * to those that return, and hold one slot a key.
 */
import { afterEach, describe, expect, test } from "bun:test"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import type { Address, Connection } from "@parley/core/Transport"
import type { Health } from "@parley/transport-tcp/Reservations"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { command } from "../../../test-support/Runtime.ts"
import { until, untilValue } from "../../../test-support/Until.ts"
import { watch } from "../src/internal/NetworkWatch.ts"
import { parseAddress } from "../src/internal/RelayClient.ts"
import { call, empty } from "./nodes.ts"

interface Tracker {
  readonly address: Address
  readonly child: ChildProcessByStdio<Writable, Readable, null>
  readonly seed: string
}

const children = new Set<Tracker["child"]>()
let scope = Scope.makeUnsafe()

afterEach(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  scope = Scope.makeUnsafe()
  for (const child of children) child.kill("SIGKILL")
  children.clear()
})

const startTracker = async (
  port = 0,
  seed = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex"),
  ...more: ReadonlyArray<string>
): Promise<Tracker> => {
  const [program, ...args] = command(fileURLToPath(new URL("relay-tracker.ts", import.meta.url)))
  const child = spawn(program, [...args, String(port), seed, ...more], { stdio: ["pipe", "pipe", "inherit"] })
  children.add(child)
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string]
  return { address: (JSON.parse(line) as { addresses: ReadonlyArray<Address> }).addresses[0]!, child, seed }
}

const kill = async (tracker: Tracker): Promise<void> => {
  tracker.child.kill("SIGKILL")
  await once(tracker.child, "exit")
}

const restart = (tracker: Tracker): Promise<Tracker> =>
  startTracker(Number(tracker.address.split(":").at(-1)), tracker.seed)

interface Node {
  readonly connections: Connections.Connections["Service"]
  readonly health: () => ReadonlyArray<Health>
  readonly stop: () => Promise<void>
}

const startNode = async (
  relays: ReadonlyArray<Address>,
  identity = Identity.generate(),
  relaySlots = 3
): Promise<Node> => {
  let health: ReadonlyArray<Health> = []
  const own = Scope.forkUnsafe(scope)
  const transport = TransportTcp.make(identity, {
    listen: false,
    relays,
    relaySlots,
    onRelays: (now) => {
      health = now
    }
  })
  const connections = await Effect.runPromise(
    Connections.make(transport, identity.nodeId).pipe(
      Effect.tap((made) =>
        made.handle(200, (_connection, stream) => ({
          onMessage: (message, last) => void stream.send(empty, Buffer.from(message).toString().toUpperCase(), last),
          onWritable: () => {},
          onClosed: () => {}
        }))
      ),
      Scope.provide(own)
    )
  )
  return { connections, health: () => health, stop: () => Effect.runPromise(Scope.close(own, Exit.void)) }
}

const relayed = (node: Node): ReadonlyArray<string> =>
  node.connections.addresses().flatMap((address) => parseAddress(address)?.via ?? [])

/** Asks a node through one relay, or any it publishes. */
const answers = async (asker: Node, node: Node, via?: Address): Promise<string> => {
  const addresses = node.connections.addresses().filter((each) => via === undefined || parseAddress(each)?.via === via)
  const target = { node: node.connections.nodeId, addresses }
  const connection: Connection = await Effect.runPromise(asker.connections.connect(target))
  return call(connection, "there").finally(() => connection.close("asked"))
}

const sorted = (items: ReadonlyArray<string>): ReadonlyArray<string> => [...items].sort()

describe("nodes behind relays in processes", () => {
  test("are reachable at each, at the others when one is killed, and at all when it has been started again", async () => {
    const trackers = await Promise.all([startTracker(), startTracker(), startTracker()])
    const all = trackers.map(({ address }) => address)
    const nodes = await Promise.all(Array.from({ length: 4 }, () => startNode(all)))
    const asker = await startNode([])
    for (const node of nodes) await until("three slots", () => relayed(node).length === 3 || relayed(node))
    const [first, ...rest] = all
    await kill(trackers[0]!)
    for (const node of nodes) {
      await untilValue(
        "the dead relay is not published",
        () => sorted(relayed(node)),
        (now) => !now.includes(first!)
      )
      expect(sorted(relayed(node))).toEqual(sorted(rest))
      expect(await answers(asker, node)).toBe("THERE")
    }
    const back = await restart(trackers[0]!)
    for (const node of nodes) {
      await until("it is published again", () => relayed(node).includes(back.address) || node.health())
      expect(await answers(asker, node, back.address)).toBe("THERE")
    }
  }, 60_000)

  test("move when the only relay that they hold a slot at is killed", async () => {
    const trackers = await Promise.all([startTracker(), startTracker(), startTracker()])
    const node = await startNode(
      trackers.map(({ address }) => address),
      Identity.generate(),
      1
    )
    const asker = await startNode([])
    const at = (): Tracker | undefined => trackers.find(({ address }) => relayed(node)[0] === address)
    await until("a slot", () => at() !== undefined)
    const dead = at()!
    await kill(dead)
    await until("another slot", () => (at() !== undefined && at() !== dead) || node.health())
    expect(await answers(asker, node)).toBe("THERE")
    expect(relayed(node).length).toBe(1)
  }, 60_000)

  test("are not published at a relay that has fallen silent once a renewal went unanswered", async () => {
    const trackers = [await startTracker(0, undefined, "5000"), await startTracker(0, undefined, "5000")]
    const node = await startNode(trackers.map(({ address }) => address))
    await until("both slots", () => relayed(node).length === 2 || node.health())
    const silent = node.connections.list().find(({ address }) => address === trackers[0]!.address)!
    process.kill(trackers[0]!.child.pid!, "SIGSTOP")
    try {
      await until("one slot", () => relayed(node).length === 1 || node.health(), { withinMs: 30_000 })
      expect(relayed(node)).toEqual([trackers[1]!.address])
      // A second question in vain; the connection itself would know after half a minute.
      await until("its connection is given up", () => silent.state() === "closed", { withinMs: 20_000 })
    } finally {
      process.kill(trackers[0]!.child.pid!, "SIGCONT")
    }
    await until("both again", () => relayed(node).length === 2 || node.health(), { withinMs: 30_000 })
  }, 90_000)

  test("that start again with their key take their slot at once, and the one before does not fight for it", async () => {
    const tracker = await startTracker()
    const identity = Identity.generate()
    const asker = await startNode([])
    const before = await startNode([tracker.address], identity)
    await until("a slot", () => relayed(before).length === 1)
    const after = await startNode([tracker.address], identity)
    await until("the later one has it", () => relayed(after).length === 1)
    await until("the earlier one knows", () => relayed(before).length === 0)
    expect(await answers(asker, after)).toBe("THERE")
    expect(before.health()[0]!.state).toBe("not held")
    await before.stop()
    expect(await answers(asker, after)).toBe("THERE")
  }, 60_000)

  test("ask for their slot at once when their machine is on another network, whatever pause they are in", async () => {
    const tracker = await startTracker()
    const identity = Identity.generate()
    const node = await startNode([tracker.address], identity)
    await until("a slot", () => relayed(node).length === 1)
    const other = await startNode([tracker.address], identity)
    await until("it has lost its slot, and is to wait for half a minute", () => relayed(node).length === 0)
    await other.stop()
    watch.tell("addresses")
    await until("it has its slot again", () => relayed(node).length === 1 || node.health())
  }, 60_000)
})
