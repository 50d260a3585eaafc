/**
 * How answers become one verdict: all aggregations of this package, and their names.
 *
 * | name | value | decided early |
 * | --- | --- | --- |
 * | `majority-vote` | what more than half of the invited gave | exactly |
 * | `weighted-vote` | what more than half of the invited trust stands behind | exactly, but for some ties |
 * | `consensus-threshold:0.6` | what 60 % of the invited gave | exactly |
 * | `first-response` | the first valid answer | at once |
 * | `median` | the median, number by number | exactly |
 * | `cluster-vote` | what more than half say, within a tolerance | for identical answers |
 * | `ranked-choice` | the winner of an instant run-off | for a majority of first ranks |
 * | `best-score`, `longest`, `trimmed-mean`, `ensemble` | see each | when nobody can answer any more |
 */
import type { Registered } from "@parley/core/Strategy"
import * as Choices from "./Choices.ts"
import * as Clusters from "./Clusters.ts"
import * as Numbers from "./Numbers.ts"
import * as Ranked from "./Ranked.ts"
import * as Votes from "./Votes.ts"

export {
  bestQuality,
  bestScore,
  custom,
  type CustomOptions,
  ensemble,
  firstResponse,
  type Judge,
  longest
} from "./Choices.ts"
export { clusterVote } from "./Clusters.ts"
export { median, trimmedMean } from "./Numbers.ts"
export { rankedChoice } from "./Ranked.ts"
export { consensusThreshold, majorityVote, weightedVote } from "./Votes.ts"

/** The aggregations of this package by name. */
export const registered = {
  ...Votes.registered,
  ...Choices.registered,
  ...Numbers.registered,
  ...Clusters.registered,
  ...Ranked.registered
} satisfies Registered["aggregations"]
