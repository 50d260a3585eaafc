/**
 * The matcher over an index of its own: what `Matcher.make` and `EmbeddingMatcher` share.
 */
import * as Effect from "effect/Effect"
import type { Matcher, Options } from "../Matcher.ts"
import { CapabilityIndex } from "./CapabilityIndex.ts"
import { closest } from "./ClosestNames.ts"
import { match } from "./Matching.ts"
import type { Meanings } from "./Meanings.ts"

/** A matcher; with `meanings` it compares embeddings as far as those are known. */
export const make = (maxRecords: Required<Options>["maxRecords"], meanings?: Meanings): Matcher["Service"] => {
  const index = new CapabilityIndex(maxRecords, meanings)
  return {
    upsert: (record) => index.upsert(record),
    remove: (node) => index.remove(node),
    prune: (now) => index.prune(now),
    get: (node) => index.records.get(node)?.record,
    records: function* () {
      for (const { record } of index.records.values()) yield record
    },
    size: () => ({ records: index.records.size, capabilities: index.offers }),
    revision: () => index.revision,
    prepare: () => Effect.void,
    match: (query, context) => match(index, query, context),
    closest: (name, limit) => closest(index, name, limit)
  }
}
