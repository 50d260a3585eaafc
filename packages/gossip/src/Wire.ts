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
import type { Message } from "./GossipMachine.ts"
import { Malformed, Reader, Writer } from "./internal/Bytes.ts"
import * as Payload from "./Payload.ts"

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
/** Largest message: a payload with its head, or the largest sample. */
export const MAX_MESSAGE_BYTES = Math.max(
  2 + Payload.MAX_PAYLOAD_BYTES,
  4 + (MAX_SAMPLE + 1) * (33 + MAX_HINTS * (2 + MAX_ADDRESS_LENGTH))
)

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
  Prune: 0x23
} as const

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

/** A message as bytes. */
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
      writer.u8(Math.min(message.round, MAX_ROUND)).bytes(message.payload)
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
      if (reader.left > Payload.MAX_PAYLOAD_BYTES) throw new Malformed(`a payload of ${reader.left} bytes`)
      const payload = reader.bytes(reader.left, "the payload")
      return { _tag: "Gossip", id: Payload.idOf(payload), origin: "", round, payload }
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
    default:
      throw new Malformed(`kind ${kind}`)
  }
}
