/**
 * Suspicion: a member is accused, and has a time to refute. The more independent accusers, the shorter it is.
 */
import { CONFIRMATIONS, SUSPICION_MAX_FACTOR, SUSPICION_MIN_MS } from "../SwimTimes.ts"
import type { Accusation } from "../Swim.ts"

/** How long the subject may take to refute, in ms, after so many confirmations out of those that can be expected (Lifeguard, section IV-B). */
export const timeout = (confirmations: number, expected: number): number => {
  if (expected < 1) return SUSPICION_MIN_MS
  const most = SUSPICION_MIN_MS * SUSPICION_MAX_FACTOR
  const share = Math.log(confirmations + 1) / Math.log(expected + 1)
  return Math.max(SUSPICION_MIN_MS, most - share * (most - SUSPICION_MIN_MS))
}

/** A member that is accused, or dead. */
export class Suspicion {
  readonly subject: string
  readonly incarnation: number
  readonly startedAt: number
  /** When it is over, unless it is refuted. */
  deadline: number
  #notBefore = 0
  /** When it was; undefined while it may still be refuted. */
  deadAt: number | undefined
  /** When the subject was last told directly. */
  toldAt = Number.NEGATIVE_INFINITY
  readonly #accusations: Array<Accusation> = []
  readonly #expected: number

  /** `members`: how many live, the node itself and the subject among them. */
  constructor(first: Accusation, now: number, members: number) {
    this.subject = first.subject
    this.incarnation = first.incarnation
    this.startedAt = now
    this.#expected = Math.min(CONFIRMATIONS, members - 2)
    this.#accusations.push(first)
    this.deadline = now + timeout(0, this.#expected)
  }

  /** The first accusation: the one that is passed on to those who missed all. */
  get first(): Accusation {
    return this.#accusations[0]!
  }

  /** Whether one more accuser would change something. */
  wants(accuser: string): boolean {
    return (
      this.deadAt === undefined &&
      this.#accusations.length <= CONFIRMATIONS &&
      this.#accusations.every((accusation) => accusation.accuser !== accuser)
    )
  }

  /** Whether this node is among the accusers. */
  accused(by: string): boolean {
    return this.#accusations.some(({ accuser }) => accuser === by)
  }

  /** Whatever is confirmed, it is not over before then: this node has not yet read what was said meanwhile. */
  postpone(until: number): void {
    this.#notBefore = Math.max(this.#notBefore, until)
    this.deadline = Math.max(this.deadline, until)
  }

  confirm(accusation: Accusation): void {
    this.#accusations.push(accusation)
    const confirmations = Math.min(this.#accusations.length - 1, Math.max(0, this.#expected))
    const sooner = Math.min(this.deadline, this.startedAt + timeout(confirmations, this.#expected))
    this.deadline = Math.max(sooner, this.#notBefore)
  }
}
