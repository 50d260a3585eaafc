/** Verifies: a node learns from a relay where it is seen, whether it is reached there, and how far apart the clocks are. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { type Connection, ResetCode } from "@parley/core/Transport"
import * as Look from "@parley/transport-tcp/Look"
import * as Relay from "@parley/transport-tcp/Relay"
import { freePort } from "../src/internal/Observation.ts"
import { RelayServer } from "../src/internal/RelayServer.ts"
import { start, type TestNode } from "./nodes.ts"

const server = new RelayServer(Relay.defaults)
let relay: TestNode
let node: TestNode
let connection: Connection

beforeAll(async () => {
  relay = await start({}, undefined, (from, stream) => server.accept(from, stream))
  node = await start()
  connection = await node.dial(relay.address)
})

afterAll(async () => {
  await node.stop()
  await relay.stop()
})

describe("a look", () => {
  test("tells where the node is seen, and whether it accepts connections there", async () => {
    const looked = async (port: number): Promise<Look.Seen> => Effect.runPromise(Look.at(connection, port))
    const seen = await looked(node.port)
    expect([seen.address.startsWith("tcp://127.0.0.1:"), seen.reached]).toEqual([true, "accepted"])
    expect((await looked(await freePort())).reached).toBe("refused")
    expect((await looked(0)).reached).toBe("not tried")
  })

  test("tells how far the relay's clock is ahead, with an attempt to connect and without", async () => {
    for (const port of [0, node.port]) {
      const before = Date.now()
      // This node's clock stands at the beginning of 1970.
      const { clockOffsetMs, roundTripMs } = await Effect.runPromise(
        Effect.provide(Look.at(connection, port), TestClock.layer())
      )
      expect(clockOffsetMs).toBeGreaterThan(before - roundTripMs - 1)
      expect(clockOffsetMs).toBeLessThan(Date.now() + 1)
    }
  })

  test("fails with the reason where the other end does not relay", async () => {
    const other = await start({}, undefined, (_, stream) => {
      stream.reset(ResetCode.UnknownProtocol)
      return { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }
    })
    try {
      const failure: unknown = await Effect.runPromise(Effect.flip(Look.at(await node.dial(other.address), 0)))
      expect(String(failure)).toContain("the other end does not relay")
    } finally {
      await other.stop()
    }
  })
})
