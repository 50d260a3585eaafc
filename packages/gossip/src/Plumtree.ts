/**
 * Plumtree: carries a message to every node over a tree that grows out of the overlay, and mends it with the overlay's other links.
 *
 * Payloads go to eager neighbours, and only their ids to lazy ones. Who hears of an id and misses its payload asks for it (GRAFT), which
 * makes the link eager; who gets a payload twice says so (PRUNE), which makes it lazy.
 *
 * The machine believes what reaches it: the driver checks a payload's signature and that its id is its hash before the event.
 *
 * Source: J. Leitão, J. Pereira, L. Rodrigues, "Epidemic Broadcast Trees", SRDS 2007.
 */

/** A message that is carried: its id is a hash of what its origin signed, so that nobody can take an id with other content. */
export interface Carried {
  readonly id: string
  /** Who published it, by its own signature. */
  readonly origin: string
  /** As it crosses the wire, signature and all; opaque here. */
  readonly payload: Uint8Array
}

export type Message =
  /** The payload. `round`: hops from its origin. */
  | {
      readonly _tag: "Gossip"
      readonly id: string
      readonly origin: string
      readonly round: number
      readonly payload: Uint8Array
    }
  /** The sender has these, should you miss one: pairs of id and round. */
  | { readonly _tag: "IHave"; readonly have: ReadonlyArray<{ readonly id: string; readonly round: number }> }
  /** Make our link eager, and send me this one, where one is named. */
  | { readonly _tag: "Graft"; readonly id: string | undefined }
  /** Make our link lazy: what you send, I have already. */
  | { readonly _tag: "Prune" }

export type Timer =
  /** Ids wait to be sent to lazy neighbours. */
  | { readonly _tag: "LazyPush" }
  /** The payload of this id should have come by now. */
  | { readonly _tag: "Missing"; readonly id: string }
  /** Time to forget what is old. */
  | { readonly _tag: "Expire" }

export type Command = { readonly _tag: "Publish"; readonly id: string; readonly payload: Uint8Array }

export type Told =
  /** A message that has not been told before, `from` the neighbour who brought it. Own messages are not told. */
  | {
      readonly _tag: "Deliver"
      readonly id: string
      readonly origin: string
      readonly payload: Uint8Array
      readonly from: string
      readonly round: number
    }
