/** Verifies: every message of gossip has the bytes that the protocol says and comes back as it went; no bytes break the reader. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import { forRounds, mutate, seeded, type Seeded } from "@parley/core/testing/Seeded"
import type { Message } from "@parley/gossip/GossipMachine"
import * as Statement from "@parley/gossip/Statement"
import type * as Swim from "@parley/gossip/Swim"
import * as Wire from "@parley/gossip/Wire"

const ada = Identity.fromSeed(new Uint8Array(32).fill(1))
const bob = Identity.fromSeed(new Uint8Array(32).fill(2))
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")
const [adaKey, bobKey] = [hex(ada.publicKey), hex(bob.publicKey)]
const addressesOf: Wire.AddressesOf = (node) => (node === ada.nodeId ? ["tcp://10.0.0.1:7878"] : [])
/** 19 bytes of "tcp://10.0.0.1:7878". */
const address = "00137463703a2f2f31302e302e302e313a37383738"
const id = "00112233445566778899aabbccddeeff"

const said = (of: Pick<Swim.Statement, "_tag">, incarnation: number): Swim.Statement => {
  const evidence = new Uint8Array(0)
  const statement: Swim.Statement =
    of._tag === "Alive"
      ? { _tag: "Alive", subject: ada.nodeId, incarnation, left: true, evidence }
      : { _tag: "Accusation", subject: ada.nodeId, incarnation, accuser: bob.nodeId, evidence }
  return { ...statement, evidence: Statement.sign(of._tag === "Alive" ? ada : bob, statement) }
}
const alive = said({ _tag: "Alive" }, 5)
const accusation = said({ _tag: "Accusation" }, 5)
const aliveHex = `01${adaKey}00000000000501${hex(alive.evidence)}`
const accusationHex = `02${adaKey}000000000005${bobKey}${hex(accusation.evidence)}`

const snapshots: ReadonlyArray<readonly [Message, string]> = [
  [{ _tag: "Join" }, "10"],
  [{ _tag: "ForwardJoin", peer: ada.nodeId, ttl: 6 }, `1106${adaKey}01${address}`],
  [{ _tag: "Neighbor", priority: "high" }, "1201"],
  [{ _tag: "NeighborReply", accepted: false }, "1300"],
  [{ _tag: "Disconnect", leaving: true }, "1401"],
  [{ _tag: "Shuffle", origin: ada.nodeId, ttl: 3, peers: [bob.nodeId] }, `1503${adaKey}01${address}01${bobKey}00`],
  [{ _tag: "ShuffleReply", peers: [bob.nodeId, ada.nodeId] }, `1602${bobKey}00${adaKey}01${address}`],
  [{ _tag: "IHave", have: [{ id, round: 3 }] }, `210001${id}03`],
  [{ _tag: "Graft", id }, `2201${id}`],
  [{ _tag: "Graft", id: undefined }, "2200"],
  [{ _tag: "Prune" }, "23"],
  [{ _tag: "Ping", seq: 7, about: [accusation] }, `30000000070001${accusationHex}`],
  [{ _tag: "Ack", seq: 7, about: [alive] }, `31000000070001${aliveHex}`],
  [{ _tag: "PingRequest", seq: 7, subject: ada.nodeId }, `3200000007${adaKey}01${address}`],
  [{ _tag: "PingResult", seq: 7, subject: bob.nodeId, reached: true }, `3300000007${bobKey}01`],
  [{ _tag: "News", statements: [alive, accusation] }, `340002${aliveHex}${accusationHex}`],
  [{ _tag: "Digest", salt: 9, buckets: [1, 0xffff_ffff] }, "4000000009000200000001ffffffff"],
  [
    {
      _tag: "Entries",
      salt: 9,
      of: 16,
      buckets: [3],
      entries: [{ key: `r${bob.nodeId}`, version: Number.MAX_SAFE_INTEGER }]
    },
    `4100000009001000010003000102${bobKey}001fffffffffffff`
  ],
  [{ _tag: "Offer", entries: [{ key: `m${id}`, version: 0 }] }, `42000103${id}0000000000000000`],
  [{ _tag: "Want", keys: [`a${ada.nodeId}`, `m${id}`] }, `43000200${adaKey}03${id}`],
  [
    {
      _tag: "Items",
      items: [
        { key: `r${bob.nodeId}`, version: 1, payload: Uint8Array.of(7, 8), bytes: 2 },
        { key: `x${ada.nodeId}`, version: 5, payload: accusation, bytes: Statement.MAX_STATEMENT_BYTES }
      ]
    },
    `44000202${bobKey}000000000000000100000002070801${adaKey}000000000000000500000087${accusationHex}`
  ]
]

