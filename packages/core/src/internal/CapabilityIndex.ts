/**
 * Agent records, indexed by what queries select on.
 *
 * Many agents run the same code, so what a capability says of itself (name, version, description, tags, features, kind) is
 * kept and indexed once, as a `Definition`, and each agent's offer of it is a small `Offer`. Names lead to definitions by
 * version, words, tags and features through postings.
 */
import { isTombstone, type AgentRecord } from "../AgentRecord.ts"
import type { CapabilityRecord } from "../Capability.ts"
import type { NodeId } from "../NodeId.ts"
import { Keeper } from "./Kept.ts"
import type { Meaning, Meanings } from "./Meanings.ts"
import { Named, type Versioned } from "./Named.ts"
import * as Words from "./Words.ts"

/** How much a query's word counts where it stands in the name, of 100. */
export const NAME_WEIGHT = 100

/** One agent's offer of a definition, with what filters read of it at hand. */
export interface Offer {
  readonly holder: Holder
  readonly capability: CapabilityRecord
  readonly definition: Definition
  readonly node: NodeId
  readonly expiresAt: number
  readonly metadata: CapabilityRecord["metadata"]
  readonly usd: number
  /** Milliseconds; infinite when not stated. */
  readonly latency: number
  /** Where it stands in its definition's offers. */
  slot: number
}

/** A record and its offers. */
export interface Holder {
  readonly record: AgentRecord
  offers: ReadonlyArray<Offer>
}

const noOffers: Array<Offer> = []

/**
 * A posting's entry is one small integer: a definition's number, and in the lowest 7 bits the weight. That holds 16 million
 * numbers, and `MAX_RECORDS` with 64 capabilities each need 13 million at most.
 */
const entryOf = (number: number, weight: number): number => (number << 7) | weight
/** The number of the definition that an entry stands for. */
export const numberOf = (entry: number): number => entry >>> 7
/** What the word counts there, of 100. */
export const weightOf = (entry: number): number => entry & 127

/**
 * The definitions that have one word, tag or feature, by their numbers, each with what the word counts there.
 * Removed ones are skipped, and swept when they are the half.
 */
export class Posting {
  readonly home: Map<string, Posting>
  readonly key: string
  entries: Array<number> = []
  removed = 0

  constructor(home: Map<string, Posting>, key: string) {
    this.home = home
    this.key = key
  }

  get size(): number {
    return this.entries.length - this.removed
  }
}

/** What a capability says of itself, shared by all who offer it. */
export class Definition {
  readonly name: string
  readonly version: string
  readonly tags: ReadonlyArray<string>
  readonly features: ReadonlyArray<string>
  readonly stream: boolean
  readonly description: string | undefined
  /** Begins as the shared empty list. */
  offers = noOffers
  /** Words first: those of the name, of the tags, of the description; then tags and features. */
  postings: ReadonlyArray<Posting> = []
  nameWords = 0
  tagWords = 0
  tagWeight = 0
  textWeight = 0
  meaning: Meaning | undefined
  /** Its place in the index; changes when the index is renumbered. */
  number: number
  /** Those of the same name and version, and its place among them. Set by `Named`. */
  home!: Versioned
  slot = 0

  constructor(number: number, capability: CapabilityRecord) {
    this.number = number
    this.name = capability.name
    this.version = capability.version
    this.tags = capability.tags ?? none
    this.features = capability.features ?? none
    this.stream = capability.stream === true
    this.description = capability.description
  }

  /** What a word counts here, of 100. */
  weightOf(word: Posting): number {
    const at = this.postings.indexOf(word)
    if (at < 0) return 0
    return at < this.nameWords ? NAME_WEIGHT : at < this.tagWords ? this.tagWeight : this.textWeight
  }
}

const none: ReadonlyArray<string> = []

/** Long lists count less a word, so that stuffing them with words does not pay. */
const diluted = (most: number, least: number, enough: number, words: number): number =>
  Math.round(least + (most - least) * Math.min(1, enough / Math.max(1, words)))

