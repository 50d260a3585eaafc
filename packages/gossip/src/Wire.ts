/**
 * Wire: the messages of gossip as bytes. Each is one message of a stream of `Protocol.GOSSIP`; its first byte says which.
 *
 * A peer is written as its public key and up to four of its addresses, as the sender knows them: hints, so that a node can
 * reach whom it has not heard of. They count once whoever answers there has proven the key.
 *
 * ```
 * contact   key, 32 bytes; addresses, u8 count (at most 4), each u16 length (at most 512) and printable ASCII
 * id        16 bytes; round, u8
 * ```
 */
import * as Schema from "effect/Schema"
import { MAX_ADDRESS_LENGTH } from "@parley/core/AgentRecord"
import type { NodeId } from "@parley/core/NodeId"
import type { Address } from "@parley/core/Transport"
import type * as AntiEntropy from "./AntiEntropy.ts"
import type { Held, Message } from "./GossipMachine.ts"
import { Malformed, Reader, Writer } from "./internal/Bytes.ts"
import * as Payload from "./Payload.ts"
import * as Statement from "./Statement.ts"
import type * as Swim from "./Swim.ts"
import { MAX_ABOUT, MAX_NEWS } from "./SwimTimes.ts"

/** The version of these messages; a peer with another one is left alone. */
export const VERSION = 1
/** Addresses told with a peer: what a dialler tries before it gives up. */
export const MAX_HINTS = 4
/** Peers in a sample: the shuffle takes eight, so that there is room. */
export const MAX_SAMPLE = 32
/** Longest random walk. */
export const MAX_TTL = 16
/** Ids in one announcement: what 10,000 messages a second wait for within a tenth of one. */
export const MAX_IDS = 1_024
/** Hops that are told apart. */
export const MAX_ROUND = 255
/** Ages of payloads are told in steps of so many ms, … */
export const AGE_MS = 250
/** … and so many of them: payloads are kept for half that time. */
export const MAX_AGE = 255
/** Buckets that are compared at once. */
export const MAX_BUCKETS = 4_096
/** Entries told, and keys wanted, at once: those of a mesh of 2,000 nodes that has just been met. */
export const MAX_ENTRIES = 4_096
/** Items sent at once; as many as fit `MAX_MESSAGE_BYTES`. */
export const MAX_ITEMS = 1_024
/** Largest message: four of the largest payloads. */
export const MAX_MESSAGE_BYTES = 4 * (64 + Payload.MAX_PAYLOAD_BYTES)

/** Kinds of messages. */
export const Kind = {
  Hello: 0x01,
  Join: 0x10,
  ForwardJoin: 0x11,
  Neighbor: 0x12,
  NeighborReply: 0x13,
  Disconnect: 0x14,
  Shuffle: 0x15,
  ShuffleReply: 0x16,
  Gossip: 0x20,
  IHave: 0x21,
  Graft: 0x22,
  Prune: 0x23,
  Ping: 0x30,
  Ack: 0x31,
  PingRequest: 0x32,
  PingResult: 0x33,
  News: 0x34,
  Digest: 0x40,
  Entries: 0x41,
  Offer: 0x42,
  Want: 0x43,
  Items: 0x44
} as const

export type { Message } from "./GossipMachine.ts"

/** Bytes that are no message of gossip. */
export class WireRefused extends Schema.TaggedError<WireRefused>()("WireRefused", { detail: Schema.String }) {
  override get message(): string {
    return `not a message of gossip: ${this.detail}`
  }
}

/** Where a node may be reached, as a peer says. */
export interface Hint {
  readonly node: NodeId
  readonly addresses: ReadonlyArray<Address>
}

/** The first message of a stream: who speaks since when, and where it listens. */
export interface Hello {
  /** When this run of the node began, in ms since 1970. */
  readonly epoch: number
  readonly addresses: ReadonlyArray<Address>
}

/** Letters of keys: statements by their subject, records by their node, topics' messages by their id. */
const letters = ["a", "x", "r", "m"] as const
const NAMELESS = "m"

