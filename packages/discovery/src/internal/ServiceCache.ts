import type { Found } from "@parley/core/Discovery"
import * as NodeId from "@parley/core/NodeId"
import type { Question } from "dns-packet"
import type * as Dialect from "./Dialect.ts"
import type { Heard } from "./Dialect.ts"
import * as DnsSd from "./DnsSd.ts"

/** How this discovery is named in messages. */
export const SOURCE = "mDNS"
/** Nodes remembered: more than one link carries. When full, the one heard of longest ago goes. About 1 KiB each. */
export const MAX_INSTANCES = 1_024
/** Records read of one packet; the rest is ignored. */
export const MAX_RECORDS = 256
/** Longest DNS name, in characters (RFC 1035, 2.3.4). */
export const MAX_NAME_LENGTH = 255
/** Seconds for which a stranger is believed without being asked again, whatever he says. */
export const MAX_TTL = 120
/** How often what is missing of one node is asked for. */
export const MAX_ASKED = 3
/** Strings read of one TXT record. */
export const MAX_TXT = 16

/** What followed from a packet. */
export type Learned = Omit<Dialect.Learned, "sound">

interface Instance {
  readonly name: string
  node?: NodeId.NodeId
  host?: string
  port?: number
  ips: Set<string>
  /** Came from this machine, where loopback addresses mean something. */
  local: boolean
  expiresAt: number
  asked: number
  /** What was told last, to tell only what is new. */
  told: string
}

interface Entry {
  readonly type: string
  readonly name: string
  readonly ttl: number
  readonly flush: boolean
  readonly data: unknown
}

const suffix = `.${DnsSd.SERVICE}`

/** Labels of printable ASCII, so that a name that is asked for is encoded as it was heard. */
const wellFormed = /^(?:[ -\-/-~]{1,63}\.)*[ -\-/-~]{1,63}$/

const isName = (value: unknown): value is string =>
  typeof value === "string" && value.length <= MAX_NAME_LENGTH && wellFormed.test(value)

const entriesOf = (packet: Heard): ReadonlyArray<Entry> =>
  [packet.answers, packet.additionals]
    .flatMap((section): ReadonlyArray<unknown> => (Array.isArray(section) ? section.slice(0, MAX_RECORDS) : []))
    .slice(0, MAX_RECORDS)
    .flatMap((answer): ReadonlyArray<Entry> => {
      if (typeof answer !== "object" || answer === null) return []
      const { data, flush, name, ttl, type } = answer as { [key: string]: unknown }
      if (!isName(name) || typeof type !== "string" || typeof ttl !== "number") return []
      return [{ type, name: name.toLowerCase(), ttl: Math.min(ttl, MAX_TTL), flush: flush === true, data }]
    })

/** The NodeId of a TXT record, if it is one of this version. */
const nodeOf = (data: unknown): NodeId.NodeId | undefined => {
  const strings = (Array.isArray(data) ? data.slice(0, MAX_TXT) : [data]).flatMap((part: unknown) =>
    part instanceof Uint8Array ? [Buffer.from(part).toString("latin1")] : typeof part === "string" ? [part] : []
  )
  const value = (key: string): string | undefined =>
    strings.find((text) => text.toLowerCase().startsWith(`${key}=`))?.slice(key.length + 1)
  const id = value("id")
  return value("v") === DnsSd.TXT_VERSION && id !== undefined ? NodeId.parse(id) : undefined
}

const targetOf = (data: unknown): { readonly host: string; readonly port: number } | undefined => {
  if (typeof data !== "object" || data === null) return undefined
  const { port, target } = data as { [key: string]: unknown }
  if (!isName(target) || typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535)
    return undefined
  return { host: target.toLowerCase(), port }
}

const foundOf = (instance: Instance): Found | undefined => {
  const { ips, local, node, port } = instance
  if (node === undefined || port === undefined) return undefined
  const reachable = [...ips].filter((ip) => local || !DnsSd.isLoopback(ip))
  if (reachable.length === 0) return undefined
  const v4First = reachable.sort((a, b) => Number(a.includes(":")) - Number(b.includes(":")))
  return { source: SOURCE, node, addresses: v4First.map((ip) => DnsSd.addressOf(ip, port)) }
}

/**
 * What the browser has heard: a pure state machine from DNS answers to findings, in which every part is bounded.
 *
 * An instance counts only under the name that its NodeId's fingerprint gives, so that two nodes never share one.
 */
export class ServiceCache {
  readonly #instances = new Map<string, Instance>()

