/**
 * What a caller looks for: hard filters that a capability must pass, and preferences that order those that do.
 *
 * A query is data. It crosses the wire as JSON, so every part has a bound.
 */
import * as Schema from "effect/Schema"
import {
  MAX_DESCRIPTION_LENGTH,
  MAX_LABEL_LENGTH,
  MAX_LABELS,
  MAX_METADATA,
  MAX_NAME_LENGTH,
  parseId
} from "./Capability.ts"
import * as VersionRange from "./internal/VersionRange.ts"
import { NodeId } from "./NodeId.ts"

/** Most matches that one query may ask for. */
export const MAX_LIMIT = 1_000
/** Matches returned when the query does not say. */
export const DEFAULT_LIMIT = 50

const Label = Schema.String.check(Schema.isMaxLength(MAX_LABEL_LENGTH))
const Labels = Schema.Array(Label).check(Schema.isMaxLength(MAX_LABELS))
const Scalar = Schema.Union([Label, Schema.Finite, Schema.Boolean])
const Amount = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * What one metadata value must satisfy; all that are given must hold.
 *
 * `eq`, `ne` and `in` compare scalars, and hold for a list when one of its elements does (`ne`: when none equals).
 * `gte` and `lte` compare numbers, or strings by code unit. `exists` asks whether the key is there at all.
 */
export const Constraint = Schema.Struct({
  eq: Schema.optionalKey(Scalar),
  ne: Schema.optionalKey(Scalar),
  in: Schema.optionalKey(Schema.Array(Scalar).check(Schema.isMaxLength(MAX_LABELS))),
  gte: Schema.optionalKey(Schema.Union([Schema.Finite, Label])),
  lte: Schema.optionalKey(Schema.Union([Schema.Finite, Label])),
  exists: Schema.optionalKey(Schema.Boolean)
})
/** What one metadata value must satisfy. */
export type Constraint = typeof Constraint.Type

/** How much each part of a score counts; they need not add up to one. */
export const Weights = Schema.Struct({ semantic: Amount, trust: Amount, availability: Amount, cost: Amount })
/** How much each part of a score counts. */
export type Weights = typeof Weights.Type

/** Named weights. `balanced` is the default. */
export const policies = {
  balanced: { semantic: 0.35, trust: 0.35, availability: 0.15, cost: 0.15 },
  cheapest: { semantic: 0.25, trust: 0.2, availability: 0.1, cost: 0.45 },
  fastest: { semantic: 0.25, trust: 0.2, availability: 0.5, cost: 0.05 },
  best: { semantic: 0.35, trust: 0.6, availability: 0.05, cost: 0 }
} as const satisfies Record<string, Weights>
/** The name of a policy. */
export type PolicyName = keyof typeof policies

/** What a caller looks for. The first block filters, the second one orders. */
export const Query = Schema.Struct({
  /** An exact name, or a prefix that ends in `*`: `text.*`. */
  name: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(MAX_NAME_LENGTH))),
  /** A semver range: `^1.2`, `>=2 <3`. A pre-release matches only a range that names one. */
  version: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(MAX_LABEL_LENGTH))),
  /** This node alone. */
  node: Schema.optionalKey(NodeId),
  /** Features that must all be there. */
  features: Schema.optionalKey(Labels),
  /** Tags that must all be there. */
  tags: Schema.optionalKey(Labels),
  /** Constraints by metadata key. */
  constraints: Schema.optionalKey(Schema.Record(Label, Constraint).check(Schema.isMaxProperties(MAX_METADATA))),
  maxCostUsd: Schema.optionalKey(Amount),
  maxLatencyMs: Schema.optionalKey(Amount),
  /** Least local trust, 0 to 1. Judged by who asks, so it is not sent to others. */
  minTrust: Schema.optionalKey(Amount),
  /** Only capabilities that answer in chunks (true) or at once (false). */
  stream: Schema.optionalKey(Schema.Boolean),

  /** Plain words to compare with names, descriptions and tags. Those that share no word are left out. */
  text: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(MAX_DESCRIPTION_LENGTH))),
  /** Tags that are liked. */
  preferTags: Schema.optionalKey(Labels),
  /** Peers that are liked. */
  preferPeers: Schema.optionalKey(Schema.Array(NodeId).check(Schema.isMaxLength(MAX_LABELS))),
  /** A policy by name, or weights. */
  policy: Schema.optionalKey(
    Schema.Union([Schema.Literals(["balanced", "cheapest", "fastest", "best"] satisfies Array<PolicyName>), Weights])
  ),
  limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: MAX_LIMIT })))
})
/** What a caller looks for. */
export type Query = typeof Query.Type

/** The weights that a query asks for. */
export const weightsOf = (query: Query): Weights =>
  query.policy === undefined
    ? policies.balanced
    : typeof query.policy === "string"
      ? policies[query.policy]
      : query.policy

/** Reads `name@range` (or a bare name) as a query: `csv.describe@^1`. */
export const fromId = (id: string): Query => {
  const { name, version } = parseId(id)
  return version === undefined ? { name } : { name, version }
}

/** What is wrong with a query beyond its shape, in words a person reads: a range that is none, or a misplaced `*`. */
export const check = (query: Query): string | undefined => {
  const { name, version } = query
  const range = version === undefined ? undefined : VersionRange.parse(version)
  if (typeof range === "string") return `${range}: write for example ^1.2 or ">=2 <3"`
  const star = name?.indexOf("*") ?? -1
  return name === undefined || star < 0 || star === name.length - 1
    ? undefined
    : `Invalid name ${JSON.stringify(name)}: * stands at the end only, as in text.*`
}

/** A query as a person would say it, for error messages. */
export const describe = (query: Query): string => {
  const what = query.name === undefined ? "anything" : `${query.name}${query.version ? `@${query.version}` : ""}`
  const { name: _name, version: _version, limit: _limit, policy: _policy, ...rest } = query
  const more = Object.entries(rest).map(([key, value]) => `${key} ${JSON.stringify(value)}`)
  return more.length === 0 ? what : `${what} with ${more.join(", ")}`
}
