import { describe, expect, test } from "bun:test"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Identity from "@parley/core/Identity"
import { fromSeed } from "@parley/core/testing/Seeded"
import { Announcers, ANNOUNCED_MS, MAX_KEPT, MAX_OF_HASH, MAX_OF_HOST } from "../src/internal/Announcers.ts"
import * as Bencode from "../src/internal/Bencode.ts"
import * as DhtItem from "../src/internal/DhtItem.ts"
import * as DhtNetwork from "../src/internal/DhtNetwork.ts"
import * as Message from "../src/internal/KrpcMessage.ts"
import * as PacketSeal from "../src/internal/PacketSeal.ts"
import { hostile } from "./support/Hostile.ts"

const seed = Number(process.env["PARLEY_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
const text = (value: string): Bencode.Value | undefined => Bencode.decode(Buffer.from(value, "latin1"))
const identity = Identity.fromSeed(new Uint8Array(32).fill(1))
const network = DhtNetwork.named("test")

const recordOf = (fields: Partial<AgentRecord.Fields> = {}) =>
  AgentRecord.make(identity, {
    name: "ada",
    seq: 3,
    issuedAt: 1_000,
    addresses: ["tcp://10.0.0.1:7878"],
    capabilities: [{ name: "text.count", version: "1.0.0" }],
    ...fields
  })

describe("bencoding", () => {
  test("is BEP 3's", () => {
    expect(text("4:spam")).toEqual(Buffer.from("spam"))
    expect(text("i-3e")).toBe(-3)
    expect(text("l4:spam4:eggse")).toEqual([Buffer.from("spam"), Buffer.from("eggs")])
    expect({ ...(text("d3:cow3:moo4:spami7ee") as Bencode.Dictionary) }).toEqual({ cow: Buffer.from("moo"), spam: 7 })
    expect(Bencode.encode({ spam: ["a", 1], cow: Buffer.from("moo"), none: undefined }).toString()).toBe(
      "d3:cow3:moo4:spaml1:ai1eee"
    )
  })

  test("refuses what is not, and what passes a bound", () => {
    const wrong = ["", "i03e", "i-0e", "ie", "i9007199254740993e", "5:spam", "-1:", "04:spam", "l", "d", "d1:ai1e", "x"]
    const twice = "d1:ai1e1:ai2ee"
    const rest = "i1ei2e"
    const deep = `${"l".repeat(Bencode.MAX_DEPTH + 2)}${"e".repeat(Bencode.MAX_DEPTH + 2)}`
    const many = `l${"i1e".repeat(Bencode.MAX_VALUES + 1)}e`
    for (const value of [...wrong, twice, rest, deep, many]) expect([value, text(value)]).toEqual([value, undefined])
  })
})

describe("messages", () => {
  const id = Buffer.alloc(20, 1)
  const target = Buffer.alloc(20, 2)
  const encode = (message: Bencode.Encodable): Buffer => Bencode.encode(message)
  const query = (q: string, a: Bencode.Encodable) => encode({ t: "aa", y: "q", q, a })
  const examples = [
    query("ping", { id }),
    query("find_node", { id, target }),
    query("get_peers", { id, info_hash: target }),
    query("announce_peer", {
      id,
      info_hash: target,
      port: 6881,
      implied_port: 1,
      token: "token",
      pk: Buffer.alloc(32, 3)
    }),
    query("get", { id, target }),
    query("put", { id, token: "token", v: "value", k: Buffer.alloc(32), sig: Buffer.alloc(64), seq: 4, salt: "salt" }),
    encode({
      t: "aa",
      y: "r",
      ip: Buffer.alloc(6, 9),
      r: { id, token: "token", nodes: Buffer.alloc(52, 5), values: [Buffer.alloc(6)] }
    }),
    encode({
      t: "aa",
      y: "r",
      r: { id, pks: Buffer.alloc(64, 4), v: "x", k: Buffer.alloc(32), sig: Buffer.alloc(64), seq: 1 }
    }),
    encode({ t: "aa", y: "e", e: [201, "failed"] })
  ]

  test("come as they were sent, and nothing else with them", () => {
    for (const example of examples)
      expect([example.toString("latin1"), Message.read(example) === undefined]).toEqual([
        example.toString("latin1"),
        false
      ])
    const read = Message.read(query("get", { id, target, more: 5, salt: 7 }))
    expect(read).toEqual({ y: "q", t: Buffer.from("aa"), q: "get", a: { id, target }, isReadOnly: false })
    const reply = Message.read(
      encode({ t: "aa", y: "r", r: { id, nodes: Buffer.alloc(26 * 20), pks: Buffer.alloc(32 * 40), values: ["x"] } })
    )
    if (reply?.y !== "r") throw new Error("no reply was read")
    const values = Array.from({ length: 2 * Message.MAX_VALUES }, () => Buffer.alloc(6, 1))
    const full = Message.read(encode({ t: "aa", y: "r", r: { id, values } }))
    expect(full?.y === "r" && full.r.values?.length).toBe(Message.MAX_VALUES)
    expect([reply.r.nodes?.length, reply.r.pks?.length, reply.r.values]).toEqual([
      26 * Message.MAX_NODES,
      32 * Message.MAX_KEYS,
      []
    ])
  })

  test("with a member of the wrong kind are none", () => {
    for (const message of [
      query("get", { id, target: 5 }),
      query("get", { id, target: "short" }),
      query("get", { id: 5, target }),
      query("get_peers", { id }),
      query("put", { id, token: 5, v: "x" }),
      query("put", { id, token: "t", v: 5 }),
      query("put", { id, token: "t", v: "x", k: Buffer.alloc(31), sig: Buffer.alloc(64), seq: 1 }),
      query("put", { id, token: "t", v: "x", k: Buffer.alloc(32), sig: Buffer.alloc(64), seq: "1" }),
      query("put", { id, token: "t", v: "x", salt: 5 }),
      query("put", { id, token: "t", v: Buffer.alloc(1_001) }),
      query("announce_peer", { id, info_hash: target, port: 70_000, token: "t" }),
      query("toString", { id }),
      encode({ t: 5, y: "q", q: "ping", a: { id } }),
      encode({ t: "aa", y: "r", r: { id: 5 } }),
      encode({ t: "aa", y: "r", r: [] }),
      encode(["q"]),
      Buffer.alloc(Message.MAX_PACKET_BYTES + 1, "i")
    ])
      expect([message.toString("latin1").slice(0, 80), Message.read(message)]).toEqual([
        message.toString("latin1").slice(0, 80),
        undefined
      ])
  })

  test("random and damaged bytes are read or refused, and never throw", () => {
    const random = fromSeed(seed)
    for (let i = 0; i < 20_000; i++) {
      const bytes = Buffer.from(hostile(random, examples))
      try {
        const message = Message.read(bytes)
        if (message?.y === "r" && message.r.nodes !== undefined) Message.nodesOf(message.r.nodes)
        DhtItem.decode(bytes)
      } catch (cause) {
        throw new Error(`input ${i} of PARLEY_SEED=${seed}: ${bytes.toString("hex")}`, { cause })
      }
    }
  })

  test("nodes that nobody could be asked at are left out", () => {
    const node = (host: string, port: number) => Buffer.concat([id, Message.endpointBytes(host, port)])
    const nodes = Buffer.concat([
      node("10.0.0.1", 1),
      node("0.0.0.0", 1),
      node("224.0.0.251", 5353),
      node("255.255.255.255", 1),
      node("10.0.0.2", 0)
    ])
    expect(Message.nodesOf(nodes).map(({ host }) => host)).toEqual(["10.0.0.1"])
  })
})

describe("items", () => {
  test("say what the record says, in at most 1,000 bytes", () => {
    const item = DhtItem.decode(DhtItem.encode(recordOf(), network))
    if (item === undefined || item === "gone") throw new Error("no item was read")
    expect(item.addresses).toEqual(["tcp://10.0.0.1:7878"])
    expect([...item.marks]).toEqual([DhtItem.markOf(network, "text.count")])
    expect([item.recordSeq, item.expiresAt]).toEqual([3, 1_000 + AgentRecord.DEFAULT_LIFETIME])
    expect([DhtItem.isLive(item, 2_000), DhtItem.isLive(item, item.expiresAt)]).toEqual([true, false])
    expect(DhtItem.isLive({ ...item, expiresAt: Number.MAX_SAFE_INTEGER }, 2_000)).toBe(false)
  })

  test("of a full record keep what fits, and a relay's address among it", () => {
    const relay = `relay://relay.example:7878/${identity.nodeId}/${identity.nodeId}`
    const addresses = [
      ...Array.from({ length: 31 }, (_, i) => `tcp://[2001:db8:1234:5678:9abc:def0:1234:${i}]:7878`),
      relay
    ]
    const capabilities = Array.from({ length: 64 }, (_, i) => ({ name: `test.ability${i}`, version: "1.0.0" }))
    const value = DhtItem.encode(recordOf({ addresses, capabilities }), network)
    expect(Bencode.encode(value).length).toBeLessThanOrEqual(1_000)
    const item = DhtItem.decode(value)
    if (item === undefined || item === "gone") throw new Error("no item was read")
    expect(item.marks.size).toBe(64)
    expect(item.addresses).toContain(relay)
    expect(item.addresses[0]).toBe(addresses[0])
    expect(item.addresses.length).toBeGreaterThan(4)
  })

  test("of a node that has gone say so", () => {
    expect(DhtItem.decode(DhtItem.encode(AgentRecord.tombstone(identity, 9, 5), network))).toBe("gone")
  })

  test("stand elsewhere in another network, and in one with a key where nobody else can tell", () => {
    const key = new Uint8Array(32).fill(7)
    const networks = [network, DhtNetwork.named("other"), DhtNetwork.keyed(key)]
    const places = networks.flatMap((one) => [
      one.target(identity.publicKey),
      one.infoHash("text.count"),
      one.infoHash(undefined)
    ])
    expect(new Set(places.map((place) => place.toString("hex"))).size).toBe(9)
    expect(DhtNetwork.keyed(key).infoHash("a")).toEqual(DhtNetwork.keyed(key).infoHash("a"))
  })

  test("stand where they always did", () => {
    // docs/protocol.md shows these.
    const parley = DhtNetwork.named(DhtNetwork.DEFAULT_NETWORK)
    expect(parley.salt.toString("hex")).toBe("cce7a7685e2530f2faaacfff72cdbcea")
    expect(parley.infoHash("text.count").toString("hex")).toBe("c671181a662ec628eb368ecb8547cad8a1362567")
    expect(parley.target(identity.publicKey).toString("hex")).toBe("c2d48f4a40383f3d9cf864e26387a3e90a8cfad2")
  })
})

describe("sealed datagrams", () => {
  const seal = PacketSeal.make(new Uint8Array(32).fill(1))

  test("are read under the same key alone, and whole", () => {
    const packet = Buffer.from("d1:y1:qe")
    const sealed = seal.seal(packet)
    expect(sealed.length).toBe(packet.length + PacketSeal.OVERHEAD)
    expect(seal.open(sealed)).toEqual(packet)
    expect(PacketSeal.make(new Uint8Array(32).fill(2)).open(sealed)).toBe(undefined)
    for (let at = 0; at < sealed.length; at++) {
      const damaged = Buffer.from(sealed)
      damaged[at] = damaged[at]! ^ 1
      expect(seal.open(damaged)).toBe(undefined)
      expect(seal.open(sealed.subarray(0, at))).toBe(undefined)
    }
    expect(seal.open(packet)).toBe(undefined)
  })
})

describe("announcements", () => {
  const key = (n: number): Uint8Array => {
    const bytes = new Uint8Array(32)
    bytes[0] = n & 255
    bytes[1] = n >> 8
    return bytes
  }

  test("are told while they last", () => {
    const announcers = new Announcers()
    announcers.add("h", key(1), "10.0.0.1", 0)
    announcers.add("h", key(2), "10.0.0.2", 10)
    expect(announcers.sample("h", 16, 20).length).toBe(2)
    expect(announcers.sample("h", 16, ANNOUNCED_MS + 5).map((one) => one[0])).toEqual([2])
    expect(announcers.sample("h", 16, ANNOUNCED_MS + 50)).toEqual([])
    expect([announcers.size, announcers.sample("other", 16, 0).length]).toEqual([0, 0])
  })

  test("of one host are few, and push no other host's out", () => {
    const announcers = new Announcers()
    announcers.add("h", key(9_999), "10.0.0.1", 0)
    for (let i = 0; i < 5_000; i++) announcers.add("h", key(i), "10.6.6.6", 0)
    expect(announcers.size).toBe(1 + MAX_OF_HOST)
    const told = Array.from({ length: 200 }, () => announcers.sample("h", 8, 1)).flat()
    expect(told.some((one) => Buffer.compare(one, key(9_999)) === 0)).toBe(true)
  })

  test("of one hash are bounded, and all are told of in turn", () => {
    const announcers = new Announcers()
    for (let i = 0; i < 2 * MAX_OF_HASH; i++) announcers.add("h", key(i), `10.0.${i >> 8}.${i & 255}`, 0)
    expect(announcers.size).toBe(MAX_OF_HASH)
    const told = new Set<string>()
    for (let i = 0; i < 500; i++) for (const one of announcers.sample("h", 16, 1)) told.add(one.toString("hex"))
    expect(told.size).toBe(MAX_OF_HASH)
  })

  test("are bounded in all", () => {
    const announcers = new Announcers()
    const hashes = MAX_KEPT / MAX_OF_HASH + 2
    for (let h = 0; h < hashes; h++)
      for (let i = 0; i < MAX_OF_HASH; i++) announcers.add(`h${h}`, key(i), `10.0.${i >> 8}.${i & 255}`, 0)
    expect(announcers.size).toBeLessThanOrEqual(MAX_KEPT)
    expect([announcers.sample("h0", 1, 1).length, announcers.sample(`h${Math.floor(hashes)}`, 1, 1).length]).toEqual([
      0, 1
    ])
  })

  test("of many hashes are bounded", () => {
    const announcers = new Announcers()
    for (let i = 0; i < 12_000; i++) announcers.add(`h${i}`, key(1), "10.0.0.1", 0)
    expect(announcers.size).toBe(10_000)
    expect([announcers.sample("h0", 1, 1).length, announcers.sample("h11999", 1, 1).length]).toEqual([0, 1])
  })
})
