/**
 * What a person types to say whom they want: a capability's name, or plain words.
 */
import * as Query from "@parley/core/Query"

/**
 * Reads what a person typed as a query. A name with a dot, a `*` or an `@range` is a capability: `csv.describe`,
 * `csv.describe@^1`, `text.*`. Everything else is plain words, compared with names, descriptions and tags:
 * `summary statistics of a table`.
 */
export const parse = (text: string): Query.Query => {
  const wanted = text.trim()
  if (wanted === "") return {}
  return /^[^\s@]*[.*][^\s@]*$|^[^\s@]+@/.test(wanted) ? Query.fromId(wanted) : { text: wanted }
}
