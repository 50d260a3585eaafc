/**
 * What a registry does that has no index: looks at every capability, and sorts what passes. It filters and scores as the
 * matcher does for the two queries of this bench; of words it takes each as telling as the others.
 */
import * as Result from "effect/Result"
import * as SemVer from "effect/SemVer"
import * as SemVerRange from "effect/SemVerRange"
import type { AgentRecord } from "@parley/core/AgentRecord"
import type { CapabilityRecord } from "@parley/core/Capability"
import type { MatchContext } from "@parley/core/Matcher"
import { type Constraint, policies, type Query } from "@parley/core/Query"

interface Scored {
  readonly record: AgentRecord
  readonly capability: CapabilityRecord
  readonly score: number
}

const isIn = (version: string, range: SemVerRange.SemVerRange | undefined): boolean => {
  if (range === undefined) return true
  const parsed = SemVer.parse(version)
  return Result.isSuccess(parsed) && SemVerRange.matches(parsed.success)(range)
}

const holds = (value: unknown, { eq, gte }: Constraint): boolean =>
  (eq === undefined || value === eq) && (gte === undefined || Number(value) >= Number(gte))

const wordsOf = (text: string): ReadonlyArray<string> => text.toLowerCase().match(/[a-z0-9]+/g) ?? []

/** The best of all records for a query. */
export const scan = (
  records: ReadonlyArray<AgentRecord>,
  query: Query,
  context: MatchContext
): ReadonlyArray<Scored> => {
  const parsed = query.version === undefined ? undefined : SemVerRange.parse(query.version)
  const range = parsed !== undefined && Result.isSuccess(parsed) ? parsed.success : undefined
  const constraints = Object.entries(query.constraints ?? {})
  const asked = query.text === undefined ? undefined : wordsOf(query.text)
  const found: Array<Scored> = []
  for (const record of records) {
    for (const capability of record.capabilities) {
      const { metadata, name, version } = capability
      if (query.name !== undefined && name !== query.name) continue
      if (!isIn(version, range)) continue
      if (!constraints.every(([key, constraint]) => holds(metadata?.[key], constraint))) continue
      let semantic = 1
      if (asked !== undefined) {
        const words = wordsOf(`${name} ${capability.tags?.join(" ") ?? ""} ${capability.description ?? ""}`)
        semantic = asked.filter((word) => words.includes(word)).length / asked.length
        if (semantic === 0) continue
      }
      const cost = 0.01 / (0.01 + (capability.cost?.usdPerCall ?? 0))
      const weights = policies.balanced
      const score =
        weights.semantic * semantic +
        weights.trust * context.trust(record.node, name) +
        weights.availability * context.availability(record.node, capability).value +
        weights.cost * cost
      found.push({ record, capability, score })
    }
  }
  return found.sort((a, b) => b.score - a.score).slice(0, query.limit)
}
