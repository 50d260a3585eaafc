/**
 * Who a node is: its Ed25519 public key, printed the way did:key prints it.
 *
 * A NodeId certifies itself: whoever signs under it holds its key, so nobody can claim another's.
 */
import { createHash } from "node:crypto"
import { base58 } from "@scure/base"
import * as Schema from "effect/Schema"

/** Length of an Ed25519 public key, in bytes. */
export const PUBLIC_KEY_BYTES = 32
/** Length of every NodeId, in characters: `z` and 47 base58 digits, because the 34 bytes behind it begin with 0xed01. */
export const NODE_ID_LENGTH = 48
/** Most decoded NodeIds kept: about 1 MiB, more than the peers one node talks to at a time. Beyond it the oldest goes. */
export const MAX_CACHED_KEYS = 8_192

const didPrefix = "did:key:"
const shape = /^z6Mk[1-9A-HJ-NP-Za-km-z]{44}$/
const decoded = new Map<string, Uint8Array>()

const remember = (id: string, publicKey: Uint8Array): Uint8Array => {
  if (decoded.size >= MAX_CACHED_KEYS) {
    for (const oldest of decoded.keys()) {
      decoded.delete(oldest)
      break
    }
  }
  decoded.set(id, publicKey)
  return publicKey
}

const decode = (text: string): Uint8Array | undefined => {
  const known = decoded.get(text)
  if (known !== undefined) return known
  if (text.length !== NODE_ID_LENGTH || !shape.test(text)) return undefined
  const bytes = base58.decode(text.slice(1))
  if (bytes.length !== PUBLIC_KEY_BYTES + 2 || bytes[0] !== 0xed || bytes[1] !== 0x01) return undefined
  return remember(text, bytes.slice(2))
}

/**
 * `z6Mk…`: `z` (multibase base58btc) and the base58btc of 0xed01 ‖ the 32-byte Ed25519 public key.
 *
 * Source: the did:key method, W3C CCG, "Ed25519".
 */
export const NodeId = Schema.String.check(
  Schema.makeFilter((text: string) => decode(text) !== undefined || "a NodeId: z6Mk and 44 more base58 characters")
).pipe(Schema.brand("@parley/core/NodeId"))
/** `z6Mk…`: a node's public key in did:key's multibase form. */
export type NodeId = typeof NodeId.Type

/** The NodeId of a 32-byte Ed25519 public key; throws a `RangeError` for another length. */
export const fromPublicKey = (publicKey: Uint8Array): NodeId => {
  if (publicKey.length !== PUBLIC_KEY_BYTES) {
    throw new RangeError(`An Ed25519 public key has ${PUBLIC_KEY_BYTES} bytes, this one has ${publicKey.length}`)
  }
  const bytes = new Uint8Array(PUBLIC_KEY_BYTES + 2)
  bytes[0] = 0xed
  bytes[1] = 0x01
  bytes.set(publicKey, 2)
  return `z${base58.encode(bytes)}` as NodeId
}

/** The 32-byte public key of a NodeId. The bytes are shared: do not write to them. */
export const toPublicKey = (id: NodeId): Uint8Array => {
  const publicKey = decode(id)
  if (publicKey === undefined) throw new RangeError(`Not a NodeId: ${JSON.stringify(String(id).slice(0, 64))}`)
  return publicKey
}

/** Reads `z6Mk…` or `did:key:z6Mk…`; `undefined` when it is neither. */
export const parse = (text: string): NodeId | undefined => {
  const id = text.startsWith(didPrefix) ? text.slice(didPrefix.length) : text
  return decode(id) === undefined ? undefined : (id as NodeId)
}

/** The decentralised identifier: `did:key:z6Mk…`. */
export const toDid = (id: NodeId): string => didPrefix + id

/** For people to compare by eye or voice: the first 16 bytes of SHA-256 over the public key, as 8 groups of 4 hex digits. */
export const fingerprint = (id: NodeId): string =>
  createHash("sha256").update(toPublicKey(id)).digest("hex").slice(0, 32).match(/.{4}/g)!.join(":")

/** Orders NodeIds by their characters' codes, the same way on every machine. */
export const compare = (a: NodeId, b: NodeId): -1 | 0 | 1 => (a < b ? -1 : a > b ? 1 : 0)
