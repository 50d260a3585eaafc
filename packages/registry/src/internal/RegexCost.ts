/**
 * How many ways a backtracking engine may try a regular expression, as `ways × length ** growth`; `undefined` where that cannot
 * be said or has no bound. It is counted too high rather than too low.
 *
 * Read are literals, classes, escapes, groups, alternatives and quantifiers of ECMAScript's `u` patterns. Look-around,
 * back-references, and a repetition of something that can itself match in several ways are refused.
 */

/** Longest pattern that is read, in characters: what people write in schemas stays below 200. */
export const MAX_PATTERN_LENGTH = 256

/** Ways to match a text of n characters: at most `ways * n ** growth`. */
export interface Cost {
  readonly ways: number
  readonly growth: number
}

const one: Cost = { ways: 1, growth: 0 }

class Refused extends Error {}

class Reader {
  readonly #pattern: string
  #at = 0

  constructor(pattern: string) {
    this.#pattern = pattern
  }

  get isDone(): boolean {
    return this.#at >= this.#pattern.length
  }

  alternatives(depth: number): Cost {
    if (depth > 8) throw new Refused()
    let total = this.#sequence(depth)
    while (this.#take("|")) {
      const next = this.#sequence(depth)
      total = { ways: total.ways + next.ways, growth: Math.max(total.growth, next.growth) }
    }
    return total
  }

  #take(text: string): boolean {
    if (!this.#pattern.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }

  #sequence(depth: number): Cost {
    let total = one
    while (!this.isDone && this.#pattern[this.#at] !== "|" && this.#pattern[this.#at] !== ")") {
      const atom = this.#quantified(this.#atom(depth))
      total = { ways: total.ways * atom.ways, growth: total.growth + atom.growth }
    }
    return total
  }

  #atom(depth: number): Cost {
    if (this.#take("(")) {
      if (this.#take("?") && !this.#take(":")) throw new Refused()
      const inner = this.alternatives(depth + 1)
      if (!this.#take(")")) throw new Refused()
      return inner
    }
    if (this.#take("[")) return this.#class()
    if (this.#take("\\")) {
      const escaped = this.#pattern[this.#at++]
      // A back-reference can match anything again.
      if (escaped === undefined || /[1-9k]/.test(escaped)) throw new Refused()
      if ((escaped === "p" || escaped === "P" || escaped === "u") && this.#take("{")) {
        const end = this.#pattern.indexOf("}", this.#at)
        if (end < 0) throw new Refused()
        this.#at = end + 1
      }
      return one
    }
    if (/[*+?{]/.test(this.#pattern[this.#at] ?? "*")) throw new Refused()
    this.#at += 1
    return one
  }

  #class(): Cost {
    while (!this.isDone) {
      if (this.#take("\\")) this.#at += 1
      else if (this.#take("]")) return one
      else this.#at += 1
    }
    throw new Refused()
  }

  #quantified(atom: Cost): Cost {
    const bounds = this.#bounds()
    if (bounds === undefined) return atom
    this.#take("?")
    const isPlain = atom.ways === 1 && atom.growth === 0
    const [least, most] = bounds
    if (isPlain) return most === Infinity ? { ways: 1, growth: 1 } : { ways: most - least + 1, growth: 0 }
    // Several ways, several times: each time may be another.
    if (most > 16) throw new Refused()
    return { ways: atom.ways ** most * (most - least + 1), growth: atom.growth * most }
  }

  #bounds(): readonly [number, number] | undefined {
    if (this.#take("*")) return [0, Infinity]
    if (this.#take("+")) return [1, Infinity]
    if (this.#take("?")) return [0, 1]
    const match = /^\{(\d{1,4})(?:(,)(\d{1,4})?)?\}/.exec(this.#pattern.slice(this.#at, this.#at + 16))
    if (match === null) return undefined
    this.#at += match[0].length
    const least = Number(match[1])
    if (match[2] === undefined) return [least, least]
    return [least, match[3] === undefined ? Infinity : Number(match[3])]
  }
}

/** The cost of a pattern. */
export const costOf = (pattern: string): Cost | undefined => {
  if (pattern.length > MAX_PATTERN_LENGTH) return undefined
  try {
    const reader = new Reader(pattern)
    const { ways, growth } = reader.alternatives(0)
    if (!reader.isDone || !Number.isFinite(ways)) return undefined
    // Without an anchor it is tried from each character on; `^` in one alternative anchors that one alone.
    const isAnchored = pattern.startsWith("^") && !pattern.includes("|")
    return { ways, growth: growth + (isAnchored ? 0 : 1) }
  } catch (cause) {
    if (cause instanceof Refused) return undefined
    throw cause
  }
}
