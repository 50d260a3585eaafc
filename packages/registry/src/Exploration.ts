/**
 * Exploration: a newcomer's fair first chance. In a small share of discoveries those who have little of a record stand first.
 *
 * The better the best that is known, the less there is to find, and the smaller the share: with a best of 0.93 it is one in
 * two hundred, with one of 0.6 one in twelve. The share bounds what new names can gain, however many there are; one that has
 * failed those who are believed is a newcomer no longer, and whoever works well is one until its record can compete. What
 * strangers say neither ends it nor helps. Among newcomers chance decides, by draw: no id is better than another.
 */
import type { CapabilityRecord } from "@parley/core/Capability"
import type { TrustOf } from "@parley/core/Matcher"
import type { NodeId } from "@parley/core/NodeId"
import type { Evidence } from "./ReputationModel.ts"

/** Bounds of the share. */
export const LEAST_SHARE = 0.005
export const MOST_SHARE = 0.1
/** Reports' worth of evidence that end it: with four good ones an agent stands at 0.83. */
export const EXPLORED = 4

/** Share of discoveries in which newcomers stand first, by the trust in the best that is known: half of what it lacks, squared. */
export const shareOf = (best: number): number =>
  Math.min(MOST_SHARE, Math.max(LEAST_SHARE, ((1 - best) * (1 - best)) / 2))

/** What is asked of a reputation. */
export interface Known {
  readonly score: (agent: string, capability: string, now: number) => number
  readonly evidence: (agent: string, capability: string, now: number) => Evidence
}

/** Whether an agent is still to be tried: little is known, and not more bad than good. */
export const isNewcomer = (known: Known, agent: string, capability: string, now: number): boolean => {
  const { bad, good } = known.evidence(agent, capability, now)
  return good + bad < EXPLORED && good >= bad
}

/** 0 to 1, by an id and a draw (FNV-1a, 32 bits, and a finisher). */
const lot = (id: string, draw: number): number => {
  let hash = (2_166_136_261 ^ Math.floor(draw * 4_294_967_296)) >>> 0
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 16_777_619)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39)
  return ((hash ^ (hash >>> 15)) >>> 0) / 4_294_967_296
}

/**
 * What a discovery ranks by that tries newcomers: they come first, in an order that `draw` (random, in [0, 1)) decides. For a
 * discovery without a least trust, which a newcomer has not earned; when a random number is below `shareOf` the best match.
 */
export const newcomersFirst =
  (
    known: Known,
    now: number,
    draw: number,
    idOf: (node: NodeId, record: CapabilityRecord | undefined) => string = (node) => node
  ): TrustOf =>
  (node, capability, record) => {
    const id = idOf(node, record)
    return isNewcomer(known, id, capability, now) ? 0.9 + 0.1 * lot(id, draw) : 0.9 * known.score(id, capability, now)
  }
