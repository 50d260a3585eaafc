/** Own: what a node says of itself, and when it may say it anew. */
import type { Accusation, Alive, Terms } from "../Swim.ts"
import { REFUTE_MS } from "../SwimTimes.ts"

const unsigned = new Uint8Array(0)

export class Own {
  readonly #terms: Terms
  #refutedAt = Number.NEGATIVE_INFINITY
  #said: Alive
  /** When the refutation is due that shares what came too soon after the last. */
  refuteAt = Number.POSITIVE_INFINITY

  constructor(terms: Terms) {
    this.#terms = terms
    this.#said = this.#say(terms.incarnation, false)
  }

  get said(): Alive {
    return this.#said
  }

  get hasLeft(): boolean {
    return this.#said.left
  }

  /** Goes on from what this node said in an earlier life. */
  take(earlier: Alive): void {
    this.#said = this.#say(earlier.incarnation, false)
  }

  leave(): void {
    this.#said = this.#say(this.#said.incarnation, true)
  }

  /** Whether a refutation may be made now; if not, it is due in time. */
  mayRefute(now: number): boolean {
    const soonest = this.#refutedAt + REFUTE_MS
    if (now >= soonest) return true
    this.refuteAt = Math.min(this.refuteAt, soonest)
    return false
  }

  refute(now: number): void {
    this.#refutedAt = now
    this.refuteAt = Number.POSITIVE_INFINITY
    this.#said = this.#say(this.#said.incarnation + 1, false)
  }

  accuse({ incarnation, subject }: Alive): Accusation {
    const said: Accusation = {
      _tag: "Accusation",
      subject,
      incarnation,
      accuser: this.#terms.self,
      evidence: unsigned
    }
    return { ...said, evidence: this.#terms.sign(said) }
  }

  #say(incarnation: number, left: boolean): Alive {
    const said: Alive = { _tag: "Alive", subject: this.#terms.self, incarnation, left, evidence: unsigned }
    return { ...said, evidence: this.#terms.sign(said) }
  }
}
