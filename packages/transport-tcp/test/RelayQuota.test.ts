/** Verifies: a relay's quotas hold while circuits run and for whoever comes back with another key, and a circuit never goes through a circuit. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import { type NodeId, toPublicKey } from "@parley/core/NodeId"
import type { Connection, ResetCode, Stream, StreamHandler } from "@parley/core/Transport"
import { network } from "../src/internal/Addresses.ts"
import { type RelayLimits, RelayServer } from "../src/internal/RelayServer.ts"

const limits: RelayLimits = {
  maxReservations: 10,
  leaseMs: 30_000,
  reservationsPerMinute: 60,
  maxCircuitsPerSlot: 100,
  maxSlotBytesPerHour: 10_000_000,
  maxCircuits: 100,
  maxCircuitsPerPeer: 64,
  maxCircuitBytes: 1_000_000,
  maxCircuitMs: 60_000,
  maxPeerBytesPerHour: 1_000_000,
  maxHostBytesPerHour: 10_000_000,
  circuitsPerMinute: 200
}

/** One end of a stream that writes down what it is told. */
const fakeStream = () => {
  const heard = { sent: [] as Array<number>, bytes: 0, reset: undefined as ResetCode | undefined }
  const stream: Stream = {
    send: (head) => {
      heard.sent.push(...head.subarray(0, 2))
      heard.bytes += head.length
      return true
    },
    reset: (code) => void (heard.reset = code),
    pause: () => {},
    resume: () => {}
  }
  return { heard, stream }
}

/** A peer of the relay; what the relay opens to it is counted. */
const fakePeer = (address: string, relayed = false) => {
  const peer: NodeId = Identity.generate().nodeId
  const far = { opened: 0 }
  const connection = {
    peer,
    address,
    relayed,
    state: () => "open",
    open: () => {
      far.opened += 1
      return fakeStream().stream
    }
  } as unknown as Connection
  return { connection, far, peer }
}

/** Asks for a slot, or for a circuit to a node. */
const ask = (server: RelayServer, from: Connection, to?: NodeId) => {
  const { heard, stream } = fakeStream()
  const handler: StreamHandler = server.accept(from, stream)
  handler.onMessage(to === undefined ? Uint8Array.of(1) : Uint8Array.of(2, ...toPublicKey(to)), false)
  return { heard, handler, answer: heard.sent.slice(0, 2) }
}

const yes = [16]
const no = (reason: number): Array<number> => [17, reason]

const world = (changed: Partial<RelayLimits> = {}) => {
  const server = new RelayServer({ ...limits, ...changed })
  const target = fakePeer("tcp://198.51.100.9:1")
  expect(ask(server, target.connection).answer).toEqual(yes)
  return { server, target }
}

describe("a relay", () => {
  test("ends circuits that run when the hour's bytes of their peer are used up", () => {
    const { server, target } = world()
    const dialler = fakePeer("tcp://203.0.113.1:1")
    const circuits = Array.from({ length: 8 }, () => ask(server, dialler.connection, target.peer))
    expect(circuits.map(({ answer }) => answer)).toEqual(circuits.map(() => yes))
    for (const { handler } of circuits) handler.onMessage(new Uint8Array(130_000), false)
    expect(circuits.map(({ heard }) => `${heard.reset}`)).toEqual([...circuits.slice(1).map(() => "undefined"), "2"])
    expect(ask(server, dialler.connection, target.peer).answer).toEqual(no(2))
  })

  test("counts by address, too, so that a new key does not bring a new quota", () => {
    const { server, target } = world({ maxHostBytesPerHour: 500_000 })
    let refused = 0
    for (let key = 0; key < 20; key++) {
      const { answer, handler } = ask(server, fakePeer(`tcp://203.0.113.1:${key + 1}`).connection, target.peer)
      if (answer[0] !== 16) refused += 1
      else handler.onMessage(new Uint8Array(100_000), false)
    }
    expect(refused).toBe(15)
    expect(ask(server, fakePeer("tcp://203.0.113.2:1").connection, target.peer).answer).toEqual(yes)
  })

  test("gives one address at most half of all circuits", () => {
    const { server, target } = world()
    let made = 0
    for (let key = 0; key < 10; key++) {
      const dialler = fakePeer(`tcp://[2001:db8::${key + 1}]:1`)
      for (let n = 0; n < 10; n++) if (ask(server, dialler.connection, target.peer).answer[0] === 16) made += 1
    }
    expect(made).toBe(64)
    expect(ask(server, fakePeer("tcp://[2001:db8:0:1::1]:1").connection, target.peer).answer).toEqual(yes)
  })

  test("makes so many circuits a minute for a peer, though each ends at once", () => {
    const { server, target } = world({ circuitsPerMinute: 30 })
    const dialler = fakePeer("tcp://203.0.113.1:1")
    for (let n = 0; n < 100; n++) ask(server, dialler.connection, target.peer).handler.onClosed(0)
    expect(target.far.opened).toBe(30)
    expect(server.circuits.size).toBe(0)
  })

  test("makes no circuit through a circuit, whatever the dialler's own code allows", () => {
    const { server, target } = world()
    const hidden = fakePeer("relay://h:1/a/b", true)
    expect(ask(server, hidden.connection, target.peer).answer).toEqual(no(5))
    expect(ask(server, hidden.connection).answer).toEqual(no(5))
    expect(target.far.opened).toBe(0)
  })
})

test("an IPv4 address is one place, and so are the 64 bits of an IPv6 subscriber", () => {
  const places = ["192.0.2.1", "2001:db8::1", "2001:0db8:0:0:ffff::1", "2001:db8:0:1::1", "fe80::1%eth0", "::1", "::"]
  expect(places.map(network)).toEqual([
    "192.0.2.1",
    "2001:db8:0:0::/64",
    "2001:db8:0:0::/64",
    "2001:db8:0:1::/64",
    "fe80:0:0:0::/64",
    "0:0:0:0::/64",
    "0:0:0:0::/64"
  ])
})
