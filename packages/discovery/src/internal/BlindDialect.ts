/**
 * Multicast DNS that only members of a network understand: DNS-SD by its shape, and noise by its content.
 *
 * - Every quarter of an hour the network asks and answers under another service name, and each node under another instance name; both are
 *   HMACs under the network key.
 * - All that a node says is one sealed value in its TXT record (AES-256-GCM under a key of that quarter): its NodeId, when it said so,
 *   whether it goes, its port and its addresses, padded to one length. There is no SRV, A or AAAA record.
 * - So nobody without the key can tell who is there, speak for a member, send a member elsewhere, or say goodbye for it. A packet that is
 *   played again says nothing newer than what was heard, and changes nothing.
 *
 * What stays to be seen: that some machine speaks at this address now and then, and that such machines belong together.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto"
import type { Found } from "@parley/core/Discovery"
import * as NodeId from "@parley/core/NodeId"
import type { Answer } from "dns-packet"
import type { Dialect } from "./Dialect.ts"
import * as DnsSd from "./DnsSd.ts"
import { MAX_INSTANCES, MAX_RECORDS, MAX_TXT, SOURCE } from "./ServiceCache.ts"

/** How long names last, in ms: long enough for clocks that differ by as much, short enough to be of no use the next hour. */
export const EPOCH_MS = 15 * 60_000
/** Bytes that are sealed: the longest that a node has to say, so that all say as much. */
const PLAIN_BYTES = 32 + 6 + 1 + 2 + 1 + DnsSd.MAX_IPS * 17
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Bytes of a sealed value. */
export const SEALED_BYTES = NONCE_BYTES + PLAIN_BYTES + TAG_BYTES
/** Sealed values opened of one packet: a node speaks for itself alone. */
const MAX_OPENED = 4
/** Questions read of one packet. */
const MAX_QUESTIONS = 64
const MAX_STRING = 255
const IPV4 = 4
const IPV6 = 6

interface Epoch {
  readonly number: number
  readonly service: string
  readonly key: Buffer
  readonly names: Buffer
}

interface Known {
  /** When the node said it, by its own clock. */
  readonly at: number
  /** Undefined once it has said goodbye; kept so that an older announcement does not bring it back. */
  readonly found: Found | undefined
  readonly expiresAt: number
  readonly from: string
}

const base32 = "abcdefghijklmnopqrstuvwxyz234567"
/** 15 characters, the longest that a service name has (RFC 6335, 5.1); the first one is a letter. */
const label = (bytes: Uint8Array): string =>
  [...bytes.subarray(0, 15)].map((byte, at) => base32[byte % (at === 0 ? 26 : 32)]).join("")

const part = (key: Uint8Array, what: string, epoch: number): Buffer =>
  createHmac("sha256", key).update(`parley/mdns-${what}/1\n${epoch}`).digest()

const ipBytes = (ip: string): ReadonlyArray<number> => {
  if (!ip.includes(":")) return ip.split(".").map(Number)
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip)
  const text =
    dotted === null
      ? ip
      : `${dotted[1]}${(Number(dotted[2]) * 256 + Number(dotted[3])).toString(16)}:${(Number(dotted[4]) * 256 + Number(dotted[5])).toString(16)}`
  const [head = "", tail] = text.split("::")
  const groups = (half: string): Array<number> =>
    half === "" ? [] : half.split(":").map((group) => Number.parseInt(group, 16))
  const [left, right] = [groups(head), tail === undefined ? [] : groups(tail)]
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => 0)
  return [...left, ...(tail === undefined ? [] : zeros), ...right].flatMap((group) => [group >> 8, group & 0xff])
}

const ipText = (bytes: Uint8Array): string =>
  bytes.length === IPV4
    ? bytes.join(".")
    : Array.from({ length: 8 }, (_, at) => (bytes[2 * at]! * 256 + bytes[2 * at + 1]!).toString(16)).join(":")

/** What a node says of itself. */
interface Said {
  readonly node: NodeId.NodeId
  readonly at: number
  readonly bye: boolean
  readonly endpoint: DnsSd.Endpoint
}

