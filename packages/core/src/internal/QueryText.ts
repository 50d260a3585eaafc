/**
 * The words of one query against the index: how much of them, by rarity, each definition has.
 */
import {
  NAME_WEIGHT,
  numberOf,
  weightOf,
  type CapabilityIndex,
  type Definition,
  type Posting
} from "./CapabilityIndex.ts"
import * as Words from "./Words.ts"

/** Most words of a query that are compared. */
export const MAX_QUERY_WORDS = 32
/** Definitions looked at one by one, before it is cheaper to sum all postings up. */
const FEW_DEFINITIONS = 32

/** A query's word, as far as anybody uses it, and how telling it is: the rarer the more. */
interface Word {
  readonly posting: Posting | undefined
  readonly rarity: number
}

/** What the words add up to, by the definitions' numbers, and the numbers of those that have any. */
export interface Sums {
  readonly of: Float64Array
  readonly reached: Uint32Array
  readonly count: number
}

export class QueryText {
  readonly #index: CapabilityIndex
  readonly #words: ReadonlyArray<Word>
  /** What a name that has every word would add up to. */
  readonly #whole: number
  #asked = 0
  #sums: Sums | undefined
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
    this.#words = words
    this.#whole = whole
    this.vector = index.meanings?.query(text)
  }

  /** A text of function words alone says nothing, so it leaves nobody out. */
  get saysSomething(): boolean {
    return this.#words.length > 0 || this.vector !== undefined
  }

  /** Definitions that share a word, about; infinite where a meaning may be shared by all. */
  get size(): number {
    if (this.vector !== undefined) return Infinity
    let sum = 0
    for (const { posting } of this.#words) sum += posting?.size ?? 0
    return sum
  }

  /** The part of the query's words, by rarity, that a definition has. */
  wordsIn(definition: Definition): number {
    if (this.#sums !== undefined) return this.#sums.of[definition.number]! / this.#whole
    if (++this.#asked > FEW_DEFINITIONS) return this.sums().of[definition.number]! / this.#whole
    let sum = 0
    for (let i = 0; i < this.#words.length; i++) {
      const { posting, rarity } = this.#words[i]!
      if (posting !== undefined) sum += rarity * definition.weightOf(posting)
    }
    return sum / this.#whole
  }

  /** A sum as a part of the whole. */
  share(sum: number): number {
    return sum / this.#whole
  }

  /** Sums all postings up. The index lends the arrays: `release` gives them back. */
  sums(): Sums {
    if (this.#sums !== undefined) return this.#sums
    const { of, reached } = this.#index.borrow()
    let count = 0
    for (let w = 0; w < this.#words.length; w++) {
      const { posting, rarity } = this.#words[w]!
      if (posting === undefined) continue
      const { entries } = posting
      for (let i = 0; i < entries.length; i++) {
        const entry = entries[i]!
        const number = numberOf(entry)
        const sum = of[number]!
        if (sum === 0) reached[count++] = number
        of[number] = sum + rarity * weightOf(entry)
      }
    }
    return (this.#sums = { of, reached, count })
  }

  release(): void {
    const sums = this.#sums
    if (sums === undefined) return
    this.#sums = undefined
    const { count, of, reached } = sums
    if (count * 8 > of.length) of.fill(0)
    else for (let i = 0; i < count; i++) of[reached[i]!] = 0
    this.#index.giveBack(of, reached)
  }
}
