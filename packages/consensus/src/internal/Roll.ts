/**
 * The roll of an ask: who was invited, and who has spoken. A node speaks once; its first word, an answer or a failure,
 * counts.
 */
import type { NodeId } from "@parley/core/NodeId"
import type { Invited, Outcome, Status, Vote } from "@parley/core/Strategy"
import type * as Schema from "effect/Schema"

const PENDING = 0
const ANSWERED = 1
const FAILED = 2

/** Who was invited and has spoken. Nodes are known by their place among the invited. */
export class Roll {
  /** Each node once, as first invited. */
  readonly invited: ReadonlyArray<Invited>
  readonly size: number
  answered = 0
  pending: number
  readonly #places = new Map<NodeId, number>()
  readonly #state: Uint8Array

  constructor(invited: ReadonlyArray<Invited>) {
    const places = this.#places
    for (let i = 0; i < invited.length; i++) places.set(invited[i]!.node, i)
    this.invited = places.size === invited.length ? invited : this.#once(invited)
    this.size = places.size
    this.pending = this.size
    this.#state = new Uint8Array(this.size)
  }

  /** Each node as first invited, where somebody was invited twice. */
  #once(invited: ReadonlyArray<Invited>): ReadonlyArray<Invited> {
    const places = this.#places
    places.clear()
    return invited.filter(({ node }) => {
      if (places.has(node)) return false
      places.set(node, places.size)
      return true
    })
  }

  /** The place of a node that answers for the first time, or -1 when its answer does not count. */
  answer(node: NodeId): number {
    const place = this.#speak(node, ANSWERED)
    if (place >= 0) this.answered++
    return place
  }

  /** The place of a node that will not answer, or -1 when it has spoken before or was not invited. */
  failure(node: NodeId): number {
    return this.#speak(node, FAILED)
  }

  hasAnswered(place: number): boolean {
    return this.#state[place] === ANSWERED
  }

  isPending(place: number): boolean {
    return this.#state[place] === PENDING
  }

  /** Nodes at the places for which `holds`, in the order of invitation. */
  nodes(holds: (place: number) => boolean): Array<NodeId> {
    const nodes: Array<NodeId> = []
    for (let place = 0; place < this.size; place++) if (holds(place)) nodes.push(this.invited[place]!.node)
    return nodes
  }

  #speak(node: NodeId, as: number): number {
    const place = this.#places.get(node)
    if (place === undefined || this.#state[place] !== PENDING) return -1
    this.#state[place] = as
    this.pending--
    return place
  }
}

/** The smallest number of agents that is more than half of them. */
export const majorityOf = (size: number): number => Math.floor(size / 2) + 1

/** An outcome. Dissent is everyone who answered and does not stand behind the value. */
export const outcome = (
  roll: Roll,
  parts: {
    readonly status: Status
    readonly rule: string
    readonly votes: ReadonlyArray<Vote>
    /** Used when reached. */
    readonly value?: Schema.Json | undefined
    readonly confidence?: number
    readonly standsBehind?: (place: number) => boolean
  }
): Outcome => {
  const { rule, status, votes } = parts
  if (status !== "reached" || parts.value === undefined) {
    return { status, confidence: 0, rule, votes, dissent: roll.nodes((place) => roll.hasAnswered(place)) }
  }
  const standsBehind = parts.standsBehind ?? (() => true)
  return {
    status,
    value: parts.value,
    confidence: Math.min(1, parts.confidence ?? 0),
    rule,
    votes,
    dissent: roll.nodes((place) => roll.hasAnswered(place) && !standsBehind(place))
  }
}
