/**
 * HyParView: whom a node is connected to. Each node keeps a small symmetric active view, over which broadcast runs, and a larger
 * passive view of peers that take the place of those who fail.
 *
 * Source: J. Leitão, J. Pereira, L. Rodrigues, "HyParView: a membership protocol for reliable gossip-based broadcast", DSN 2007.
 */

/** What nodes say to each other. Peers are NodeIds; the driver's codec carries the addresses it knows of those a message names. */
export type Message =
  /** A new node to its contact: take me in, and tell others. */
  | { readonly _tag: "Join" }
  /** A new node, on a random walk of so many more hops. */
  | { readonly _tag: "ForwardJoin"; readonly peer: string; readonly ttl: number }
  /** Let us be neighbours. `high`: the sender has none. */
  | { readonly _tag: "Neighbor"; readonly priority: "high" | "low" }
  /** The answer to `Join` and `Neighbor`. */
  | { readonly _tag: "NeighborReply"; readonly accepted: boolean }
  /** We are no neighbours any more. `leaving`: the sender leaves the mesh, and is no contact either. */
  | { readonly _tag: "Disconnect"; readonly leaving: boolean }
  /** A sample of the views of `origin`, on a random walk of so many more hops. */
  | { readonly _tag: "Shuffle"; readonly origin: string; readonly ttl: number; readonly peers: ReadonlyArray<string> }
  /** A sample in exchange, straight to the origin of the shuffle. */
  | { readonly _tag: "ShuffleReply"; readonly peers: ReadonlyArray<string> }

export type Timer =
  /** Time for a shuffle, and to look after the active view. */
  | { readonly _tag: "Shuffle" }
  /** Look for neighbours where there are too few. */
  | { readonly _tag: "Refill" }
  /** A peer that was asked to be a neighbour has not answered. `request` tells it from an earlier one. */
  | { readonly _tag: "NeighborTimeout"; readonly peer: string; readonly request: number }

export type Command =
  /** Goes to work with these contacts, or hears of more: whoever a discovery has found. Safe to repeat. */
  | { readonly _tag: "Join"; readonly contacts: ReadonlyArray<string> }
  /** Says goodbye to the neighbours. */
  | { readonly _tag: "Leave" }
  /** The peer is dead, as failure detection says: it is no neighbour and no contact. */
  | { readonly _tag: "Forget"; readonly peer: string }

export type Told =
  /** The peer is a neighbour: a link stands, and it agrees. */
  | { readonly _tag: "NeighborUp"; readonly peer: string }
  /** It is none any more. */
  | { readonly _tag: "NeighborDown"; readonly peer: string }
