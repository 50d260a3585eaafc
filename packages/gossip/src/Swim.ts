/**
 * Swim: who of the mesh lives. Neighbours in the overlay watch each other, ask others before they accuse, and all members hear of an
 * accusation and of its refutation.
 *
 * Sources: A. Das, I. Gupta, A. Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol",
 * DSN 2002; A. Dadgar, J. Phillips, J. Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2018.
 */
import type { Machine } from "@parley/core/Machine"
import { Detector } from "./internal/Detector.ts"

/** What a node says of itself, under its own signature. The higher incarnation counts; of one incarnation, that it left. */
export interface Alive {
  readonly _tag: "Alive"
  readonly subject: string
  /** Counted up by the subject alone, whenever it refutes; it starts with the time of the node's start, in ms since 1970. */
  readonly incarnation: number
  /** It leaves the mesh. */
  readonly left: boolean
  /** The subject's signature. */
  readonly evidence: Uint8Array
}

/** A node says that another did not answer, under its signature. It ends with the subject's next incarnation. */
export interface Accusation {
  readonly _tag: "Accusation"
  readonly subject: string
  /** The subject's, as it was when it did not answer. */
  readonly incarnation: number
  readonly accuser: string
  /** The accuser's signature. */
  readonly evidence: Uint8Array
}

export type Statement = Alive | Accusation

/** What nodes say to each other. */
export type Message =
  /** Are you there? What is said of you comes along, so that you can refute it. `seq` comes back. */
  | { readonly _tag: "Ping"; readonly seq: number; readonly about: ReadonlyArray<Statement> }
  /** I am, and this I say of myself, where you had heard otherwise. */
  | { readonly _tag: "Ack"; readonly seq: number; readonly about: ReadonlyArray<Statement> }
  /** Ask the subject for me. */
  | { readonly _tag: "PingRequest"; readonly seq: number; readonly subject: string }
  /** It answered me, or did not, which shows at least that you and I hear each other. */
  | { readonly _tag: "PingResult"; readonly seq: number; readonly subject: string; readonly reached: boolean }
  /** Statements that the sender has just learned. */
  | { readonly _tag: "News"; readonly statements: ReadonlyArray<Statement> }

/** The one timer: something is due at this time. */
export type Timer = { readonly _tag: "SwimWake"; readonly at: number }

/** What the layer above wants. The composite gives `LinkDown` to this machine before it gives it to the overlay. */
export type Command =
  /** Goes to work, and says so to whoever becomes a neighbour. */
  | { readonly _tag: "SwimStart" }
  /** The peer is a neighbour in the overlay now, or no more: it is watched, and news go to it. */
  | { readonly _tag: "Watch"; readonly peer: string; readonly watched: boolean }
  /** Statements that came another way: by anti-entropy. */
  | { readonly _tag: "Hear"; readonly statements: ReadonlyArray<Statement>; readonly from: string }
  /** Says that this node leaves. */
  | { readonly _tag: "SwimLeave" }

/** What the layer above hears. */
export type Told =
  /** A member is there: new, or again after it was held for dead or gone. */
  | { readonly _tag: "MemberUp"; readonly peer: string }
  /** Somebody accuses it; it may still refute. */
  | { readonly _tag: "MemberSuspect"; readonly peer: string }
  /** Nothing came of it in time. A hint about liveness, and no reason to drop what the member signed. */
  | { readonly _tag: "MemberDown"; readonly peer: string }
  /** It said itself that it leaves. */
  | { readonly _tag: "MemberLeft"; readonly peer: string }
  /** A member that is no neighbour answers: a partner for anti-entropy. `returned`: it was held for dead, so that the overlay may want it as a contact. */
  | { readonly _tag: "Met"; readonly peer: string; readonly returned: boolean }
  /** For anti-entropy: hold this statement under the key, in place of what is there. */
  | { readonly _tag: "Hold"; readonly key: string; readonly version: number; readonly statement: Statement }
  /** For anti-entropy: hold nothing under the key any more. */
  | { readonly _tag: "Release"; readonly key: string }
  /** For anti-entropy: this version under the key is of no use here; do not ask for it again. */
  | { readonly _tag: "Pass"; readonly key: string; readonly version: number }

/** What a node's machine is given. */
export interface Terms {
  readonly self: string
  /** Higher than in any earlier life: the time, in ms since 1970. */
  readonly incarnation: number
  readonly seed: number
  /** The node's signature under a statement of its own. Pure. */
  readonly sign: (statement: Statement) => Uint8Array
  /** Whether the evidence is the signature of the subject (`Alive`) or the accuser (`Accusation`). Pure; asked only of what would change something. */
  readonly verify: (statement: Statement) => boolean
}

/** A node's failure detector. */
export type State = Detector

/** A fresh node, which does nothing before `SwimStart`. */
export const make = (terms: Terms): State => new Detector(terms)

export const machine: Machine<State, Message, Timer, Command, Told> = {
  step: (state, event) => [state, state.step(event)]
}
