/**
 * Exploration: a newcomer's fair first chance. In one of a hundred discoveries those who have little of a record stand first.
 *
 * The share bounds what new identities can gain, however many there are: all of them together are shown first in `SHARE` of the
 * discoveries, and one that has failed is a newcomer no longer. Whoever works well is one until it has record enough to
 * compete. Among newcomers chance decides, by draw and not by id: no id is better than another one.
 */
import type { TrustOf } from "@parley/core/Matcher"
import { INITIAL } from "./ReputationModel.ts"

/** Share of discoveries in which newcomers stand first. What leaving and coming back can gain at most. */
export const SHARE = 0.01
/** Reports' worth of evidence that end it: with four good ones an agent stands at 0.83. */
export const EXPLORED = 4

/** What is asked of a reputation. */
export interface Known {
  readonly score: (agent: string, capability: string, now: number) => number
  readonly weight: (agent: string, capability: string, now: number) => number
}

/** Whether an agent is still to be tried: little is known, and nothing bad. */
export const isNewcomer = (known: Known, agent: string, capability: string, now: number): boolean =>
  known.weight(agent, capability, now) < EXPLORED && known.score(agent, capability, now) >= INITIAL

/** 0 to 1, by an id and a draw (FNV-1a, 32 bits). */
const lot = (id: string, draw: number): number => {
  let hash = (2_166_136_261 ^ Math.floor(draw * 4_294_967_296)) >>> 0
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 16_777_619)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (hash >>> 0) / 4_294_967_296
}

/**
 * What a discovery ranks by. `draw` is random, in [0, 1): below `SHARE` newcomers come first, above it the score is all that
 * counts. Not for queries that ask for a least trust: a newcomer has not earned it.
 */
export const trustFor = (
  known: Known,
  now: number,
  draw: number,
  idOf: (node: string) => string = (id) => id
): TrustOf =>
  draw >= SHARE
    ? (node, capability) => known.score(idOf(node), capability, now)
    : (node, capability) => {
        const id = idOf(node)
        return isNewcomer(known, id, capability, now)
          ? 0.9 + 0.1 * lot(id, draw / SHARE)
          : known.score(id, capability, now) * 0.9
      }
