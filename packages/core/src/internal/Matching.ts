/**
 * One query against the index: the smallest part of it that covers the query, the filters, and the semantic part of the score.
 */
import type { Match, MatchContext } from "../Matcher.ts"
import { DEFAULT_LIMIT, MAX_LIMIT, weightsOf, type Query } from "../Query.ts"
import { numberOf, type CapabilityIndex, type Definition, type Offer, type Posting } from "./CapabilityIndex.ts"
import * as Constraints from "./Constraints.ts"
import { MAX_KEPT } from "./Kept.ts"
import { similarity } from "./Meanings.ts"
import type { Named } from "./Named.ts"
import { QueryText } from "./QueryText.ts"
import { type Passed, Ranking, twoDigits } from "./Ranking.ts"
import * as VersionRange from "./VersionRange.ts"

/** Price of a call, in US dollars, that scores 0.5 when the query does not say the most it would pay: a cent. */
export const COST_SCALE_USD = 0.01
/** Least similarity of two embeddings for a capability that shares no word with the query. */
export const MIN_SIMILARITY = 0.5
/** What liked tags, and liked peers, each count of the semantic part when the query names any. */
export const PREFERENCE_SHARE = 0.2
/** Definitions from which it pays to look at the agents that are trusted apart from the others first. */
const MANY_DEFINITIONS = 1_024
/** Most such agents looked at; an agent that trust knows by several capabilities may be told of several times. */
const MAX_TRIED = 2_048

/** Semantic value of a query without text, by how it names the capability. */
const byExactName = 1
const byPrefix = 0.9
const byFilters = 0.8

/** Steps in which the sums of words are ordered. */
const STEPS = 64

const none: ReadonlyArray<never> = []

class Search {
  readonly index: CapabilityIndex
  readonly query: Query
  readonly context: MatchContext
  readonly ranking: Ranking
  readonly text: QueryText | undefined
  readonly exact: string | undefined
  readonly prefix: string | undefined
  readonly range: VersionRange.VersionRange | undefined
  readonly constraints: ReadonlyArray<readonly [string, NonNullable<Query["constraints"]>[string]]>
  readonly plain: number
  readonly costScale: number
  /** What passed, while it may be kept. */
  passed: Array<Passed> | undefined
  /** Agents whose offers have been looked at already. */
  seen: Set<string> | undefined

  constructor(
    index: CapabilityIndex,
    query: Query,
    context: MatchContext,
    limit: number,
    range: VersionRange.VersionRange | undefined,
    keeps: boolean
  ) {
    this.index = index
    this.query = query
    this.context = context
    this.ranking = new Ranking(query, context, limit)
    this.passed = keeps ? [] : undefined
    const text = query.text === undefined ? undefined : new QueryText(index, query.text)
    this.text = text?.saysSomething === true ? text : undefined
    const { name } = query
    const isPrefix = name !== undefined && name.endsWith("*")
    this.exact = isPrefix ? undefined : name
    this.prefix = isPrefix && name !== "*" ? name.slice(0, -1) : undefined
    this.range = range
    this.constraints = query.constraints === undefined ? none : Object.entries(query.constraints)
    this.plain = this.exact !== undefined ? byExactName : this.prefix !== undefined ? byPrefix : byFilters
    this.costScale = query.maxCostUsd !== undefined && query.maxCostUsd > 0 ? query.maxCostUsd : COST_SCALE_USD
  }

  run(): void {
    const { exact, index, prefix, query, text } = this
    if (query.node !== undefined) return this.ofNode(query.node)
    let least = index.definitions.size
    let look = (): void => this.everything()
    const pick = (home: ReadonlyMap<string, Posting>, key: string): void => {
      const posting = home.get(key)
      const size = posting?.size ?? 0
      if (size > least) return
      least = size
      look = () => posting !== undefined && this.posting(posting)
    }
    if (exact !== undefined) {
      const named = index.names.get(exact)
      if (query.tags === undefined && query.features === undefined) return named && this.named(named)
      least = named?.size ?? 0
      look = () => named !== undefined && this.named(named)
    }
    for (const tag of query.tags ?? none) pick(index.tags, tag)
    for (const feature of query.features ?? none) pick(index.features, feature)
    if (prefix !== undefined && least > 0) {
      const all = index.namesWith(prefix)
      const size = all.reduce((sum, named) => sum + named.size, 0)
      if (size <= least) {
        least = size
        look = () => all.forEach((named) => this.named(named))
      }
    }
    if (text !== undefined && text.size < least) {
      least = text.size
      look = () => this.byWords(text)
    }
    if (least > MANY_DEFINITIONS && this.passed === undefined) this.tried()
    look()
  }

  everything(): void {
    for (const definition of this.index.definitions) this.definition(definition)
  }

  ofNode(node: string): void {
    const { offers } = this.index.records.get(node as Offer["node"]) ?? { offers: none }
    for (let i = 0; i < offers.length; i++) {
      const { definition } = offers[i]!
      const words = this.wordsIn(definition)
      if (words >= 0 && this.admits(definition)) this.offer(offers[i]!, words, this.semantic(definition, words))
    }
  }

  /**
   * Looks at whom trust tells apart. All others are trusted alike, or less than these, so that most of them need not be looked
   * at: nobody who fits worse than those already found can come before them.
   */
  tried(): void {
    const { trust } = this.context
    const nodes = trust.tried?.()
    const { atMost, rest } = trust
    if (nodes === undefined || (rest === undefined && atMost === undefined)) return
    const seen = new Set<string>()
    let count = 0
    for (const node of nodes) {
      if (count++ === MAX_TRIED) return
      seen.add(node)
    }
    for (const node of seen) this.ofNode(node)
    this.seen = seen
    if (rest !== undefined) this.ranking.theRestHas(rest)
    else this.ranking.theRestHasAtMost(atMost!.others)
  }

