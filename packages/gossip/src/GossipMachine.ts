/**
 * GossipMachine: overlay, broadcast, failure detection and anti-entropy of one node as one machine.
 *
 * Its messages, timers and commands are those of its parts, told apart by `_tag`.
 */
import type * as HyParView from "./HyParView.ts"
import type * as Plumtree from "./Plumtree.ts"

/** What crosses the wire. */
export type Message = HyParView.Message | Plumtree.Message

export type Timer = HyParView.Timer | Plumtree.Timer

/** What the layer above wants. */
export type Command = HyParView.Command | Plumtree.Command

/** What the layer above hears. */
export type Told = HyParView.Told | Plumtree.Told