const seal = ({ at, bye, endpoint, node }: Said, { key, service }: Epoch): Buffer => {
  const plain = Buffer.alloc(PLAIN_BYTES)
  plain.set(NodeId.toPublicKey(node), 0)
  plain.writeUIntBE(at, 32, 6)
  plain[38] = bye ? 1 : 0
  plain.writeUInt16BE(endpoint.port, 39)
  const ips = endpoint.ips.slice(0, DnsSd.MAX_IPS).map(ipBytes)
  plain[41] = ips.length
  let end = 42
  for (const ip of ips) {
    plain[end] = ip.length === 4 ? IPV4 : IPV6
    plain.set(ip, end + 1)
    end += 1 + ip.length
  }
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv("aes-256-gcm", key, nonce)
  cipher.setAAD(Buffer.from(service))
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

const open = (sealed: Buffer, { key, service }: Epoch): Said | undefined => {
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES))
    decipher.setAAD(Buffer.from(service))
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
    const plain = Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
    const ips: Array<string> = []
    let at = 42
    for (let left = plain[41]!; left > 0; left--) {
      const length = plain[at] === IPV4 ? 4 : plain[at] === IPV6 ? 16 : 0
      if (length === 0 || at + 1 + length > plain.length || ips.length >= DnsSd.MAX_IPS) return undefined
      ips.push(ipText(plain.subarray(at + 1, at + 1 + length)))
      at += 1 + length
    }
    return {
      node: NodeId.fromPublicKey(Uint8Array.from(plain.subarray(0, 32))),
      at: plain.readUIntBE(32, 6),
      bye: plain[38] === 1,
      endpoint: { port: plain.readUInt16BE(39), ips: ips.filter(DnsSd.isDialable) }
    }
  } catch {
    return undefined
  }
}

/** The strings of a TXT record, joined; undefined where that is no sealed value. */
const sealedOf = (data: unknown): Buffer | undefined => {
  const strings = Array.isArray(data) ? data.slice(0, MAX_TXT) : [data]
  if (!strings.every((text): text is Uint8Array => text instanceof Uint8Array)) return undefined
  const joined = Buffer.concat(strings)
  return joined.length === SEALED_BYTES ? joined : undefined
}

