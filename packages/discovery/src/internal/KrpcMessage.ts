/**
 * Messages of the DHT's protocol (KRPC: BEP 5, 43 and 44) as strangers send them.
 *
 * What is read here has every member in its type and within its bound, and nothing else, so that the library behind never
 * sees anything it did not expect. Two members are Parley's own, which other implementations pass over: `pk` in an
 * announcement is the NodeId of who announces (32 bytes), `pks` in an answer to `get_peers` are NodeIds announced there.
 */
import * as Bencode from "./Bencode.ts"

/** Largest datagram that is read, in bytes: a value of 1,000 with its key, signature, token and 8 nodes has 1,500. */
export const MAX_PACKET_BYTES = 2_048
/** Bytes of a node's id and of everything that is looked up. */
export const ID_BYTES = 20
/** Bytes of a node in `nodes`: id, IPv4 address, port. */
export const NODE_BYTES = 26
/** Nodes that one answer may tell: K of BEP 5. More are passed over, so that one answer does not fill a search. */
export const MAX_NODES = 8
/** Announced endpoints that one answer may tell. */
export const MAX_VALUES = 32
/** NodeIds that one answer may tell. */
export const MAX_KEYS = 16
/** Longest write token that is handed back; others' have 4 to 20 bytes. */
export const MAX_TOKEN_BYTES = 64
/** Longest transaction id that is answered; others' have 2 to 8 bytes. */
const MAX_TRANSACTION_BYTES = 32
/** Largest bencoded value of an item (BEP 44). */
export const MAX_ITEM_BYTES = 1_000
/** Longest salt of an item (BEP 44). */
export const MAX_SALT_BYTES = 64

/** A host and its port, as sockets give it (`address`) and as the library does (`host`). */
export interface Peer {
  readonly host?: string
  readonly address?: string
  readonly port: number
  readonly id?: Buffer | null
}

/** The arguments of a query. */
export interface Arguments {
  readonly id: Buffer
  readonly target?: Buffer
  readonly info_hash?: Buffer
  readonly token?: Buffer
  readonly port?: number
  readonly implied_port?: number
  readonly pk?: Buffer
  readonly v?: Buffer
  readonly k?: Buffer
  readonly sig?: Buffer
  readonly salt?: Buffer
  readonly seq?: number
  readonly cas?: number
}

/** A query. */
export interface Query {
  readonly y: "q"
  readonly t: Buffer
  readonly q: "ping" | "find_node" | "get_peers" | "announce_peer" | "get" | "put"
  readonly a: Arguments
  /** Who asks takes no queries itself (BEP 43). */
  readonly isReadOnly: boolean
}

/** What an answer says. */
export interface Answer {
  readonly id: Buffer
  readonly token?: Buffer
  readonly nodes?: Buffer
  readonly values?: ReadonlyArray<Buffer>
  readonly pks?: Buffer
  readonly v?: Buffer
  readonly k?: Buffer
  readonly sig?: Buffer
  readonly seq?: number
}

/** An answer. `ip` is where the other side saw us (BEP 42): 4 bytes address, 2 bytes port. */
export interface Reply {
  readonly y: "r"
  readonly t: Buffer
  readonly r: Answer
  readonly ip?: Buffer
}

/** A refusal. */
export interface Refusal {
  readonly y: "e"
  readonly t: Buffer
  readonly code: number
}

type Member = Bencode.Value | undefined

const bytesOf = (value: Member, least: number, most: number): Buffer | undefined =>
  Buffer.isBuffer(value) && value.length >= least && value.length <= most ? value : undefined
const idOf = (value: Member): Buffer | undefined => bytesOf(value, ID_BYTES, ID_BYTES)
const wholeOf = (value: Member, most: number): number | undefined =>
  typeof value === "number" && value >= 0 && value <= most ? value : undefined

/** The members of an item, where they are those of one. */
const itemOf = (a: Bencode.Dictionary) => {
  // The bencoded bytes have their length in front.
  const v = bytesOf(a["v"], 0, MAX_ITEM_BYTES - 4)
  const k = bytesOf(a["k"], 32, 32)
  const sig = bytesOf(a["sig"], 64, 64)
  const seq = wholeOf(a["seq"], Number.MAX_SAFE_INTEGER)
  if (v === undefined) return undefined
  if (k !== undefined && sig !== undefined && seq !== undefined) return { v, k, sig, seq }
  return a["k"] === undefined && a["sig"] === undefined && a["seq"] === undefined ? { v } : undefined
}

