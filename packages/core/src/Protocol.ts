/**
 * Protocol numbers: what a stream is for, said in its first frame.
 *
 * 0 to 127 are Parley's; 128 to 255 are free for plugins, which register theirs with `Connections.handle`.
 */

/** A task and its answer. */
export const CALL = 1
/** Exchange of agent records and queries across the mesh. */
export const RECORDS = 2
/** Topic subscriptions. */
export const TOPICS = 3
/** Registration and look-up at a tracker. */
export const TRACKER = 4
/** Relay control: reserve a slot, connect through. */
export const RELAY = 5
/** A relay circuit, opened by the relay to the node that reserved a slot. */
export const CIRCUIT = 6
/** Overlay, broadcast and failure detection among nodes. */
export const GOSSIP = 7
/** Two nodes on a relayed connection agree on a direct one. */
export const PUNCH = 8
/** Members of a network with a root: who is let in, and whom the root has put out. */
export const MEMBERS = 9
/** First number that is free for plugins. */
export const FIRST_PLUGIN = 128