const writeKey = (writer: Writer, key: string): Writer => {
  const letter = key[0] as (typeof letters)[number]
  writer.u8(letters.indexOf(letter))
  return letter === NAMELESS ? writeId(writer, key.slice(1)) : writer.node(key.slice(1) as NodeId)
}
const readKey = (reader: Reader): string => {
  const letter = letters[reader.upTo(letters.length - 1, "the kind of a key")]!
  return letter + (letter === NAMELESS ? readId(reader) : reader.node("the node of a key"))
}
const isStatement = (key: string): boolean => key[0] === "a" || key[0] === "x"

const writeEntries = (writer: Writer, entries: ReadonlyArray<AntiEntropy.Entry>): void => {
  const told = entries.slice(0, MAX_ENTRIES)
  writer.u16(told.length)
  for (const { key, version } of told) writeKey(writer, key).u64(version)
}
const readEntries = (reader: Reader): ReadonlyArray<AntiEntropy.Entry> =>
  Array.from({ length: reader.count(MAX_ENTRIES, "entries") }, () => ({
    key: readKey(reader),
    version: reader.u64("a version")
  }))

const writeItem = (writer: Writer, { key, payload, version }: AntiEntropy.Item<Held>): Writer =>
  writeKey(writer, key)
    .u64(version)
    .bytes32(payload instanceof Uint8Array ? payload : Statement.encode(payload))
const readItem = (reader: Reader): AntiEntropy.Item<Held> => {
  const key = readKey(reader)
  const version = reader.u64("a version")
  const bytes = reader.bytes32(Payload.MAX_PAYLOAD_BYTES, "an item")
  if (!isStatement(key)) return { key, version, payload: bytes, bytes: bytes.length }
  const inside = new Reader(bytes)
  const payload = Statement.read(inside)
  inside.end()
  return { key, version, payload, bytes: bytes.length }
}

const writeNumbers = (writer: Writer, numbers: ReadonlyArray<number>, write: (value: number) => void): void => {
  writer.u16(numbers.length)
  for (const number of numbers) write(number)
}

/** Gives the addresses that are told with a peer. */
export type AddressesOf = (node: NodeId) => ReadonlyArray<Address>

const isAddress = /^[a-z][a-z0-9+.-]*:[!-~]+$/

const writeAddresses = (writer: Writer, addresses: ReadonlyArray<Address>): Writer => {
  const told = addresses.slice(0, MAX_HINTS)
  writer.u8(told.length)
  for (const address of told) writer.text16(address)
  return writer
}
const readAddresses = (reader: Reader): ReadonlyArray<Address> =>
  Array.from({ length: reader.upTo(MAX_HINTS, "the number of addresses") }, () => {
    const address = reader.text16(MAX_ADDRESS_LENGTH, "an address")
    if (!isAddress.test(address)) throw new Malformed("an address is none")
    return address
  })

/** The first message of a stream. */
export const encodeHello = ({ addresses, epoch }: Hello): Uint8Array =>
  writeAddresses(new Writer().u8(Kind.Hello).u8(VERSION).u48(epoch), addresses).done()

const attempt = <A>(bytes: Uint8Array, read: (reader: Reader) => A): A | WireRefused => {
  if (bytes.length > MAX_MESSAGE_BYTES)
    return new WireRefused({ detail: `${bytes.length} bytes, at most ${MAX_MESSAGE_BYTES}` })
  const reader = new Reader(bytes)
  try {
    const value = read(reader)
    reader.end()
    return value
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
    return new WireRefused({ detail: error.message })
  }
}

/** Reads the first message of a stream. */
export const decodeHello = (bytes: Uint8Array): Hello | WireRefused =>
  attempt(bytes, (reader) => {
    if (reader.u8("the kind") !== Kind.Hello) throw new Malformed("the first message of a stream is a greeting")
    const version = reader.u8("the version")
    if (version !== VERSION) throw new Malformed(`version ${version}, and this node speaks ${VERSION}`)
    return { epoch: reader.u48("the epoch"), addresses: readAddresses(reader) }
  })

const writeId = (writer: Writer, id: string): Writer => writer.bytes(Buffer.from(id, "hex"))
const readId = (reader: Reader): string => reader.hex(Payload.ID_BYTES, "an id")
const flag = (reader: Reader, what: string): boolean => reader.upTo(1, what) === 1