const argumentsOf = (q: string, a: Bencode.Dictionary): Pick<Query, "q" | "a"> | undefined => {
  const id = idOf(a["id"])
  if (id === undefined) return undefined
  switch (q) {
    case "ping":
      return { q, a: { id } }
    case "find_node":
    case "get": {
      const target = idOf(a["target"])
      return target && { q, a: { id, target } }
    }
    case "get_peers": {
      const info_hash = idOf(a["info_hash"])
      return info_hash && { q, a: { id, info_hash } }
    }
    case "announce_peer": {
      const info_hash = idOf(a["info_hash"])
      const token = bytesOf(a["token"], 1, MAX_TOKEN_BYTES)
      const implied_port = wholeOf(a["implied_port"] ?? 0, 1)
      const port = wholeOf(a["port"] ?? 0, 65_535)
      const pk = bytesOf(a["pk"], 32, 32)
      if (info_hash === undefined || token === undefined || implied_port === undefined || port === undefined)
        return undefined
      return { q, a: { id, info_hash, token, implied_port, port, ...(pk === undefined ? {} : { pk }) } }
    }
    case "put": {
      const token = bytesOf(a["token"], 1, MAX_TOKEN_BYTES)
      const item = itemOf(a)
      if (token === undefined || item === undefined) return undefined
      const salt = a["salt"] === undefined ? undefined : bytesOf(a["salt"], 0, MAX_SALT_BYTES)
      const cas = a["cas"] === undefined ? undefined : wholeOf(a["cas"], Number.MAX_SAFE_INTEGER)
      if ((a["salt"] !== undefined && salt === undefined) || (a["cas"] !== undefined && cas === undefined))
        return undefined
      return {
        q,
        a: { id, token, ...item, ...(salt === undefined ? {} : { salt }), ...(cas === undefined ? {} : { cas }) }
      }
    }
    default:
      return undefined
  }
}

const answerOf = (r: Bencode.Dictionary): Answer | undefined => {
  const id = idOf(r["id"])
  if (id === undefined) return undefined
  const token = bytesOf(r["token"], 1, MAX_TOKEN_BYTES)
  const nodes = bytesOf(r["nodes"], NODE_BYTES, MAX_PACKET_BYTES)
  const pks = bytesOf(r["pks"], 32, MAX_PACKET_BYTES)
  const values = Array.isArray(r["values"])
    ? (r["values"] as ReadonlyArray<Bencode.Value>)
        .filter((value): value is Buffer => bytesOf(value, 6, 6) !== undefined)
        .slice(0, MAX_VALUES)
    : undefined
  return {
    id,
    ...(token === undefined ? {} : { token }),
    ...(nodes === undefined || nodes.length % NODE_BYTES !== 0
      ? {}
      : { nodes: nodes.subarray(0, MAX_NODES * NODE_BYTES) }),
    ...(pks === undefined || pks.length % 32 !== 0 ? {} : { pks: pks.subarray(0, MAX_KEYS * 32) }),
    ...(values === undefined ? {} : { values }),
    ...itemOf(r)
  }
}

/** Reads a datagram; undefined for what is no message, or none that is understood here. */
export const read = (packet: Buffer): Query | Reply | Refusal | undefined => {
  if (packet.length > MAX_PACKET_BYTES) return undefined
  const message = Bencode.decode(packet)
  if (!Bencode.isDictionary(message)) return undefined
  const t = bytesOf(message["t"], 1, MAX_TRANSACTION_BYTES)
  const y = bytesOf(message["y"], 1, 1)?.toString("latin1")
  if (t === undefined) return undefined
  if (y === "q") {
    const { a, q } = message
    if (!Buffer.isBuffer(q) || !Bencode.isDictionary(a)) return undefined
    const read = argumentsOf(q.toString("latin1"), a)
    return read && { y, t, ...read, isReadOnly: message["ro"] === 1 }
  }
  if (y === "r") {
    const r = Bencode.isDictionary(message["r"]) ? answerOf(message["r"]) : undefined
    const ip = bytesOf(message["ip"], 6, 6)
    return r && { y, t, r, ...(ip === undefined ? {} : { ip }) }
  }
  if (y !== "e") return undefined
  const code = Array.isArray(message["e"]) ? wholeOf((message["e"] as ReadonlyArray<Bencode.Value>)[0], 999) : undefined
  return { y, t, code: code ?? 0 }
}

/** An IPv4 endpoint as its six bytes. */
export const endpointBytes = (host: string, port: number): Buffer => {
  const bytes = Buffer.alloc(6)
  const parts = host.split(".")
  for (let i = 0; i < 4; i++) bytes[i] = Number(parts[i])
  bytes.writeUInt16BE(port, 4)
  return bytes
}

/** The endpoint that six bytes are. */
export const endpointOf = (bytes: Uint8Array): { readonly host: string; readonly port: number } => ({
  host: `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`,
  port: (bytes[4]! << 8) | bytes[5]!
})

/** Whether a datagram to this IPv4 endpoint could reach one node: no multicast, no broadcast, no network's own number. */
export const isReachable = ({ host, port }: { readonly host: string; readonly port: number }): boolean => {
  const first = Number(host.slice(0, host.indexOf(".")))
  return port > 0 && first > 0 && first < 224
}

/** The nodes that an answer tells, those left out that cannot be. */
export const nodesOf = (
  nodes: Buffer
): ReadonlyArray<{ readonly id: Buffer; readonly host: string; readonly port: number }> => {
  const found: Array<{ readonly id: Buffer; readonly host: string; readonly port: number }> = []
  for (let at = 0; at + NODE_BYTES <= nodes.length; at += NODE_BYTES) {
    const endpoint = endpointOf(nodes.subarray(at + ID_BYTES, at + NODE_BYTES))
    if (isReachable(endpoint)) found.push({ id: nodes.subarray(at, at + ID_BYTES), ...endpoint })
  }
  return found
}
