/**
 * How a node speaks of itself by multicast DNS, and understands others: in clear (`PlainDialect`), or so that only members of its network
 * understand it (`BlindDialect`).
 */
import type { Found } from "@parley/core/Discovery"
import type { Answer, Question } from "dns-packet"
import type { Endpoint } from "./DnsSd.ts"

/** A packet as the DNS decoder gives it; nothing in it is taken for granted. */
export interface Heard {
  readonly answers?: unknown
  readonly additionals?: unknown
}

/** A question as it came. */
export interface Asked {
  readonly questions?: ReadonlyArray<{ readonly name: string; readonly type: string }> | undefined
  readonly answers?: ReadonlyArray<Answer> | undefined
}

/** What followed from a packet. */
export interface Learned {
  readonly found: ReadonlyArray<Found>
  /** What to ask for, to know the rest. */
  readonly missing: ReadonlyArray<Question>
  /** It was understood: whoever sent it speaks for somebody of ours. */
  readonly sound: boolean
}

/** What is wanted of a node: its own records, and the answer to which services there are. */
export interface Wanted {
  readonly own: boolean
  readonly services: boolean
}

/** One way to speak. None of these throws, whatever was heard. */
export interface Dialect {
  /** Resolvers that are no nodes are answered, too. */
  readonly answersResolvers: boolean
  /** The question for everybody, with the answers known already. */
  readonly question: (now: number) => { readonly questions: Array<Question>; readonly answers: Array<Answer> }
  /** What a question wants of this node. */
  readonly wanted: (asked: Asked, now: number) => Wanted
  /** The asker has this node's answer already. */
  readonly isKnown: (asked: Asked) => boolean
  /** Where the node is; with `ttl` 0, that it goes. */
  readonly answer: (
    wanted: Wanted,
    endpoint: Endpoint | undefined,
    say: { readonly ttl: number; readonly flush: boolean; readonly now: number }
  ) => { readonly answers: Array<Answer>; readonly additionals: Array<Answer> }
  /** Takes in a packet. `sameHost`: it was sent from an address of this machine. */
  readonly ingest: (packet: Heard, now: number, sameHost: boolean, from: string) => Learned
  /** Forgets what nobody has repeated in time, and tells who is gone. */
  readonly expire: (now: number) => ReadonlyArray<Found>
  /** Every node known well enough to dial. */
  readonly known: () => ReadonlyArray<Found>
  /** Changes when the node goes by another name, and has to say so. */
  readonly turn: (now: number) => number
}
