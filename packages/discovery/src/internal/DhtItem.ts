/**
 * What a node says of itself in the DHT: a mutable item (BEP 44) under its own key. It holds where to reach the node, what it
 * announces, and which record it has; the record itself comes from the node, after its handshake.
 */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { Address } from "@parley/core/Transport"
import * as Bencode from "./Bencode.ts"
import type { DhtNetwork } from "./DhtNetwork.ts"
import { MAX_ITEM_BYTES } from "./KrpcMessage.ts"

/** Bytes of an item's value: with its length in front, bencoded, it has `MAX_ITEM_BYTES`. */
export const MAX_VALUE_BYTES = MAX_ITEM_BYTES - 4
/** Bytes that a capability has in an item: enough to pass over nodes that were announced and do not serve it. */
export const MARK_BYTES = 4
const HASH_BYTES = 32

/** What a node says of itself. */
export interface DhtItem {
  /** Best first; none where the node has gone. */
  readonly addresses: ReadonlyArray<Address>
  /** First bytes of the hashes under which it has announced itself. */
  readonly marks: ReadonlySet<string>
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  /** The record's `seq`. */
  readonly recordSeq: number
  /** SHA-256 of the record's canonical JSON. */
  readonly recordHash: Buffer
}

/** What stands in an item for a capability. */
export const markOf = (network: DhtNetwork, capability: string): string =>
  network.infoHash(capability).subarray(0, MARK_BYTES).toString("hex")

/** The item of a record: of its addresses as many as fit, the first, and one through a relay where there is any. */
export const encode = (record: AgentRecord.AgentRecord, network: DhtNetwork): Buffer => {
  if (AgentRecord.isTombstone(record)) return Bencode.encode({ v: 1, gone: 1, s: record.seq })
  const names = [...new Set(record.capabilities.map(({ name }) => name))]
  const marks = Buffer.concat(names.map((name) => network.infoHash(name).subarray(0, MARK_BYTES)))
  const hash = createHash("sha256").update(CanonicalJson.bytes(record)).digest()
  const write = (addresses: ReadonlyArray<Address>): Buffer =>
    Bencode.encode({ v: 1, a: addresses, c: marks, e: record.expiresAt, h: hash, s: record.seq })
  const relayed = record.addresses.find((address) => address.startsWith("relay:"))
  const wanted = [...(relayed === undefined ? [] : [relayed]), ...record.addresses.filter((one) => one !== relayed)]
  const taken = new Set<Address>()
  for (const address of wanted) {
    if (write([...taken, address]).length <= MAX_VALUE_BYTES) taken.add(address)
  }
  return write(record.addresses.filter((address) => taken.has(address)))
}

/** Reads an item's value: what the node says, `gone` where it has left, undefined for what is neither. */
export const decode = (value: Buffer): DhtItem | "gone" | undefined => {
  const item = Bencode.decode(value)
  if (!Bencode.isDictionary(item) || item["v"] !== 1) return undefined
  if (item["gone"] === 1) return "gone"
  const { a, c, e, h, s } = item
  if (!Array.isArray(a) || !Buffer.isBuffer(c) || typeof e !== "number" || typeof s !== "number") return undefined
  if (!Buffer.isBuffer(h) || h.length !== HASH_BYTES || c.length % MARK_BYTES !== 0) return undefined
  const addresses: Array<Address> = []
  for (const one of a as ReadonlyArray<Bencode.Value>) {
    const address = Buffer.isBuffer(one) ? one.toString("latin1") : ""
    if (!/^[a-z][a-z0-9+.-]*:[!-~]+$/.test(address) || address.length > AgentRecord.MAX_ADDRESS_LENGTH) return undefined
    addresses.push(address)
  }
  if (addresses.length > AgentRecord.MAX_ADDRESSES) return undefined
  const marks = new Set<string>()
  for (let at = 0; at < c.length; at += MARK_BYTES) marks.add(c.toString("hex", at, at + MARK_BYTES))
  return { addresses, marks, expiresAt: e, recordSeq: s, recordHash: Buffer.from(h) }
}

/** Whether an item says where its node is now. */
export const isLive = (item: DhtItem | "gone" | undefined, now: number): item is DhtItem =>
  item !== undefined &&
  item !== "gone" &&
  item.expiresAt > now &&
  item.expiresAt <= now + AgentRecord.MAX_LIFETIME + AgentRecord.CLOCK_SKEW
