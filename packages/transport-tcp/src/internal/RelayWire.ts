/**
 * What is said on RELAY and CIRCUIT streams before their bytes are somebody else's.
 *
 * | from | message | meaning |
 * | --- | --- | --- |
 * | node | 1 | reserve a slot; it is held while this stream is open |
 * | dialler | 2 ‖ NodeId's key (32 bytes) | connect to that node |
 * | relay | 16 | yes; on a dialler's stream every message from here on is opaque bytes |
 * | relay | 17 ‖ reason (1 byte) | no |
 * | relay, on CIRCUIT | 3 ‖ dialler's key (32 bytes) | somebody connects; every message from here on is opaque bytes |
 */
import * as NodeId from "@parley/core/NodeId"

const keyBytes = NodeId.PUBLIC_KEY_BYTES
const kind = { reserve: 1, connect: 2, incoming: 3, yes: 16, no: 17 } as const

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
  | { readonly _tag: "Reserve" }
  | { readonly _tag: "Connect"; readonly node: NodeId.NodeId }
  | undefined

export const reserve = Uint8Array.of(kind.reserve)
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
  if (message.length === 1 && message[0] === kind.reserve) return { _tag: "Reserve" }
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