/** The part of a name before its first dot. */
const familyOf = (name: string): string => {
  const dot = name.indexOf(".")
  return dot < 0 ? name : name.slice(0, dot)
}

export class CapabilityIndex {
  readonly records = new Map<NodeId, Holder>()
  readonly definitions = new Set<Definition>()
  readonly names = new Map<string, Named>()
  readonly words = new Map<string, Posting>()
  readonly tags = new Map<string, Posting>()
  readonly features = new Map<string, Posting>()
  /** Names by their first dotted word. */
  readonly families = new Map<string, Set<string>>()
  readonly meanings: Meanings | undefined
  readonly #maxRecords: number
  /** Definitions by number; a number is not used again before the index is renumbered. */
  numbered: Array<Definition | undefined> = []
  offers = 0
  revision = 0
  readonly keeper = new Keeper()
  #spare: { readonly of: Float64Array; readonly reached: Uint32Array } | undefined

  constructor(maxRecords: number, meanings: Meanings | undefined) {
    this.#maxRecords = maxRecords
    this.meanings = meanings
  }

  upsert(record: AgentRecord): void {
    const held = this.records.get(record.node)
    if (held !== undefined && (record.seq < held.record.seq || record === held.record)) return
    if (isTombstone(record)) return this.remove(record.node)
    const holder: Holder = { record, offers: noOffers }
    // First in, then out: definitions that stay are not taken apart.
    holder.offers = record.capabilities.map((capability) => this.#add(holder, capability))
    if (held !== undefined) {
      this.records.delete(record.node)
      for (const offer of held.offers) this.#drop(offer)
    }
    this.records.set(record.node, holder)
    this.revision++
    if (this.records.size > this.#maxRecords) {
      for (const oldest of this.records.keys()) return this.remove(oldest)
    }
  }

  remove(node: NodeId): void {
    const held = this.records.get(node)
    if (held === undefined) return
    this.records.delete(node)
    for (const offer of held.offers) this.#drop(offer)
    this.revision++
  }

  prune(now: number): number {
    let count = 0
    for (const [node, { record }] of this.records) {
      if (record.expiresAt <= now) {
        this.remove(node)
        count++
      }
    }
    return count
  }

  /** Arrays of zeros for a sum of each definition, and for the numbers of those that have one. */
  borrow(): { readonly of: Float64Array; readonly reached: Uint32Array } {
    const spare = this.#spare
    this.#spare = undefined
    const { length } = this.numbered
    if (spare !== undefined && spare.of.length >= length) return spare
    // Some more, so that a growing index does not ask for new ones with each query.
    const room = length + (length >> 3) + 64
    return { of: new Float64Array(room), reached: new Uint32Array(room) }
  }

  /** Takes the arrays back, the sums all zero again. */
  giveBack(of: Float64Array, reached: Uint32Array): void {
    this.#spare = { of, reached }
  }

  /** The names that begin with a prefix. */
  namesWith(prefix: string): Array<Named> {
    const found: Array<Named> = []
    const collect = (names: Set<string> | undefined) => {
      for (const name of names ?? none) if (name.startsWith(prefix)) found.push(this.names.get(name)!)
    }
    if (prefix.includes(".")) collect(this.families.get(familyOf(prefix)))
    else for (const [family, names] of this.families) if (family.startsWith(prefix)) collect(names)
    return found
  }

  #add(holder: Holder, capability: CapabilityRecord): Offer {
    const definition = this.names.get(capability.name)?.find(capability) ?? this.#define(capability)
    const offer: Offer = {
      holder,
      capability,
      definition,
      node: holder.record.node,
      expiresAt: holder.record.expiresAt,
      metadata: capability.metadata,
      usd: capability.cost?.usdPerCall ?? 0,
      latency: capability.latencyMs ?? Infinity,
      slot: definition.offers.length
    }
    // A list that begins with its first member has room for no more: most definitions have one offer.
    if (offer.slot === 0) definition.offers = [offer]
    else definition.offers.push(offer)
    definition.home.named.revision++
    this.offers++
    return offer
  }

