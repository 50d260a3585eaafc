/**
 * The embeddings of texts: of each distinct capability text as long as somebody offers it, and of recent queries.
 *
 * Plain data. Who computes the vectors takes what is `pending` and calls `learn`; see `EmbeddingMatcher`.
 */

/** Most queries whose embedding is kept: 256 vectors of 1,536 numbers are 1.5 MiB. */
export const MAX_QUERIES = 256

/** A text's embedding, at length one, as soon as it is known. */
export interface Meaning {
  readonly text: string
  vector: Float32Array | undefined
  users: number
}

const unit = (numbers: ReadonlyArray<number>): Float32Array => {
  const length = Math.hypot(...numbers)
  return Float32Array.from(numbers, (number) => (length > 0 ? number / length : 0))
}

export class Meanings {
  readonly #texts = new Map<string, Meaning>()
  readonly #queries = new Map<string, Float32Array>()
  readonly pending = new Set<Meaning>()
  /** Called when a text begins to wait for its embedding. */
  onPending: () => void = () => {}

  /** A text's meaning, shared by all who hold it. */
  hold(parts: ReadonlyArray<string | undefined>): Meaning {
    const text = parts.filter((part) => part !== undefined && part !== "").join(". ")
    const known = this.#texts.get(text)
    if (known !== undefined) {
      known.users++
      return known
    }
    const meaning: Meaning = { text, vector: undefined, users: 1 }
    this.#texts.set(text, meaning)
    this.pending.add(meaning)
    this.onPending()
    return meaning
  }

  release(meaning: Meaning): void {
    if (--meaning.users > 0) return
    this.#texts.delete(meaning.text)
    this.pending.delete(meaning)
  }

  learn(meaning: Meaning, numbers: ReadonlyArray<number>): void {
    meaning.vector = unit(numbers)
    this.pending.delete(meaning)
  }

  query(text: string): Float32Array | undefined {
    return this.#queries.get(text)
  }

  learnQuery(text: string, numbers: ReadonlyArray<number>): void {
    if (this.#queries.size >= MAX_QUERIES) {
      for (const oldest of this.#queries.keys()) {
        this.#queries.delete(oldest)
        break
      }
    }
    this.#queries.set(text, unit(numbers))
  }
}

/** The cosine of two unit vectors, 0 where they point apart or differ in length. */
export const similarity = (a: Float32Array, b: Float32Array | undefined): number => {
  if (b === undefined || a.length !== b.length) return 0
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return Math.min(1, Math.max(0, sum))
}
