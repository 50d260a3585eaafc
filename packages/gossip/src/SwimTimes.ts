/**
 * The times and bounds of failure detection, each with its reason. memberlist's defaults (`DefaultLANConfig`) where they serve.
 */
/** How long a neighbour may say nothing before it is asked, in ms: memberlist's `ProbeInterval`. */
export const PERIOD_MS = 800
/**
 * Up to this part of it is left out, at random for each neighbour: the neighbours of a node do not keep step with it, so that
 * the first of them asks soon after it falls silent.
 */
export const PERIOD_SPREAD = 0.2
/** How long the answer of a neighbour may take, in ms: memberlist's `ProbeTimeout`. */
export const ACK_MS = 500
/** How long those who are asked to ask may take, in ms: the rest of memberlist's `ProbeInterval`. */
export const INDIRECT_MS = 500
/** How long one who asks for another waits, in ms; less than `INDIRECT_MS`, so that its answer is back in time. */
export const HELP_MS = 350
/** How many are asked to ask: memberlist's `IndirectChecks`. */
export const HELPERS = 3
/** Independent confirmations that shorten a suspicion to its least: memberlist's `SuspicionMult - 2`. */
export const CONFIRMATIONS = 2
/**
 * Least time to refute, in ms. memberlist waits 4 · log10(n) periods, 12 s for 1,000 members, since its news take rounds of 200 ms
 * from one random member to the next. Here they are flooded over the overlay and have reached 1,000 members in 0.4 s, so
 * that the time is left for the subject; what is left of 5 s after detection and spreading bounds it.
 */
export const SUSPICION_MIN_MS = 2_900
/** How much longer a suspicion lasts that nobody confirms: memberlist's `SuspicionMaxTimeoutMult`. */
export const SUSPICION_MAX_FACTOR = 6
/** Bound of the local health score: memberlist's `AwarenessMaxMultiplier`. Time limits of a node grow by its score. */
export const MAX_HEALTH = 8
/** How long news wait for others that go the same way, in ms. */
export const FLUSH_MS = 20
/** How often a random member is asked that is no neighbour, in ms: finds those whose neighbours died with them. */
export const STRANGER_MS = 10_000
/** How long its answer may take, in ms: a connection is made first. */
export const STRANGER_ACK_MS = 1_500
/** How often a random dead member is asked, in ms, in a mesh of up to 16; grows with the logarithm of its size. */
export const RETRY_MS = 3_000
/** How long a link to a member that is no neighbour is kept after use, in ms: an exchange of anti-entropy takes it as well. */
export const GUEST_MS = 5_000
/** A node whose timer comes so late was asleep itself, in ms: it judges nobody by what it did not hear meanwhile. */
export const STALL_MS = 250
/** How long it then gives what waits in its queues, in ms. */
export const GRACE_MS = 500
/** How long own evidence that a member does not answer confirms the accusation of another, in ms. */
export const EVIDENCE_MS = 5_000
/** A neighbour heard so lately is not declared dead here, whoever accuses it, in ms. */
export const FIRST_HAND_MS = 1_500
/** Least time between two refutations, in ms: accusations in between share the second. */
export const REFUTE_MS = 500
/** How long the dead and those who left are remembered, in ms. */
export const FORGET_MS = 600_000
/** Members known: past it new ones are not taken in. A member takes some 300 bytes. */
export const MAX_MEMBERS = 16_384
/** Accusations by one accuser that count: a burst for a partition that takes all its neighbours, … */
export const ACCUSER_BURST = 16
/** … and so many a second after it: so often can a liar make others refute. */
export const ACCUSER_PER_SECOND = 0.2
/** Statements of one subject about itself that count at once, … */
export const SUBJECT_BURST = 10
/** … and a second: as many as it may refute. */
export const SUBJECT_PER_SECOND = 2
/** Members asked at a time for others; past it a request gets no answer. */
export const MAX_HELPING = 64
/** How long a node accuses no more a member that is no neighbour, after that has refuted it, in ms: doubles each time. */
export const MUTE_MS = 10_000
/** Longest of these, in ms. */
export const MAX_MUTE_MS = 3_600_000
/** Statements of one message: some 50 KiB. */
export const MAX_NEWS = 256
/** Statements that come with a question or an answer. */
export const MAX_ABOUT = 4
/** Who may wait for the answer of one member that is asked for others; past it a request gets no answer. */
export const MAX_ASKING = 16
