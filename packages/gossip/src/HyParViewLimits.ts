/**
 * The sizes, times and bounds of the overlay, each with its reason. The paper's defaults (HyParView, section 5.1) where it gives one.
 */
/** What can be set. Sizes and walks are the paper's (section 5.1). */
export interface Settings {
  /** Neighbours: the fan-out of broadcast and one. */
  readonly active: number
  /** Peers kept to replace neighbours: log n and more of any mesh that fits a planet. */
  readonly passive: number
  /** Hops of a newcomer's walk until somebody takes it in. */
  readonly activeWalk: number
  /** Hops left of that walk at which it is remembered. */
  readonly passiveWalk: number
  /** Hops of a shuffle. */
  readonly shuffleWalk: number
  /** Neighbours in a shuffle. */
  readonly shuffleActive: number
  /** Others in a shuffle. */
  readonly shufflePassive: number
  /** Time between shuffles, in ms. The paper counts in rounds; this replaces a quarter of a passive view each minute or so. */
  readonly shuffleMs: number
  /** How long an answer to `Neighbor` is waited for, in ms: a dial and a way back over a slow network. */
  readonly neighborTimeoutMs: number
  /** Time between attempts to fill the active view, in ms; doubles while they fail, up to eight times that. */
  readonly refillMs: number
}

export const defaults: Settings = {
  active: 5,
  passive: 30,
  activeWalk: 6,
  passiveWalk: 3,
  shuffleWalk: 6,
  shuffleActive: 3,
  shufflePassive: 4,
  shuffleMs: 20_000,
  neighborTimeoutMs: 3_000,
  refillMs: 2_000
}

/** Neighbours of one's own choice that no stranger can have dropped. */
export const KEPT = 2
/** Strangers' requests for which a neighbour is dropped: so many at once, as when a mesh starts, and then one in three seconds. */
export const EVICTIONS = { perSecond: 1 / 3, burst: 10 }
/** Requests (`Join`, `Neighbor`) of one source: more come of no honest node, which asks others in between. */
export const REQUESTS = { perSecond: 0.2, burst: 5 }
/** Walks (`ForwardJoin`, `Shuffle`) that one neighbour may hand on: a starting mesh's, and then more than a steady one's. */
export const WALKS = { perSecond: 5, burst: 100 }
/** Newcomers for whom walks are begun, of all together: each costs the mesh about thirty messages. */
export const NEWCOMERS = { perSecond: 5, burst: 50 }
/** Most peers taken from one sample: those of a shuffle and its origin. */
export const MAX_SAMPLE = 8
/** How long after a shuffle its answers are taken, in ms, and how many: walks end once. */
export const ANSWER_MS = 15_000
/** A neighbour for so long is worth keeping as a contact, whatever strangers offer instead. */
export const PROVEN_MS = 60_000
/** Lost neighbours that are looked for. */
export const MAX_LOST = 8
/** For how long. */
export const LOST_MS = 180_000
/** How often one of them is tried, in ms. */
export const LOST_EVERY_MS = 3_000
/** A peer that has refused is not asked again for so long, in ms. */
export const REFUSED_MS = 15_000
/** A node without any neighbour asks the same peer so often, in ms: it has nothing better to do, and may be the cause itself. */
export const ALONE_MS = 2_000
/** Peers that walks of one neighbour may make this node dial: it could name anybody. */
export const DIALS = { perSecond: 0.5, burst: 30 }
