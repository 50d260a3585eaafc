/**
 * One query against the index: the smallest posting that covers it, its filters, and the score of what passes.
 */
import type { Match, MatchContext, Part } from "../Matcher.ts"
import { DEFAULT_LIMIT, MAX_LIMIT, weightsOf, type Query, type Weights } from "../Query.ts"
import { Best, type Candidate } from "./Best.ts"
import {
  NAME_WEIGHT,
  numberOf,
  weightOf,
  type CapabilityIndex,
  type Definition,
  type Offer,
  type Posting
} from "./CapabilityIndex.ts"
import * as Constraints from "./Constraints.ts"
import { similarity } from "./Meanings.ts"
import * as VersionRange from "./VersionRange.ts"
import * as Words from "./Words.ts"

/** Price of a call, in US dollars, that scores 0.5 when the query does not say the most it would pay: a cent. */
export const COST_SCALE_USD = 0.01
/** Most words of a query that are compared. */
export const MAX_QUERY_WORDS = 32
/** Least similarity of two embeddings for a capability that shares no word with the query. */
export const MIN_SIMILARITY = 0.5
/** What liked tags, and liked peers, each count of the semantic part when the query names any. */
export const PREFERENCE_SHARE = 0.2

/** Semantic value of a query without text, by how it names the capability. */
const byExactName = 1
const byPrefix = 0.9
const byFilters = 0.8

const clamp = (value: number): number => (value > 0 ? (value < 1 ? value : 1) : 0)

const hundredths = Array.from({ length: 101 }, (_, i) => (i / 100).toFixed(2))
const twoDigits = (value: number): string => hundredths[Math.round(clamp(value) * 100)]!

/** A query's word, as far as anybody uses it, and how telling it is: the rarer the more. */
interface Word {
  readonly posting: Posting | undefined
  readonly rarity: number
}

/** Definitions looked at one by one, before it is cheaper to sum all postings up. */
const FEW_DEFINITIONS = 32

class Text {
  readonly #index: CapabilityIndex
  #asked = 0
  #sums: Float64Array | undefined
  readonly words: ReadonlyArray<Word>
  /** What a name that has every word would add up to. */
  readonly whole: number
  readonly vector: Float32Array | undefined

  constructor(index: CapabilityIndex, text: string) {
    this.#index = index
    const all = index.definitions.size
    const words: Array<Word> = []
    let whole = 0
    for (const word of Words.wordsOf(text)) {
      if (words.length === MAX_QUERY_WORDS) break
      const posting = index.words.get(word)
      const rarity = Math.log(1 + all / Math.max(1, posting?.size ?? 1))
      whole += rarity * NAME_WEIGHT
      words.push({ posting, rarity })
    }
    this.words = words
    this.whole = whole
    this.vector = index.meanings?.query(text)
  }

