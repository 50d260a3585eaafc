/**
 * What is said on RELAY and CIRCUIT streams before their bytes are somebody else's.
 *
 * | from | message | meaning |
 * | --- | --- | --- |
 * | node | 4 | reserve a slot for the time of a lease, or renew the lease on the stream that holds the slot |
 * | relay | 18 ‖ lease in ms (u32) ‖ free circuits (u32) ‖ bytes left (u64) | yes, to each 4; more may follow and is ignored |
 * | node | 1 | reserve a slot without a lease, as versions before leases do; it is held while this stream is open |
 * | node | 5 ‖ port (u16) | what do you see of me, and do I accept connections on that port (0: do not try) |
 * | relay | 19 ‖ its time (u64, ms since 1970) ‖ reached (1 byte) ‖ address | what it sees, as its last message |
 * | dialler | 2 ‖ NodeId's key (32 bytes) | connect to that node |
 * | relay | 16 | yes; on a dialler's stream every message from here on is opaque bytes |
 * | relay | 17 ‖ reason (1 byte) | no |
 * | relay, on CIRCUIT | 3 ‖ dialler's key (32 bytes) | somebody connects; every message from here on is opaque bytes |
 */
import * as NodeId from "@parley/core/NodeId"
import * as Addresses from "./Addresses.ts"

const keyBytes = NodeId.PUBLIC_KEY_BYTES
const kind = { reserve: 1, connect: 2, incoming: 3, lease: 4, look: 5, yes: 16, no: 17, granted: 18, seen: 19 } as const
/** Bytes of a grant that this version reads, and the most that a later one may send. */
const GRANT_BYTES = { read: 17, most: 1_024 }

/** Why a relay refused. */
export const refusals = {
  NoReservation: [1, "that node has no slot at this relay, or has left it"],
  QuotaExceeded: [2, "this node has used up what the relay forwards for one peer in an hour"],
  LimitReached: [3, "the relay has as many slots or circuits as it allows"],
  Malformed: [4, "the relay could not read the request"],
  Relayed: [5, "this node is connected to the relay through another relay"]
} as const
export type Refusal = keyof typeof refusals

export type Request =
  | { readonly _tag: "Reserve"; readonly leased: boolean }
  | { readonly _tag: "Look"; readonly port: number }
  | { readonly _tag: "Connect"; readonly node: NodeId.NodeId }
  | undefined

/** Of a relay that knows no leases. */
export const reserve = Uint8Array.of(kind.reserve)
/** Reserves a slot for the time of a lease, and renews it. */
export const lease = Uint8Array.of(kind.lease)
export const yes = Uint8Array.of(kind.yes)
export const no = (reason: Refusal): Uint8Array => Uint8Array.of(kind.no, refusals[reason][0])

const withKey = (first: number, node: NodeId.NodeId): Uint8Array => {
  const bytes = new Uint8Array(1 + keyBytes)
  bytes[0] = first
  bytes.set(NodeId.toPublicKey(node), 1)
  return bytes
}

const readKey = (first: number, message: Uint8Array): NodeId.NodeId | undefined =>
  message.length === 1 + keyBytes && message[0] === first ? NodeId.fromPublicKey(message.slice(1)) : undefined

export const connect = (node: NodeId.NodeId): Uint8Array => withKey(kind.connect, node)
export const incoming = (dialler: NodeId.NodeId): Uint8Array => withKey(kind.incoming, dialler)
export const readIncoming = (message: Uint8Array): NodeId.NodeId | undefined => readKey(kind.incoming, message)

export const readRequest = (message: Uint8Array): Request => {
  if (message.length === 1 && message[0] === kind.reserve) return { _tag: "Reserve", leased: false }
  if (message.length === 1 && message[0] === kind.lease) return { _tag: "Reserve", leased: true }
  if (message.length === 3 && message[0] === kind.look) return { _tag: "Look", port: (message[1]! << 8) | message[2]! }
  const node = readKey(kind.connect, message)
  return node === undefined ? undefined : { _tag: "Connect", node }
}

/** True for yes, else the reason of the refusal. */
export const readAnswer = (message: Uint8Array): true | Refusal => {
  if (message.length === 1 && message[0] === kind.yes) return true
  if (message.length !== 2 || message[0] !== kind.no) return "Malformed"
  const found = Object.entries(refusals).find(([, [code]]) => code === message[1])
  return found === undefined ? "Malformed" : (found[0] as Refusal)
}

/** What a slot is good for. */
export interface Grant {
  readonly leaseMs: number
  /** Circuits that may yet be made to the node. */
  readonly circuits: number
  /** Bytes that may yet go through them within this hour. */
  readonly bytes: number
}

export const grant = ({ bytes, circuits, leaseMs }: Grant): Uint8Array => {
  const message = new Uint8Array(GRANT_BYTES.read)
  const view = new DataView(message.buffer)
  message[0] = kind.granted
  view.setUint32(1, Math.min(leaseMs, 0xffff_ffff))
  view.setUint32(5, Math.max(0, Math.min(circuits, 0xffff_ffff)))
  view.setBigUint64(9, BigInt(Math.max(0, Math.min(bytes, Number.MAX_SAFE_INTEGER))))
  return message
}

/** A grant, or the reason of the refusal; a bare yes is a grant without lease. */
export const readGrant = (message: Uint8Array): Grant | true | Refusal => {
  if (message[0] !== kind.granted) return readAnswer(message)
  if (message.length < GRANT_BYTES.read || message.length > GRANT_BYTES.most) return "Malformed"
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  return { leaseMs: view.getUint32(1), circuits: view.getUint32(5), bytes: Number(view.getBigUint64(9)) }
}

/** What came of a relay's attempt to connect to who asked: not made, accepted, refused, or without an answer. */
export const reached = ["not tried", "accepted", "refused", "no answer"] as const
export type Reached = (typeof reached)[number]

/** What a relay sees of a node. */
export interface Seen {
  /** The relay's clock, in ms since 1970. */
  readonly time: number
  readonly reached: Reached
  /** Where the node's connection comes from: `tcp://HOST:PORT`. */
  readonly address: string
}

/** Longest address that is told or read. */
const MAX_SEEN_ADDRESS = 300

export const look = (port: number): Uint8Array => Uint8Array.of(kind.look, port >> 8, port & 0xff)

export const seen = (what: Seen): Uint8Array => {
  const address = new TextEncoder().encode(what.address.slice(0, MAX_SEEN_ADDRESS))
  const message = new Uint8Array(10 + address.length)
  message[0] = kind.seen
  new DataView(message.buffer).setBigUint64(1, BigInt(Math.max(0, Math.trunc(what.time))))
  message[9] = reached.indexOf(what.reached)
  message.set(address, 10)
  return message
}

export const readSeen = (message: Uint8Array): Seen | Refusal => {
  if (message[0] !== kind.seen) {
    const answer = readAnswer(message)
    return answer === true ? "Malformed" : answer
  }
  const how = reached[message[9] ?? 255]
  if (message.length < 10 || message.length > 10 + MAX_SEEN_ADDRESS || how === undefined) return "Malformed"
  const time = Number(new DataView(message.buffer, message.byteOffset, message.byteLength).getBigUint64(1))
  const address = new TextDecoder().decode(message.subarray(10))
  return { time, reached: how, address: Addresses.parse(address) === undefined ? "" : address }
}
