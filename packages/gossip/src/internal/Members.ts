/** Members: what each member last said of itself, whose turn it is to be asked, and who has ended: dead or gone. */
import type { Alive } from "../Swim.ts"
import type { Random } from "./Random.ts"

export class Members {
  readonly #said = new Map<string, Alive>()
  /** In random order, so that every member's turn comes within a bounded time (SWIM, section 4.3). May name some that are forgotten. */
  readonly #round: Array<string> = []
  #at = 0
  /** When they ended. */
  readonly #ended = new Map<string, number>()
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  get size(): number {
    return this.#said.size
  }

  /** How many have not ended. */
  get living(): number {
    return this.#said.size - this.#ended.size
  }

  get(peer: string): Alive | undefined {
    return this.#said.get(peer)
  }

  /** Takes what a member says of itself: it has not ended, as far as it says. */
  set(alive: Alive): void {
    const { subject } = alive
    if (!this.#said.has(subject)) {
      const at = this.#random.int(this.#round.length + 1)
      this.#round.push(this.#round[at] ?? subject)
      this.#round[at] = subject
    }
    this.#said.set(subject, alive)
    this.#ended.delete(subject)
  }

  end(peer: string, now: number): void {
    this.#ended.set(peer, now)
  }

  delete(peer: string): void {
    this.#said.delete(peer)
    this.#ended.delete(peer)
  }

  /** Those who ended so early. */
  ended(before: number): ReadonlyArray<string> {
    const long: Array<string> = []
    for (const [peer, at] of this.#ended) if (at <= before) long.push(peer)
    return long
  }

  /** One who has ended, and of whom this holds, at random. */
  anyEnded(holds: (peer: string) => boolean): string | undefined {
    return this.#random.pick([...this.#ended.keys()].filter(holds))
  }

  /** The next member whose turn it is, and of whom this holds. */
  next(holds: (peer: string) => boolean): string | undefined {
    for (let looked = 0, most = this.#round.length; looked < most; looked++) {
      if (this.#at >= this.#round.length) this.#shuffle()
      const peer = this.#round[this.#at++]
      if (peer !== undefined && this.#said.has(peer) && holds(peer)) return peer
    }
    return undefined
  }

  #shuffle(): void {
    this.#at = 0
    // A member that was forgotten and came back stands here twice.
    const round = [...new Set(this.#round)].filter((peer) => this.#said.has(peer))
    for (let i = round.length - 1; i > 0; i--) {
      const j = this.#random.int(i + 1)
      const peer = round[i]!
      round[i] = round[j]!
      round[j] = peer
    }
    this.#round.length = 0
    for (const peer of round) this.#round.push(peer)
  }
}
