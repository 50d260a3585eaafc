/**
 * The words of a text, as word search compares them: whole words only, so that "ai" is not found in "email".
 *
 * A word is a run of letters and digits, in lower case, without its English ending: `describes`, `described` and `describing`
 * are one word. Words that only hold a sentence together are left out.
 */

/** Most words taken from one text; a description has at most 1,000 characters, so this cuts only what is no prose. */
export const MAX_WORDS = 256

const functionWords = new Set(
  (
    "a an and are as at be been but by can could did do does for from had has have how i if in into is it its me my of off " +
    "on or our please shall should so such than that the their them then there these they this those to up us was we were " +
    "what when where which who whom whose why will with would you your"
  ).split(" ")
)

/** Endings and what stands in their place, the longest first. What remains has at least four letters. */
const endings: ReadonlyArray<readonly [ending: string, instead: string]> = [
  ["ization", "iz"],
  ["isation", "is"],
  ["ation", "at"],
  ["ion", ""],
  ["ing", ""],
  ["ed", ""],
  ["er", ""],
  ["or", ""],
  ["e", ""]
]
const shortestStem = 4

const singular = (word: string): string => {
  if (word.length < 4 || !word.endsWith("s") || /(?:ss|us|is)$/.test(word)) return word
  if (word.endsWith("ies")) return `${word.slice(0, -3)}y`
  return /(?:ch|sh|s|x|z)es$/.test(word) ? word.slice(0, -2) : word.slice(0, -1)
}

/** A word without its English ending. */
export const stem = (word: string): string => {
  const one = singular(word)
  if (one.length <= shortestStem) return one
  for (const [ending, instead] of endings) {
    if (one.endsWith(ending) && one.length - ending.length >= shortestStem) {
      return one.slice(0, one.length - ending.length) + instead
    }
  }
  return one
}

/** Stems already worked out. A mesh speaks in few words; past the bound it starts anew. */
const stems = new Map<string, string>()
const maxStems = 8_192

const cachedStem = (word: string): string => {
  const known = stems.get(word)
  if (known !== undefined) return known
  if (stems.size >= maxStems) stems.clear()
  const result = functionWords.has(word) ? "" : stem(word)
  stems.set(word, result)
  return result
}

/** Adds a text's words to `into`, each once, until it holds `MAX_WORDS`. */
export const collect = (text: string, into: Set<string>): void => {
  const found = text
    .normalize("NFKC")
    .toLowerCase()
    .match(/[\p{L}\p{M}\p{N}]+/gu)
  if (found === null) return
  for (const word of found) {
    if (into.size >= MAX_WORDS) return
    const result = cachedStem(word)
    if (result !== "") into.add(result)
  }
}

/** A text's words, each once. */
export const wordsOf = (text: string): Set<string> => {
  const words = new Set<string>()
  collect(text, words)
  return words
}
