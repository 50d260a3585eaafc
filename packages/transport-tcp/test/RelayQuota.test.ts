/**
 * Verifies: a relay's quotas hold while circuits run and for whoever comes back with another key, a circuit never goes through a
 * circuit, and a slot is its latest holder's for the time of its lease alone.
 */
import { describe, expect, test } from "bun:test"
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import * as Identity from "@parley/core/Identity"
import { type NodeId, toPublicKey } from "@parley/core/NodeId"
import type { Connection, ResetCode, Stream, StreamHandler } from "@parley/core/Transport"
import { network } from "../src/internal/Addresses.ts"
import { type RelayLimits, RelayServer } from "../src/internal/RelayServer.ts"
import { grant, look, reached, readGrant, readSeen, type Refusal, type Seen, seen } from "../src/internal/RelayWire.ts"
import { forRounds, mutate, seeded } from "@parley/core/testing/Seeded"

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
  circuitsPerMinute: 200,
  looksPerMinute: 30
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

  test("does not forget what an address had, however many keys come from there", () => {
    const { server, target } = world({ maxHostBytesPerHour: 100_000 })
    const connect = () => ask(server, fakePeer("tcp://203.0.113.1:1").connection, target.peer)
    const used = connect()
    used.handler.onMessage(new Uint8Array(100_001), false)
    used.handler.onClosed(0)
    expect(connect().answer).toEqual(no(2))
    const { connection } = fakePeer("tcp://203.0.113.1:1")
    for (let key = 0; key < 20_000; key++) ask(server, { ...connection, peer: `key ${key}` as NodeId })
    expect(connect().answer).toEqual(no(2))
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

describe("a slot", () => {
  const granted = 18
  const lease = (server: RelayServer, from: Connection) => {
    const { heard, stream } = fakeStream()
    const handler = server.accept(from, stream)
    handler.onMessage(Uint8Array.of(4), false)
    return { heard, handler }
  }

  const leasing = (own: typeof limits, now: () => number) => new RelayServer(own, () => true, now)

  test("that is not renewed is given up, and one that is stays", () => {
    let now = 0
    const server = leasing({ ...limits, leaseMs: 500 }, () => now)
    const [idle, eager] = [fakePeer("tcp://203.0.113.1:1"), fakePeer("tcp://203.0.113.2:1")]
    const forgotten = lease(server, idle.connection)
    const renewed = lease(server, eager.connection)
    for (; now < 900; now += 450) renewed.handler.onMessage(Uint8Array.of(4), false)
    const dialler = fakePeer("tcp://203.0.113.3:1")
    expect(ask(server, dialler.connection, idle.peer).answer).toEqual(no(1))
    expect(forgotten.heard.reset).toBe(4)
    expect([idle.far.opened, eager.far.opened]).toEqual([0, 0])
    expect(ask(server, dialler.connection, eager.peer).answer).toEqual(yes)
    expect(renewed.heard.sent.filter((_, i) => i % 2 === 0).every((byte) => byte === granted)).toBe(true)
    // What comes late from the one that was given up brings nothing back.
    forgotten.handler.onMessage(Uint8Array.of(4), false)
    expect(ask(server, dialler.connection, idle.peer).answer).toEqual(no(1))
  })

  test("whose lease is over makes room", () => {
    let now = 0
    const server = leasing({ ...limits, maxReservations: 1, leaseMs: 30 }, () => now)
    lease(server, fakePeer("tcp://203.0.113.1:1").connection)
    const next = fakePeer("tcp://203.0.113.2:1")
    now = 29
    expect(lease(server, next.connection).heard.sent).toEqual(no(3))
    now = 30
    expect(lease(server, next.connection).heard.sent[0]).toBe(granted)
  })

  test("goes to the latest of a key, and nothing reaches the one before", () => {
    const server = new RelayServer(limits)
    const before = fakePeer("tcp://203.0.113.1:1")
    const after = fakePeer("tcp://203.0.113.1:2")
    const again = { ...after.connection, peer: before.peer } as Connection
    const first = lease(server, before.connection)
    const second = lease(server, again)
    expect([first.heard.reset, second.heard.reset]).toEqual([0, undefined])
    // Its stream's end, and what it still asks for, take nothing from the one that came after.
    first.handler.onMessage(Uint8Array.of(4), false)
    first.handler.onClosed(6)
    expect(ask(server, fakePeer("tcp://203.0.113.3:1").connection, before.peer).answer).toEqual(yes)
    expect([before.far.opened, after.far.opened]).toEqual([0, 1])
  })

  test("is of no use when its connection no longer stands", () => {
    const server = new RelayServer(limits)
    const gone = fakePeer("tcp://203.0.113.1:1")
    const { heard } = lease(server, { ...gone.connection, state: () => "draining" } as Connection)
    expect(ask(server, fakePeer("tcp://203.0.113.3:1").connection, gone.peer).answer).toEqual(no(1))
    expect([gone.far.opened, heard.reset]).toEqual([0, 4])
  })

  test("is lost by who floods the relay with renewals, and by nobody else", () => {
    const server = new RelayServer(limits)
    const [flooder, honest] = [fakePeer("tcp://203.0.113.1:1"), fakePeer("tcp://203.0.113.2:1")]
    const quiet = lease(server, honest.connection)
    const loud = lease(server, flooder.connection)
    for (let n = 0; n < 10_000; n++) loud.handler.onMessage(Uint8Array.of(4), false)
    expect(loud.heard.bytes <= 60 * 17).toBe(true)
    expect([loud.heard.reset, quiet.heard.reset]).toEqual([2, undefined])
    // And coming back does not help within the minute.
    for (let n = 0; n < 100; n++) expect(lease(server, flooder.connection).heard.sent).toEqual(no(3))
    const dialler = fakePeer("tcp://203.0.113.3:1")
    expect(ask(server, dialler.connection, flooder.peer).answer).toEqual(no(1))
    expect(ask(server, dialler.connection, honest.peer).answer).toEqual(yes)
  })

  test("tells what is left of it, and takes no more circuits and bytes than that", () => {
    const server = new RelayServer({ ...limits, maxCircuitsPerSlot: 2, maxSlotBytesPerHour: 150_000 })
    const node = fakePeer("tcp://203.0.113.9:1")
    const told: Array<unknown> = []
    const stream: Stream = {
      ...fakeStream().stream,
      send: (message) => {
        told.push(readGrant(message))
        return true
      }
    }
    const handler = server.accept(node.connection, stream)
    const renew = (): void => handler.onMessage(Uint8Array.of(4), false)
    renew()
    const dial = (n: number) => ask(server, fakePeer(`tcp://203.0.113.${n}:1`).connection, node.peer)
    const [first, second] = [dial(1), dial(2)]
    expect(dial(3).answer).toEqual(no(3))
    renew()
    first.handler.onMessage(new Uint8Array(100_000), false)
    renew()
    second.handler.onMessage(new Uint8Array(100_000), false)
    renew()
    expect(second.heard.reset).toBe(2)
    expect(dial(4).answer).toEqual(no(2))
    expect(told).toEqual([
      { leaseMs: 30_000, circuits: 2, bytes: 150_000 },
      { leaseMs: 30_000, circuits: 0, bytes: 150_000 },
      { leaseMs: 30_000, circuits: 0, bytes: 50_000 },
      { leaseMs: 30_000, circuits: 1, bytes: 0 }
    ])
  })

  test("of a node from before leases lasts as long as its stream", () => {
    let now = 0
    const server = leasing({ ...limits, leaseMs: 10 }, () => now)
    const old = fakePeer("tcp://203.0.113.1:1")
    const { answer, handler } = ask(server, old.connection)
    expect(answer).toEqual(yes)
    now = 1e9
    const dialler = fakePeer("tcp://203.0.113.3:1")
    expect(ask(server, dialler.connection, old.peer).answer).toEqual(yes)
    handler.onClosed(6)
    expect(ask(server, dialler.connection, old.peer).answer).toEqual(no(1))
  })
})

describe("grants", () => {
  test("are as the protocol says, and more may follow", () => {
    const message = grant({ leaseMs: 30_000, circuits: 7, bytes: 2 ** 33 })
    expect(Buffer.from(message).toString("hex")).toBe("1200007530000000070000000200000000")
    const read = { leaseMs: 30_000, circuits: 7, bytes: 2 ** 33 }
    expect(readGrant(message)).toEqual(read)
    expect(readGrant(Uint8Array.of(...message, 1, 2, 3))).toEqual(read)
    expect(readGrant(message.subarray(0, 16))).toBe("Malformed")
    expect(readGrant(Uint8Array.of(16))).toBe(true)
    expect(readGrant(Uint8Array.of(17, 3))).toBe("LimitReached")
  })

  test("of any bytes are read without harm", () => {
    const random = seeded(61)
    const example = grant({ leaseMs: 30_000, circuits: 7, bytes: 2 ** 33 })
    forRounds(random, 20_000, () => {
      const read = readGrant(mutate(random, example))
      if (typeof read !== "object") return
      expect([read.leaseMs >= 0, read.circuits >= 0, read.bytes >= 0]).toEqual([true, true, true])
    })
  })
})

describe("a look", () => {
  const lookAt = async (server: RelayServer, from: Connection, port: number) => {
    const { heard, stream } = fakeStream()
    const answer = new Promise<Seen | Refusal>((resolve) => {
      const telling: Stream = {
        ...stream,
        send: (message) => {
          resolve(readSeen(message))
          return true
        }
      }
      server.accept(from, telling).onMessage(look(port), true)
    })
    return { heard, answer: await answer }
  }

  test("tells where a connection comes from and what time it is, and knocks at that host alone", async () => {
    const listener = createServer().listen(0, "127.0.0.1")
    await once(listener, "listening")
    const { port } = listener.address() as AddressInfo
    const server = new RelayServer(limits)
    const node = fakePeer("tcp://127.0.0.1:5000")
    const inbound = { ...node.connection, direction: "inbound" } as Connection
    const before = Date.now()
    const { answer } = await lookAt(server, inbound, port)
    expect(answer).toMatchObject({ reached: "accepted", address: "tcp://127.0.0.1:5000" })
    expect(typeof answer === "object" && answer.time >= before && answer.time <= Date.now()).toBe(true)
    listener.close()
    await once(listener, "close")
    expect((await lookAt(server, inbound, port)).answer).toMatchObject({ reached: "refused" })
    // Whom the relay has dialled itself, and whoever must not be sent to, is not knocked at.
    const dialled = { ...node.connection, direction: "outbound" } as Connection
    expect((await lookAt(server, dialled, port)).answer).toMatchObject({ reached: "not tried" })
    const closed = new RelayServer(limits, () => false)
    expect((await lookAt(closed, inbound, port)).answer).toMatchObject({ reached: "not tried" })
  })

  test("is given so often a minute, by key and by address", async () => {
    const server = new RelayServer({ ...limits, looksPerMinute: 5 })
    const answers: Array<unknown> = []
    for (let key = 0; key < 10; key++) {
      const { answer } = await lookAt(server, fakePeer(`tcp://203.0.113.1:${key + 1}`).connection, 0)
      answers.push(typeof answer === "string" ? answer : answer.reached)
    }
    expect(answers).toEqual([...Array(5).fill("not tried"), ...Array(5).fill("LimitReached")])
    expect((await lookAt(server, fakePeer("relay://h:1/a/b", true).connection, 0)).answer).toBe("Relayed")
  })

  test("of any bytes is read without harm", () => {
    const random = seeded(62)
    const example = seen({ time: 1_700_000_000_000, reached: "accepted", address: "tcp://127.0.0.1:5000" })
    expect(readSeen(example)).toEqual({
      time: 1_700_000_000_000,
      reached: "accepted",
      address: "tcp://127.0.0.1:5000"
    })
    forRounds(random, 20_000, () => {
      const read = readSeen(mutate(random, example))
      if (typeof read !== "object") return
      expect(reached.includes(read.reached) && read.address.length <= 300).toBe(true)
    })
  })
})