/** The first items that one message holds. */
const fitting = (items: ReadonlyArray<AntiEntropy.Item<Held>>): ReadonlyArray<AntiEntropy.Item<Held>> => {
  let left = MAX_MESSAGE_BYTES - 3
  const fits = items.slice(0, MAX_ITEMS).findIndex(({ payload }) => {
    left -= ITEM_HEAD_BYTES + (payload instanceof Uint8Array ? payload.length : Statement.MAX_STATEMENT_BYTES)
    return left < 0
  })
  return items.slice(0, fits < 0 ? MAX_ITEMS : fits)
}
const ITEM_HEAD_BYTES = 1 + 32 + 8 + 4

/** A message as bytes. What is beyond a bound is left out: the machines send less. */
export const encode = (message: Message, addressesOf: AddressesOf): Uint8Array => {
  const writer = new Writer()
  const contact = (peer: string): void => {
    const node = peer as NodeId
    writeAddresses(writer.node(node), addressesOf(node))
  }
  const sample = (peers: ReadonlyArray<string>): void => {
    const told = peers.slice(0, MAX_SAMPLE)
    writer.u8(told.length)
    for (const peer of told) contact(peer)
  }
  const statements = (said: ReadonlyArray<Swim.Statement>, most: number): void => {
    const told = said.slice(0, most)
    writer.u16(told.length)
    for (const statement of told) Statement.write(writer, statement)
  }
  writer.u8(Kind[message._tag])
  switch (message._tag) {
    case "Join":
    case "Prune":
      break
    case "ForwardJoin":
      writer.u8(Math.min(message.ttl, MAX_TTL))
      contact(message.peer)
      break
    case "Neighbor":
      writer.u8(message.priority === "high" ? 1 : 0)
      break
    case "NeighborReply":
      writer.u8(message.accepted ? 1 : 0)
      break
    case "Disconnect":
      writer.u8(message.leaving ? 1 : 0)
      break
    case "Shuffle":
      writer.u8(Math.min(message.ttl, MAX_TTL))
      contact(message.origin)
      sample(message.peers)
      break
    case "ShuffleReply":
      sample(message.peers)
      break
    case "Gossip":
      writer
        .u8(Math.min(message.round, MAX_ROUND))
        .u8(Math.min(Math.floor((message.age ?? 0) / AGE_MS), MAX_AGE))
        .bytes(message.payload)
      break
    case "IHave": {
      const told = message.have.slice(0, MAX_IDS)
      writer.u16(told.length)
      for (const { id, round } of told) writeId(writer, id).u8(Math.min(round, MAX_ROUND))
      break
    }
    case "Graft":
      writer.u8(message.id === undefined ? 0 : 1)
      if (message.id !== undefined) writeId(writer, message.id)
      break
    case "Ping":
    case "Ack":
      writer.u32(message.seq % 2 ** 32)
      statements(message.about, MAX_ABOUT)
      break
    case "PingRequest":
      writer.u32(message.seq % 2 ** 32)
      contact(message.subject)
      break
    case "PingResult":
      writer
        .u32(message.seq % 2 ** 32)
        .node(message.subject as NodeId)
        .u8(message.reached ? 1 : 0)
      break
    case "News":
      statements(message.statements, MAX_NEWS)
      break
    case "Digest":
      writer.u32(message.salt)
      writeNumbers(writer, message.buckets.slice(0, MAX_BUCKETS), (hash) => writer.u32(hash))
      break
    case "Entries":
      writer.u32(message.salt).u16(message.of)
      writeNumbers(writer, message.buckets.slice(0, MAX_BUCKETS), (bucket) => writer.u16(bucket))
      writeEntries(writer, message.entries)
      break
    case "Offer":
      writeEntries(writer, message.entries)
      break
    case "Want": {
      const told = message.keys.slice(0, MAX_ENTRIES)
      writer.u16(told.length)
      for (const key of told) writeKey(writer, key)
      break
    }
    case "Items": {
      const told = fitting(message.items)
      writer.u16(told.length)
      for (const item of told) writeItem(writer, item)
      break
    }
  }
  return writer.done()
}

/** What was read: a message, and where its peers may be reached. The origin of a payload is not yet known. */
export interface Decoded {
  readonly message: Message
  readonly hints: ReadonlyArray<Hint>
}

