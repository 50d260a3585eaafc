/** Contacts: the passive view, which no single source can fill, and which keeps some who have proven themselves. */
import type { Random } from "./Random.ts"

/** Entries that one source may have brought: a quarter of the view. */
export const MAX_PER_SOURCE = 8
/** Contacts kept whatever others offer, since they were neighbours for long. */
export const MAX_PROVEN = 10

interface Contact {
  /** Who told of it; empty for this node's own discovery. */
  readonly source: string
  readonly proven: boolean
  /** When it refused last, or could not be reached. */
  refusedAt: number
}

/** Peers that may become neighbours. */
export class Contacts {
  readonly #contacts = new Map<string, Contact>()
  readonly #most: number
  readonly #random: Random

  constructor(most: number, random: Random) {
    this.#most = most
    this.#random = random
  }

  get size(): number {
    return this.#contacts.size
  }

  has(peer: string): boolean {
    return this.#contacts.has(peer)
  }

  all(): Array<string> {
    return [...this.#contacts.keys()]
  }

  /** Takes one in, in the place of another where there is none left. */
  add(peer: string, source: string, proven: boolean): void {
    const known = this.#contacts.get(peer)
    if (known !== undefined && (known.proven || !proven)) return
    this.#contacts.delete(peer)
    this.#makeRoom(source, proven)
    this.#contacts.set(peer, { source, proven, refusedAt: -Infinity })
  }

  delete(peer: string): void {
    this.#contacts.delete(peer)
  }

  /** It said no, or could not be reached. */
  refused(peer: string, now: number): void {
    const contact = this.#contacts.get(peer)
    if (contact !== undefined) contact.refusedAt = now
  }

  /** Those who have not refused within so many ms. */
  willing(now: number, pauseMs: number): Array<string> {
    const found: Array<string> = []
    for (const [peer, { refusedAt }] of this.#contacts) if (now - refusedAt >= pauseMs) found.push(peer)
    return found
  }

  /** Some of them, at random, without one. */
  sample(count: number, but: string): Array<string> {
    const peers: Array<string> = []
    for (const peer of this.#contacts.keys()) if (peer !== but) peers.push(peer)
    return this.#random.sample(peers, count)
  }

  /** Drops one of the same source where that has its share, else one that is not proven. */
  #makeRoom(source: string, proven: boolean): void {
    const ofSource: Array<string> = []
    const others: Array<string> = []
    const kept: Array<string> = []
    for (const [peer, contact] of this.#contacts) {
      if (contact.proven) kept.push(peer)
      else if (source !== "" && contact.source === source) ofSource.push(peer)
      else others.push(peer)
    }
    if (proven && kept.length >= MAX_PROVEN) return this.#drop(kept)
    if (!proven && ofSource.length >= MAX_PER_SOURCE) return this.#drop(ofSource)
    if (this.#contacts.size >= this.#most)
      this.#drop(others.length > 0 ? others : ofSource.length > 0 ? ofSource : kept)
  }

  #drop(among: ReadonlyArray<string>): void {
    const one = this.#random.pick(among)
    if (one !== undefined) this.#contacts.delete(one)
  }
}