const back = (bytes: Uint8Array): Message => {
  const decoded = Wire.decode(bytes)
  if (decoded instanceof Wire.WireRefused) throw decoded
  return decoded.message
}

describe("messages", () => {
  test("have the bytes that the protocol says", () => {
    for (const [message, expected] of snapshots) expect(hex(Wire.encode(message, addressesOf))).toBe(expected)
    const gossip = Wire.encode(
      { _tag: "Gossip", id: "", origin: "", round: 3, payload: Uint8Array.of(1, 2) },
      addressesOf
    )
    expect(hex(gossip)).toBe("2003000102")
    expect(hex(Wire.encodeHello({ epoch: 258, addresses: addressesOf(ada.nodeId) }))).toBe(
      `010100000000010201${address}`
    )
  })

  test("come back as they went, with where their peers are", () => {
    for (const [message] of snapshots) expect(back(Wire.encode(message, addressesOf))).toEqual(message)
    const shuffle = Wire.decode(Wire.encode({ _tag: "ShuffleReply", peers: [bob.nodeId, ada.nodeId] }, addressesOf))
    expect(shuffle).toMatchObject({ hints: [{ node: ada.nodeId, addresses: ["tcp://10.0.0.1:7878"] }] })
    const hello = { epoch: 1_795_000_000_000, addresses: ["tcp://10.0.0.1:7878", "relay://h:1/a/b"] }
    expect(Wire.decodeHello(Wire.encodeHello(hello))).toEqual(hello)
  })

  test("name a payload by its hash, whatever the sender calls it", () => {
    const one = back(
      Wire.encode({ _tag: "Gossip", id: "x", origin: "y", round: 999, payload: Uint8Array.of(1) }, addressesOf)
    )
    expect(one).toMatchObject({ id: "4bf5122f344554c53bde2ebb8cd2b7e3", origin: "", round: 255 })
  })

  test("are signed statement by statement, each kind for itself", () => {
    for (const statement of [alive, accusation]) {
      expect(Statement.isGenuine(statement)).toBe(true)
      expect(Statement.isGenuine({ ...statement, incarnation: 6 })).toBe(false)
      expect(Statement.isGenuine({ ...statement, subject: bob.nodeId })).toBe(false)
    }
    expect(Statement.isGenuine({ ...(alive as Swim.Alive), left: false })).toBe(false)
    expect(Statement.isGenuine({ ...(accusation as Swim.Accusation), accuser: ada.nodeId })).toBe(false)
    expect(Statement.encode(accusation).length).toBe(Statement.MAX_STATEMENT_BYTES)
  })
})