  /** Takes in a packet. `sameHost`: it was sent from an address of this machine. */
  ingest(packet: Heard, now: number, sameHost: boolean): Learned {
    const entries = entriesOf(packet)
    const touched = new Set<Instance>()
    const found: Array<Found> = []

    for (const { data, name, ttl, type } of entries) {
      if (type !== "PTR" || name !== DnsSd.SERVICE || !isName(data)) continue
      const target = data.toLowerCase()
      if (!target.endsWith(suffix)) continue
      if (ttl === 0) found.push(...this.#forget(target))
      else touched.add(this.#heard(target, now, ttl, sameHost))
    }
    for (const { data, name, ttl, type } of entries) {
      if ((type !== "SRV" && type !== "TXT") || !name.endsWith(suffix)) continue
      if (ttl === 0) {
        found.push(...this.#forget(name))
        continue
      }
      const target = type === "SRV" ? targetOf(data) : undefined
      const node = type === "TXT" ? nodeOf(data) : undefined
      if (target === undefined && (node === undefined || !name.startsWith(DnsSd.labelOf(node)))) continue
      const instance = this.#heard(name, now, ttl, sameHost)
      touched.add(instance)
      if (node !== undefined) instance.node = node
      if (target === undefined) continue
      if (instance.host !== target.host) instance.ips = new Set()
      instance.host = target.host
      instance.port = target.port
    }
    this.#takeAddresses(entries, touched)

    const missing: Array<Question> = []
    for (const instance of touched) {
      if (this.#instances.get(instance.name) !== instance) continue
      const now = foundOf(instance)
      if (now === undefined) missing.push(...this.#questions(instance))
      else {
        const told = JSON.stringify(now)
        if (told !== instance.told) found.push(now)
        instance.told = told
      }
    }
    return { found, missing }
  }

  /** Forgets what nobody has repeated in time, and tells who is gone. */
  expire(now: number): ReadonlyArray<Found> {
    return [...this.#instances.values()]
      .filter(({ expiresAt }) => expiresAt <= now)
      .flatMap(({ name }) => this.#forget(name))
  }

  /** Every node known well enough to dial. */
  known(): ReadonlyArray<Found> {
    return [...this.#instances.values()].flatMap((instance) => foundOf(instance) ?? [])
  }

  /** Instances heard of lately, with the seconds for which they count, for the known answers of a question. */
  fresh(now: number, limit: number): ReadonlyArray<{ readonly name: string; readonly ttl: number }> {
    return [...this.#instances.values()]
      .map(({ expiresAt, name }) => ({ name, ttl: Math.floor((expiresAt - now) / 1000) }))
      .filter(({ ttl }) => ttl > DnsSd.TTL / 2)
      .slice(0, limit)
  }

  /** How many instances are held. */
  get size(): number {
    return this.#instances.size
  }

  #heard(name: string, now: number, ttl: number, sameHost: boolean): Instance {
    const known = this.#instances.get(name)
    const instance: Instance = known ?? { name, ips: new Set(), local: false, expiresAt: 0, asked: 0, told: "" }
    instance.expiresAt = now + ttl * 1000
    instance.local ||= sameHost
    // The map's order is the order of last hearing.
    this.#instances.delete(name)
    if (this.#instances.size >= MAX_INSTANCES) {
      for (const oldest of this.#instances.keys()) {
        this.#instances.delete(oldest)
        break
      }
    }
    this.#instances.set(name, instance)
    return instance
  }

  #forget(name: string): ReadonlyArray<Found> {
    const instance = this.#instances.get(name)
    this.#instances.delete(name)
    if (instance?.node === undefined || instance.told === "") return []
    return [{ source: SOURCE, node: instance.node, addresses: [], gone: true }]
  }

  #takeAddresses(entries: ReadonlyArray<Entry>, touched: Set<Instance>): void {
    const addresses = entries.filter(({ type }) => type === "A" || type === "AAAA")
    if (addresses.length === 0) return
    const byHost = new Map<string, Array<Instance>>(addresses.map(({ name }) => [name, []]))
    for (const instance of this.#instances.values()) {
      if (instance.host !== undefined) byHost.get(instance.host)?.push(instance)
    }
    const flushed = new Set<string>()
    for (const { data, flush, name, ttl } of addresses) {
      if (typeof data !== "string" || !DnsSd.isDialable(data)) continue
      for (const instance of byHost.get(name) ?? []) {
        if (flush && !flushed.has(name)) instance.ips = new Set()
        if (ttl === 0) instance.ips.delete(data)
        else if (instance.ips.size < DnsSd.MAX_IPS) instance.ips.add(data)
        touched.add(instance)
      }
      flushed.add(name)
    }
  }

  #questions(instance: Instance): ReadonlyArray<Question> {
    if (instance.asked >= MAX_ASKED) return []
    instance.asked++
    const questions: Array<Question> = []
    if (instance.host === undefined) questions.push({ type: "SRV", name: instance.name })
    if (instance.node === undefined) questions.push({ type: "TXT", name: instance.name })
    if (instance.host !== undefined && instance.ips.size === 0) {
      questions.push({ type: "A", name: instance.host }, { type: "AAAA", name: instance.host })
    }
    return questions
  }
}