/** Reads a message. */
export const decode = (bytes: Uint8Array): Decoded | WireRefused =>
  attempt(bytes, (reader) => {
    const hints: Array<Hint> = []
    const contact = (): NodeId => {
      const node = reader.node("a peer")
      const addresses = readAddresses(reader)
      if (addresses.length > 0) hints.push({ node, addresses })
      return node
    }
    const sample = (): ReadonlyArray<NodeId> =>
      Array.from({ length: reader.upTo(MAX_SAMPLE, "the number of peers") }, contact)
    return { message: readMessage(reader, contact, sample), hints }
  })

const readStatements = (reader: Reader, most: number): ReadonlyArray<Swim.Statement> =>
  Array.from({ length: reader.count(most, "statements") }, () => Statement.read(reader))

const readMessage = (reader: Reader, contact: () => NodeId, sample: () => ReadonlyArray<NodeId>): Message => {
  const kind = reader.u8("the kind")
  switch (kind) {
    case Kind.Join:
      return { _tag: "Join" }
    case Kind.Prune:
      return { _tag: "Prune" }
    case Kind.ForwardJoin: {
      const ttl = reader.upTo(MAX_TTL, "the rest of the walk")
      return { _tag: "ForwardJoin", ttl, peer: contact() }
    }
    case Kind.Neighbor:
      return { _tag: "Neighbor", priority: flag(reader, "the priority") ? "high" : "low" }
    case Kind.NeighborReply:
      return { _tag: "NeighborReply", accepted: flag(reader, "the answer") }
    case Kind.Disconnect:
      return { _tag: "Disconnect", leaving: flag(reader, "the reason") }
    case Kind.Shuffle: {
      const ttl = reader.upTo(MAX_TTL, "the rest of the walk")
      const origin = contact()
      return { _tag: "Shuffle", origin, ttl, peers: sample() }
    }
    case Kind.ShuffleReply:
      return { _tag: "ShuffleReply", peers: sample() }
    case Kind.Gossip: {
      const round = reader.u8("the round")
      const age = reader.u8("the age") * AGE_MS
      if (reader.left > Payload.MAX_PAYLOAD_BYTES) throw new Malformed(`a payload of ${reader.left} bytes`)
      const payload = reader.bytes(reader.left, "the payload")
      return { _tag: "Gossip", id: Payload.idOf(payload), origin: "", round, age, payload }
    }
    case Kind.IHave:
      return {
        _tag: "IHave",
        have: Array.from({ length: reader.count(MAX_IDS, "ids") }, () => ({
          id: readId(reader),
          round: reader.u8("the round")
        }))
      }
    case Kind.Graft:
      return { _tag: "Graft", id: flag(reader, "whether one is named") ? readId(reader) : undefined }
    case Kind.Ping:
      return { _tag: "Ping", seq: reader.u32("the number"), about: readStatements(reader, MAX_ABOUT) }
    case Kind.Ack:
      return { _tag: "Ack", seq: reader.u32("the number"), about: readStatements(reader, MAX_ABOUT) }
    case Kind.PingRequest: {
      const seq = reader.u32("the number")
      return { _tag: "PingRequest", seq, subject: contact() }
    }
    case Kind.PingResult: {
      const seq = reader.u32("the number")
      const subject = reader.node("the subject")
      return { _tag: "PingResult", seq, subject, reached: flag(reader, "the result") }
    }
    case Kind.News:
      return { _tag: "News", statements: readStatements(reader, MAX_NEWS) }
    case Kind.Digest: {
      const salt = reader.u32("the salt")
      const length = reader.count(MAX_BUCKETS, "buckets")
      return { _tag: "Digest", salt, buckets: Array.from({ length }, () => reader.u32("a hash")) }
    }
    case Kind.Entries: {
      const salt = reader.u32("the salt")
      const of = reader.count(MAX_BUCKETS, "buckets in all")
      const length = reader.count(MAX_BUCKETS, "buckets")
      const buckets = Array.from({ length }, () => reader.u16("a bucket"))
      return { _tag: "Entries", salt, of, buckets, entries: readEntries(reader) }
    }
    case Kind.Offer:
      return { _tag: "Offer", entries: readEntries(reader) }
    case Kind.Want:
      return {
        _tag: "Want",
        keys: Array.from({ length: reader.count(MAX_ENTRIES, "keys") }, () => readKey(reader))
      }
    case Kind.Items:
      return {
        _tag: "Items",
        items: Array.from({ length: reader.count(MAX_ITEMS, "items") }, () => readItem(reader))
      }
    default:
      throw new Malformed(`kind ${kind}`)
  }
}