  /** The part of the query's words, by rarity, that a definition has. */
  wordsIn(definition: Definition): number {
    if (this.#sums !== undefined) return this.#sums[definition.number]! / this.whole
    if (++this.#asked > FEW_DEFINITIONS) return this.sums()[definition.number]! / this.whole
    let sum = 0
    for (let i = 0; i < this.words.length; i++) {
      const { posting, rarity } = this.words[i]!
      if (posting !== undefined) sum += rarity * definition.weightOf(posting)
    }
    return sum / this.whole
  }

  /** What the words add up to, by the definitions' numbers; `reached` gets the numbers of those that have any. */
  sums(reached?: Array<number>): Float64Array {
    const sums = new Float64Array(this.#index.numbered.length)
    for (const { posting, rarity } of this.words) {
      if (posting === undefined) continue
      const { entries } = posting
      for (let i = 0; i < entries.length; i++) {
        const entry = entries[i]!
        const number = numberOf(entry)
        if (sums[number] === 0) reached?.push(number)
        sums[number]! += rarity * weightOf(entry)
      }
    }
    return (this.#sums = sums)
  }

  get size(): number {
    if (this.vector !== undefined) return Infinity
    let sum = 0
    for (const { posting } of this.words) sum += posting?.size ?? 0
    return sum
  }
}

class Search {
  readonly index: CapabilityIndex
  readonly query: Query
  readonly context: MatchContext
  readonly best: Best
  readonly weights: Weights
  readonly weight: number
  readonly text: Text | undefined
  readonly exact: string | undefined
  readonly prefix: string | undefined
  readonly range: VersionRange.VersionRange | undefined
  readonly constraints: ReadonlyArray<readonly [string, NonNullable<Query["constraints"]>[string]]>
  readonly plain: number
  readonly costScale: number

  constructor(
    index: CapabilityIndex,
    query: Query,
    context: MatchContext,
    limit: number,
    range: VersionRange.VersionRange | undefined
  ) {
    this.index = index
    this.query = query
    this.context = context
    this.best = new Best(limit)
    const weights = weightsOf(query)
    this.weights = weights
    this.weight = weights.semantic + weights.trust + weights.availability + weights.cost
    const text = query.text === undefined ? undefined : new Text(index, query.text)
    // A text of function words alone says nothing, so it leaves nobody out.
    this.text = text !== undefined && (text.words.length > 0 || text.vector !== undefined) ? text : undefined
    const { name } = query
    const isPrefix = name !== undefined && name.endsWith("*")
    this.exact = isPrefix ? undefined : name
    this.prefix = isPrefix && name !== "*" ? name.slice(0, -1) : undefined
    this.range = range
    this.constraints = query.constraints === undefined ? [] : Object.entries(query.constraints)
    this.plain = this.exact !== undefined ? byExactName : this.prefix !== undefined ? byPrefix : byFilters
    this.costScale = query.maxCostUsd !== undefined && query.maxCostUsd > 0 ? query.maxCostUsd : COST_SCALE_USD
  }

  run(): void {
    const { exact, index, prefix, query, text } = this
    if (query.node !== undefined) {
      for (const offer of index.records.get(query.node)?.offers ?? []) {
        const { definition } = offer
        const words = this.wordsIn(definition)
        if (words >= 0 && this.admits(definition)) this.consider(offer, words, this.semantic(definition, words))
      }
      return
    }
    if (exact !== undefined && query.tags === undefined && query.features === undefined) {
      const posting = index.names.get(exact)
      if (posting !== undefined) this.posting(posting)
      return
    }
    let least = index.definitions.size
    let from: ReadonlyArray<Posting> | undefined
    const offerSource = (postings: ReadonlyArray<Posting>): void => {
      let size = 0
      for (const posting of postings) size += posting.size
      if (size < least || from === undefined) {
        least = size
        from = postings
      }
    }
    const pick = (home: Map<string, Posting>, keys: ReadonlyArray<string>): void => {
      for (const key of keys) {
        const posting = home.get(key)
        offerSource(posting === undefined ? [] : [posting])
      }
    }
    if (exact !== undefined) pick(index.names, [exact])
    if (query.tags !== undefined) pick(index.tags, query.tags)
    if (query.features !== undefined) pick(index.features, query.features)
    if (prefix !== undefined && least > 0) offerSource(index.namesWith(prefix))
    if (text !== undefined && text.size < least) this.byWords(text)
    else if (from !== undefined) for (const posting of from) this.posting(posting)
    else for (const definition of index.definitions.values()) this.definition(definition)
  }

  posting({ entries }: Posting): void {
    const { numbered } = this.index
    for (let i = 0; i < entries.length; i++) {
      const definition = numbered[numberOf(entries[i]!)]
      if (definition !== undefined) this.definition(definition)
    }
  }

  definition(definition: Definition): void {
    if (!this.admits(definition)) return
    const words = this.wordsIn(definition)
    if (words >= 0) this.offers(definition, words)
  }

  /**
   * Sums the words' postings up first, by number, and then looks at what they reach, the largest sums first: it ends when
   * even perfect trust, availability and cost would not lift the rest among the best.
   */
  byWords(text: Text): void {
    const { numbered } = this.index
    const reached: Array<number> = []
    const sums = text.sums(reached)
    const steps = 64
    const ladder = Array.from({ length: steps + 1 }, (): Array<number> => [])
    for (const number of reached) ladder[Math.floor((sums[number]! / text.whole) * steps)]!.push(number)
    for (let step = steps; step >= 0; step--) {
      if (this.best.isBelow(this.bound(this.withPreferences(Math.min(1, (step + 1) / steps), 1), 1, 1))) return
      for (const number of ladder[step]!) {
        const definition = numbered[number]
        if (definition !== undefined && this.admits(definition)) this.offers(definition, sums[number]! / text.whole)
      }
    }
  }

  /** The lexical value; 0 when no text is asked for; -1 when text is, and nothing speaks for this definition. */
  wordsIn(definition: Definition): number {
    const { text } = this
    if (text === undefined) return 0
    const words = text.wordsIn(definition)
    return words > 0 || this.meaningOf(definition) > 0 ? words : -1
  }

  meaningOf(definition: Definition): number {
    const vector = this.text?.vector
    if (vector === undefined) return 0
    const value = similarity(vector, definition.meaning?.vector)
    return value >= MIN_SIMILARITY ? value : 0
  }

  /** The filters that all offers of a definition share. */
  admits(definition: Definition): boolean {
    const { exact, prefix, query, range } = this
    if (exact !== undefined && definition.name !== exact) return false
    if (prefix !== undefined && !definition.name.startsWith(prefix)) return false
    if (query.stream !== undefined && definition.stream !== query.stream) return false
    if (range !== undefined && !range.has(definition.version)) return false
    if (query.features !== undefined && !includesAll(definition.features, query.features)) return false
    return query.tags === undefined || includesAll(definition.tags, query.tags)
  }

  offers(definition: Definition, words: number): void {
    const { offers } = definition
    const semantic = this.semantic(definition, words)
    // The last check before work on each of perhaps ten thousand offers: what if the rest were perfect?
    if (this.best.isBelow(this.bound(semantic, 1, 1))) return
    for (let i = 0; i < offers.length; i++) this.consider(offers[i]!, words, semantic)
  }

  /** The semantic part of a definition; where the query likes peers, of one by a liked peer. */
  semantic(definition: Definition, words: number): number {
    const { preferTags } = this.query
    const value = this.text === undefined ? this.plain : Math.max(words, this.meaningOf(definition))
    const liked =
      preferTags === undefined || preferTags.length === 0
        ? 0
        : preferTags.filter((tag) => definition.tags.includes(tag)).length / preferTags.length
    return this.withPreferences(value, liked)
  }

  withPreferences(value: number, likedTags: number): number {
    const { preferPeers, preferTags } = this.query
    let result = value
    if (preferTags !== undefined && preferTags.length > 0) {
      result = (1 - PREFERENCE_SHARE) * result + PREFERENCE_SHARE * likedTags
    }
    return preferPeers === undefined || preferPeers.length === 0
      ? result
      : (1 - PREFERENCE_SHARE) * result + PREFERENCE_SHARE
  }

  /** The most that an offer can score: with these parts, and full availability. */
  bound(semantic: number, trust: number, cost: number): number {
    const { weight, weights } = this
    if (weight <= 0) return 0
    return (weights.semantic * semantic + weights.trust * trust + weights.availability + weights.cost * cost) / weight
  }

  consider(offer: Offer, words: number, semanticOfLiked: number): void {
    const { best, constraints, context, query, weight, weights } = this
    const { capability, definition, node, usd } = offer
    if (offer.expiresAt <= context.now) return
    if (constraints.length > 0 && !Constraints.satisfies(offer.metadata, constraints)) return
    if (query.maxCostUsd !== undefined && usd > query.maxCostUsd) return
    if (query.maxLatencyMs !== undefined && offer.latency > query.maxLatencyMs) return
    const { preferPeers } = query
    const semantic =
      preferPeers === undefined || preferPeers.length === 0 || preferPeers.includes(node)
        ? semanticOfLiked
        : Math.max(0, semanticOfLiked - PREFERENCE_SHARE)
    const cost = this.costScale / (this.costScale + usd)
    if (best.isBelow(this.bound(semantic, 1, cost))) return
    const trust = clamp(context.trust(node, definition.name))
    if (query.minTrust !== undefined && trust < query.minTrust) return
    if (best.isBelow(this.bound(semantic, trust, cost))) return
    const { value, why } = context.availability(node, capability)
    const availability = clamp(value)
    const sum =
      weights.semantic * semantic + weights.trust * trust + weights.availability * availability + weights.cost * cost
    best.offer({
      offer,
      score: weight > 0 ? sum / weight : 0,
      semantic,
      words,
      trust,
      availability: { value: availability, why },
      cost
    })
  }

  explain({ availability, cost, offer, score, semantic, trust, words }: Candidate): Match {
    const { weights } = this
    const { capability, holder, usd } = offer
    const part = (value: number, weight: number, why: string): Part => ({ value, weight, why })
    return {
      node: offer.node,
      record: holder.record,
      capability,
      score,
      parts: {
        semantic: part(semantic, weights.semantic, this.whySemantic(offer, words)),
        trust: part(trust, weights.trust, `trust ${twoDigits(trust)}`),
        availability: part(availability.value, weights.availability, availability.why),
        cost: part(cost, weights.cost, usd === 0 ? "free" : `$${usd} a call`)
      }
    }
  }

  whySemantic({ definition, node }: Offer, words: number): string {
    const { exact, prefix, query, text } = this
    const meaning = this.meaningOf(definition)
    let why =
      text !== undefined
        ? meaning > words
          ? `meaning ${twoDigits(meaning)}`
          : `words ${twoDigits(words)}`
        : exact !== undefined
          ? "exact name"
          : prefix !== undefined
            ? `name begins with ${prefix}`
            : "passes every filter"
    if (query.preferTags !== undefined && query.preferTags.length > 0) {
      const liked = query.preferTags.filter((tag) => definition.tags.includes(tag))
      why += `, ${liked.length} of ${query.preferTags.length} liked tags`
    }
    if (query.preferPeers?.includes(node) === true) why += ", liked peer"
    return why
  }
}

const includesAll = (all: ReadonlyArray<string>, wanted: ReadonlyArray<string>): boolean => {
  for (let i = 0; i < wanted.length; i++) if (!all.includes(wanted[i]!)) return false
  return true
}

/** What passes the query's filters, best first. A range that is none matches nothing. */
export const match = (index: CapabilityIndex, query: Query, context: MatchContext): ReadonlyArray<Match> => {
  const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT)
  const range = query.version === undefined ? undefined : VersionRange.parse(query.version)
  if (limit < 1 || typeof range === "string") return []
  const search = new Search(index, query, context, limit, range)
  search.run()
  return search.best.sorted().map((candidate) => search.explain(candidate))
}