/** Speaks for a node to members of the network with this key; `allows` says which addresses are passed on. */
export const make = (
  node: NodeId.NodeId,
  networkKey: Uint8Array,
  allows: (ip: string) => boolean = () => true
): Dialect => {
  const epochs = new Map<number, Epoch>()
  /** In the order of last hearing. */
  const heard = new Map<NodeId.NodeId, Known>()
  let lastSaid = 0

  const epochOf = (number: number): Epoch => {
    const known = epochs.get(number)
    if (known !== undefined) return known
    for (const old of epochs.keys()) if (Math.abs(old - number) > 3) epochs.delete(old)
    const epoch: Epoch = {
      number,
      service: `_${label(part(networkKey, "service", number))}._tcp.local`,
      key: part(networkKey, "key", number),
      names: part(networkKey, "names", number)
    }
    epochs.set(number, epoch)
    return epoch
  }
  /** This one first, then its neighbours, for clocks that differ. */
  const around = (now: number): ReadonlyArray<Epoch> => {
    const number = Math.floor(now / EPOCH_MS)
    return [number, number - 1, number + 1].map(epochOf)
  }
  const instanceOf = ({ names, service }: Epoch): string =>
    `${createHmac("sha256", names).update(NodeId.toPublicKey(node)).digest("hex").slice(0, 16)}.${service}`

  const makeRoom = (): void => {
    if (heard.size < MAX_INSTANCES) return
    const counts = new Map<string, number>()
    for (const { from } of heard.values()) counts.set(from, (counts.get(from) ?? 0) + 1)
    const [most] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))
    for (const [oldest, { from }] of heard) {
      if (from !== most) continue
      heard.delete(oldest)
      return
    }
  }

  const foundOf = ({ endpoint, node: who }: Said, sameHost: boolean): Found | undefined => {
    const ips = endpoint.ips.filter((ip) => (sameHost || !DnsSd.isLoopback(ip)) && allows(ip))
    if (ips.length === 0 || endpoint.port === 0) return undefined
    return { source: SOURCE, node: who, addresses: ips.map((ip) => DnsSd.addressOf(ip, endpoint.port)) }
  }

  const take = (said: Said, now: number, sameHost: boolean, from: string): ReadonlyArray<Found> => {
    const known = heard.get(said.node)
    // What is no newer was heard before, or is played again; what is of later would leave nothing newer to be said.
    if (said.node === node || said.at > now + EPOCH_MS || (known !== undefined && said.at <= known.at)) return []
    heard.delete(said.node)
    makeRoom()
    const found = said.bye ? undefined : foundOf(said, sameHost)
    // A goodbye is remembered for as long as an older word could be played again.
    const expiresAt = now + (found === undefined ? 3 * EPOCH_MS : DnsSd.TTL * 1000)
    heard.set(said.node, { at: said.at, found, expiresAt, from })
    if (found === undefined)
      return known?.found === undefined ? [] : [{ source: SOURCE, node: said.node, addresses: [], gone: true }]
    return JSON.stringify(found) === JSON.stringify(known?.found) ? [] : [found]
  }

  return {
    answersResolvers: false,
    question: (now) => ({ questions: [{ type: "PTR", name: around(now)[0]!.service }], answers: [] }),
    wanted: ({ questions = [] }, now) => {
      const services = around(now).map(({ service }) => service)
      const own = questions
        .slice(0, MAX_QUESTIONS)
        .some(({ name, type }) => type === "PTR" && services.includes(name.toLowerCase()))
      return { own, services: false }
    },
    isKnown: () => false,
    answer: (wanted, endpoint, { flush, now, ttl }) => {
      if (!wanted.own || endpoint === undefined) return { answers: [], additionals: [] }
      const epoch = around(now)[0]!
      const name = instanceOf(epoch)
      // A clock that was far ahead has been set right.
      lastSaid = lastSaid > now + EPOCH_MS ? now : Math.max(lastSaid + 1, now)
      const sealed = seal({ node, at: lastSaid, bye: ttl === 0, endpoint }, epoch)
      const strings = [sealed.subarray(0, MAX_STRING), sealed.subarray(MAX_STRING)]
      const answers: Array<Answer> = [
        { type: "PTR", name: epoch.service, ttl: DnsSd.TTL, data: name },
        { type: "TXT", name, ttl: DnsSd.TTL, flush, data: strings }
      ]
      return { answers, additionals: [] }
    },
    ingest: (packet, now, sameHost, from) => {
      const found: Array<Found> = []
      let sound = false
      let opened = 0
      const answers = Array.isArray(packet.answers) ? packet.answers.slice(0, MAX_RECORDS) : []
      for (const answer of answers) {
        if (typeof answer !== "object" || answer === null || opened >= MAX_OPENED) continue
        const { data, name, type } = answer as { readonly [key: string]: unknown }
        if (type !== "TXT" || typeof name !== "string") continue
        const epoch = around(now).find(({ service }) => name.toLowerCase().endsWith(`.${service}`))
        const sealed = epoch === undefined ? undefined : sealedOf(data)
        if (epoch === undefined || sealed === undefined) continue
        opened++
        const said = open(sealed, epoch)
        if (said === undefined) continue
        sound = true
        found.push(...take(said, now, sameHost, from))
      }
      return { found, missing: [], sound }
    },
    expire: (now) => {
      const gone: Array<Found> = []
      for (const [who, { at, expiresAt, found, from }] of heard) {
        if (expiresAt > now) continue
        heard.delete(who)
        if (found === undefined) continue
        gone.push({ source: SOURCE, node: who, addresses: [], gone: true })
        heard.set(who, { at, found: undefined, expiresAt: now + 3 * EPOCH_MS, from })
      }
      return gone
    },
    known: () => [...heard.values()].flatMap(({ found }) => found ?? []),
    turn: (now) => Math.floor(now / EPOCH_MS)
  }
}
