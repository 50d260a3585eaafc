/** What a pure function of a short text came to, for the texts that come again and again. */

/** Texts that are remembered; past it they are all forgotten. */
export const MAX_TEXTS = 4_096
/** Longest text that is: an address with its zone, a host's name with its port. */
export const MAX_TEXT_LENGTH = 64

/** The same function, which remembers. */
export const remembered = <A>(of: (text: string) => A): ((text: string) => A) => {
  const known = new Map<string, A>()
  return (text) => {
    const before = known.get(text)
    if (before !== undefined) return before
    const result = of(text)
    if (text.length <= MAX_TEXT_LENGTH) {
      if (known.size >= MAX_TEXTS) known.clear()
      known.set(text, result)
    }
    return result
  }
}