describe("bounds", () => {
  const refused = (bytes: Uint8Array | string): boolean =>
    Wire.decode(typeof bytes === "string" ? Uint8Array.from(Buffer.from(bytes, "hex")) : bytes) instanceof
    Wire.WireRefused
  const u16 = (value: number): string => value.toString(16).padStart(4, "0")

  test("of every count are held before anything is read", () => {
    expect(refused(`1111${adaKey}00`)).toBe(true)
    expect(refused(`16${(Wire.MAX_SAMPLE + 1).toString(16)}${`${adaKey}00`.repeat(Wire.MAX_SAMPLE + 1)}`)).toBe(true)
    expect(refused(`1605${adaKey}05${address.repeat(5)}`)).toBe(true)
    expect(refused(`21${u16(Wire.MAX_IDS + 1)}${`${id}00`.repeat(Wire.MAX_IDS + 1)}`)).toBe(true)
    expect(refused(`340101${aliveHex.repeat(257)}`)).toBe(true)
    expect(refused(`30000000070005${aliveHex.repeat(5)}`)).toBe(true)
    expect(refused(`4000000000${u16(Wire.MAX_BUCKETS + 1)}${"00000000".repeat(Wire.MAX_BUCKETS + 1)}`)).toBe(true)
    expect(refused(`42${u16(Wire.MAX_ENTRIES + 1)}${`03${id}${"00".repeat(8)}`.repeat(Wire.MAX_ENTRIES + 1)}`)).toBe(
      true
    )
    expect(refused(`420001${`03${id}`}0020000000000000`)).toBe(true)
    expect(refused(new Uint8Array(Wire.MAX_MESSAGE_BYTES + 1).fill(0x20))).toBe(true)
  })

  test("of what is sent are kept by the writer", () => {
    const peers = Array.from({ length: 100 }, () => ada.nodeId)
    expect(
      (back(Wire.encode({ _tag: "ShuffleReply", peers }, addressesOf)) as { peers: ReadonlyArray<string> }).peers.length
    ).toBe(Wire.MAX_SAMPLE)
    const items = Array.from({ length: 9 }, (_, n) => ({
      key: `r${bob.nodeId}`,
      version: n,
      payload: new Uint8Array(65_000),
      bytes: 65_000
    }))
    const sent = Wire.encode({ _tag: "Items", items }, addressesOf)
    expect(sent.length <= Wire.MAX_MESSAGE_BYTES).toBe(true)
    expect((back(sent) as { items: ReadonlyArray<unknown> }).items.length).toBe(4)
  })

  test("of addresses: a scheme, and no spaces or control characters", () => {
    for (const text of ["", "tcp", "tcp:", "TCP://x", "tcp://a b", "tcp://a\u0007", `tcp://${"x".repeat(600)}`]) {
      const bytes = Buffer.from(text)
      expect(refused(`1106${adaKey}01${u16(bytes.length)}${bytes.toString("hex")}`)).toBe(true)
    }
  })
})

describe("hostile bytes", () => {
  const examples = snapshots.map(([message]) => Wire.encode(message, addressesOf))
  const survives = (bytes: Uint8Array): void => {
    const decoded = Wire.decode(bytes)
    if (decoded instanceof Wire.WireRefused) return
    // What is read can be written, and is then the same.
    const again = Wire.decode(Wire.encode(decoded.message, () => []))
    if (again instanceof Wire.WireRefused) throw again
    if (decoded.message._tag !== "Gossip") expect(again.message).toEqual(decoded.message)
  }
  const noise = (random: Seeded): Uint8Array => {
    const bytes = random.bytes(random.int(200))
    if (bytes.length > 0) bytes[0] = random.pick(Object.values(Wire.Kind))
    return bytes
  }

  test("are refused or read, and never thrown", () => {
    const random = seeded(20_261_124)
    forRounds(random, 3_000, () => survives(mutate(random, random.pick(examples))))
    forRounds(random, 3_000, () => survives(noise(random)))
    forRounds(random, 500, () => void Wire.decodeHello(random.bytes(random.int(60))))
    for (const example of examples)
      expect(Wire.decode(Buffer.concat([example, Uint8Array.of(0)])) instanceof Wire.WireRefused).toBe(true)
    for (const example of examples)
      for (let length = 0; length < example.length; length++)
        expect(Wire.decode(example.subarray(0, length)) instanceof Wire.WireRefused).toBe(true)
  })
})