  named({ versions }: Named): void {
    const { range } = this
    for (const { definitions, version } of versions.values()) {
      if (range !== undefined && !range.has(version)) continue
      for (let i = 0; i < definitions.length; i++) this.definition(definitions[i]!)
    }
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
   * even perfect availability and cost, and the most trust that is possible, would not lift the rest among the best.
   */
  byWords(text: QueryText): void {
    const { numbered } = this.index
    const { count, of, reached } = text.sums()
    const ends = new Uint32Array(STEPS + 2)
    const stepOf = (number: number): number => STEPS - Math.floor(text.share(of[number]!) * STEPS)
    for (let i = 0; i < count; i++) ends[stepOf(reached[i]!) + 1]!++
    for (let step = 0; step <= STEPS; step++) ends[step + 1]! += ends[step]!
    const begins = ends.slice(0, STEPS + 1)
    const ordered = new Uint32Array(count)
    for (let i = 0; i < count; i++) {
      const number = reached[i]!
      ordered[begins[stepOf(number)]!++] = number
    }
    for (let step = 0, i = 0; step <= STEPS; step++) {
      const most = Math.min(1, (STEPS - step + 1) / STEPS)
      if (this.isBelow(this.withPreferences(most, 1), 1)) return
      for (const end = ends[step + 1]!; i < end; i++) {
        const number = ordered[i]!
        const definition = numbered[number]
        if (definition !== undefined && this.admits(definition)) this.offers(definition, text.share(of[number]!))
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
    const { seen } = this
    const semantic = this.semantic(definition, words)
    // The last check before work on each of perhaps ten thousand offers: what if the rest were perfect?
    if (this.isBelow(semantic, 1)) return
    for (let i = 0; i < offers.length; i++) {
      const offer = offers[i]!
      if (seen === undefined || !seen.has(offer.node)) this.offer(offer, words, semantic)
    }
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

  /** Whether it is of no use to look at offers with these parts: not while what passes may be kept. */
  isBelow(semantic: number, cost: number): boolean {
    return this.passed === undefined && this.ranking.isBelow(semantic, cost)
  }

  offer(offer: Offer, words: number, semanticOfLiked: number): void {
    const { constraints, query } = this
    const { metadata, node, usd } = offer
    if (constraints.length > 0 && !Constraints.satisfies(metadata, constraints)) return
    if (query.maxCostUsd !== undefined && usd > query.maxCostUsd) return
    if (query.maxLatencyMs !== undefined && offer.latency > query.maxLatencyMs) return
    const { preferPeers } = query
    const semantic =
      preferPeers === undefined || preferPeers.length === 0 || preferPeers.includes(node)
        ? semanticOfLiked
        : Math.max(0, semanticOfLiked - PREFERENCE_SHARE)
    const cost = this.costScale / (this.costScale + usd)
    const { passed } = this
    if (passed === undefined) {
      if (!this.ranking.isBelow(semantic, cost)) this.ranking.consider(offer, words, semantic, cost, undefined)
      return
    }
    passed.push({ offer, words, semantic, cost, told: undefined })
    if (passed.length <= MAX_KEPT) return
    this.passed = undefined
    rank(this.ranking, passed, false)
  }

  readonly why = ({ offer: { definition, node }, words }: Passed): string => {
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

/** Ranks what passed; where those that fit best come first, it ends with the first that cannot be among the best. */
const rank = (ranking: Ranking, passed: ReadonlyArray<Passed>, isSorted: boolean): void => {
  for (let i = 0; i < passed.length; i++) {
    const each = passed[i]!
    if (!ranking.isBelow(each.semantic, each.cost)) {
      ranking.consider(each.offer, each.words, each.semantic, each.cost, each)
    } else if (isSorted) return
  }
}

/** What passes the query's filters, best first. A range that is none matches nothing. */
export const match = (index: CapabilityIndex, query: Query, context: MatchContext): ReadonlyArray<Match> => {
  const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT)
  if (limit < 1) return []
  const kept = index.keeper.get(index, query)
  if (kept !== undefined) {
    const ranking = new Ranking(query, context, limit)
    rank(ranking, kept.passed, true)
    return ranking.matches(kept.why)
  }
  const range = query.version === undefined ? undefined : VersionRange.parse(query.version)
  if (typeof range === "string") return []
  // Meanings are learned of at any time.
  const keeps = (query.text === undefined || index.meanings === undefined) && index.keeper.takes(query)
  const search = new Search(index, query, context, limit, range, keeps)
  try {
    search.run()
  } finally {
    search.text?.release()
  }
  const { passed, ranking, why } = search
  if (passed !== undefined) {
    const { cost, semantic } = weightsOf(query)
    const fixed = (one: Passed): number => semantic * one.semantic + cost * one.cost
    passed.sort((a, b) => fixed(b) - fixed(a))
    // Words count by how rare they are, which any record may change.
    const named = search.exact === undefined || search.text !== undefined ? undefined : index.names.get(search.exact)
    const { revision } = named ?? index
    index.keeper.set(query, { named, revision, passed, why })
    rank(ranking, passed, true)
  }
  return ranking.matches(why)
}
