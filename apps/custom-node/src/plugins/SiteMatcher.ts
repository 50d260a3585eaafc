/**
 * A Matcher of one's own: the default one with a rule about places. Work leaves only for the sites allowed (data must stay
 * in the country, say), and of two equal agents the one at our own site comes first.
 *
 * A capability says where it runs in its metadata, as `site`; one that does not say is nowhere, and does not match. The rule
 * is put into the query itself, as a constraint, so that the default matcher's index does the filtering. Nearness changes
 * the availability part of the score, and says so in the reason: a score stays the weighted mean of parts that explain it.
 */
import * as Layer from "effect/Layer"
import * as Matcher from "@parley/core/Matcher"
import type { CapabilityRecord } from "@parley/core/Capability"
import * as NodeId from "@parley/core/NodeId"
import { type Constraint, DEFAULT_LIMIT, MAX_LIMIT, type Query } from "@parley/core/Query"

/** The rule. */
export interface Sites {
  /** Where this node is. */
  readonly here: string
  /** Where work may go; `here` must be said, too. */
  readonly allowed: ReadonlyArray<string>
}

/** What an agent elsewhere keeps of its availability: the way there and back takes a share of the time. */
export const FAR = 0.6

const siteOf = (capability: CapabilityRecord): string => String(capability.metadata?.["site"] ?? "nowhere")

/** The query with the rule in it. A constraint on the site that the caller has set holds as well. */
const restricted = (query: Query, { allowed }: Sites): Query => {
  const asked: Constraint = query.constraints?.["site"] ?? {}
  const both = asked.in === undefined ? allowed : asked.in.filter((site) => allowed.some((each) => each === site))
  return { ...query, constraints: { ...query.constraints, site: { ...asked, in: both } }, limit: MAX_LIMIT }
}

/** The match as seen from here. */
const weighed = (match: Matcher.Match, here: string): Matcher.Match => {
  const site = siteOf(match.capability)
  const { availability } = match.parts
  const parts = {
    ...match.parts,
    availability: {
      ...availability,
      value: availability.value * (site === here ? 1 : FAR),
      why: `${availability.why}, at ${site}`
    }
  }
  const all = Object.values(parts)
  const weight = all.reduce((sum, part) => sum + part.weight, 0)
  const score = weight === 0 ? match.score : all.reduce((sum, part) => sum + part.value * part.weight, 0) / weight
  return { ...match, parts, score }
}

/** Best first. Equal scores are ordered by NodeId; of one node the order of the default matcher stays. */
const bestFirst = (a: Matcher.Match, b: Matcher.Match): number => b.score - a.score || NodeId.compare(a.node, b.node)

/** The matcher of a rule, over another matcher. */
export const make = (sites: Sites, inner: Matcher.Matcher["Service"] = Matcher.make()): Matcher.Matcher["Service"] =>
  Matcher.Matcher.of({
    ...inner,
    match: (query, context) =>
      inner
        .match(restricted(query, sites), context)
        .map((match) => weighed(match, sites.here))
        .sort(bestFirst)
        .slice(0, query.limit ?? DEFAULT_LIMIT)
  })

/** The matcher of a rule, empty at first. */
export const layer = (sites: Sites): Layer.Layer<Matcher.Matcher> => Layer.sync(Matcher.Matcher, () => make(sites))