  #drop({ definition, slot }: Offer): void {
    const last = definition.offers.pop()!
    if (slot < definition.offers.length) {
      definition.offers[slot] = last
      last.slot = slot
    }
    this.offers--
    const { named } = definition.home
    named.revision++
    if (definition.offers.length > 0) return
    this.definitions.delete(definition)
    this.numbered[definition.number] = undefined
    for (const posting of definition.postings) this.#unpost(posting)
    named.remove(definition)
    if (named.size === 0) {
      this.names.delete(definition.name)
      const family = familyOf(definition.name)
      const names = this.families.get(family)
      if (names?.delete(definition.name) && names.size === 0) this.families.delete(family)
    }
    if (definition.meaning !== undefined) this.meanings?.release(definition.meaning)
    if (this.numbered.length > 2 * this.definitions.size + 1_024) this.#renumber()
  }

  #unpost(posting: Posting): void {
    posting.removed++
    if (posting.removed === posting.entries.length) posting.home.delete(posting.key)
    else if (posting.removed * 2 > posting.entries.length) this.#sweep(posting)
  }

  #sweep(posting: Posting): void {
    posting.entries = posting.entries.filter((entry) => this.numbered[numberOf(entry)] !== undefined)
    posting.removed = 0
  }

  /** Closes the gaps that removed definitions left, so that numbers stay small. */
  #renumber(): void {
    const moved = new Map<number, number>()
    const numbered: Array<Definition> = []
    for (const definition of this.definitions) {
      moved.set(definition.number, numbered.length)
      numbered.push(definition)
    }
    for (const home of [this.words, this.tags, this.features]) {
      for (const posting of home.values()) {
        if (posting.removed > 0) this.#sweep(posting)
        posting.entries = posting.entries.map((entry) => entryOf(moved.get(numberOf(entry))!, weightOf(entry)))
      }
    }
    numbered.forEach((definition, number) => (definition.number = number))
    this.numbered = numbered
  }

  #define(capability: CapabilityRecord): Definition {
    const definition = new Definition(this.numbered.length, capability)
    this.definitions.add(definition)
    this.numbered.push(definition)
    const postings: Array<Posting> = []
    const { description, name, tags } = capability
    const words = new Set<string>()
    Words.collect(name, words)
    definition.nameWords = words.size
    for (const tag of tags ?? none) Words.collect(tag, words)
    definition.tagWords = words.size
    if (description !== undefined) Words.collect(description, words)
    definition.tagWeight = diluted(90, 50, 8, definition.tagWords - definition.nameWords)
    definition.textWeight = diluted(80, 40, 25, words.size - definition.tagWords)
    let at = 0
    for (const word of words) {
      const weight =
        at < definition.nameWords
          ? NAME_WEIGHT
          : at < definition.tagWords
            ? definition.tagWeight
            : definition.textWeight
      postings.push(this.#post(this.words, word, definition, weight))
      at++
    }
    for (const tag of new Set(tags)) postings.push(this.#post(this.tags, tag, definition))
    for (const feature of new Set(capability.features)) postings.push(this.#post(this.features, feature, definition))
    // A copy has room for no more than it holds.
    definition.postings = postings.slice()
    this.#name(definition)
    if (this.meanings !== undefined) {
      definition.meaning = this.meanings.hold([name.replaceAll(/[._-]/g, " "), description, tags?.join(", ")])
    }
    return definition
  }

  #name(definition: Definition): void {
    const { name } = definition
    let named = this.names.get(name)
    if (named === undefined) {
      named = new Named(name)
      this.names.set(name, named)
      const family = familyOf(name)
      const names = this.families.get(family)
      if (names === undefined) this.families.set(family, new Set([name]))
      else names.add(name)
    }
    named.add(definition)
  }

  #post(home: Map<string, Posting>, key: string, definition: Definition, weight = 0): Posting {
    let posting = home.get(key)
    if (posting === undefined) {
      posting = new Posting(home, key)
      home.set(key, posting)
    }
    posting.entries.push(entryOf(definition.number, weight))
    return posting
  }
}
