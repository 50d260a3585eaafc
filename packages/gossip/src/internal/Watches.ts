/** Watches: the neighbours of a node, when each was last heard, and when it is asked. */
import type { Random } from "./Random.ts"
import { PERIOD_MS, PERIOD_SPREAD } from "../SwimTimes.ts"

interface Watched {
  heardAt: number
  /** When it is asked, unless something is heard before. */
  askAt: number
}

export class Watches {
  readonly #watched = new Map<string, Watched>()
  readonly #random: Random
  /** Not later than the time when the next neighbour is to be asked. */
  dueAt = Number.POSITIVE_INFINITY

  constructor(random: Random) {
    this.#random = random
  }

  has(peer: string): boolean {
    return this.#watched.has(peer)
  }

  peers(): Iterable<string> {
    return this.#watched.keys()
  }

  heardAt(peer: string): number {
    return this.#watched.get(peer)?.heardAt ?? Number.NEGATIVE_INFINITY
  }

  add(peer: string, now: number): void {
    if (!this.#watched.has(peer)) this.#watched.set(peer, { heardAt: now, askAt: now })
    this.seen(peer, now)
  }

  delete(peer: string): void {
    this.#watched.delete(peer)
  }

  /** A neighbour's turn to be asked is a period from now; of others nothing is noted. */
  seen(peer: string, now: number): void {
    const watched = this.#watched.get(peer)
    if (watched === undefined) return
    watched.heardAt = now
    watched.askAt = now + PERIOD_MS * (1 - PERIOD_SPREAD * this.#random.next())
    this.dueAt = Math.min(this.dueAt, watched.askAt)
  }

  /** Those to be asked now, among those of whom this holds; the others come up again with `seen`, or when `dueAt` is set. */
  due(now: number, holds: (peer: string) => boolean): ReadonlyArray<string> {
    const due: Array<string> = []
    this.dueAt = Number.POSITIVE_INFINITY
    for (const [peer, { askAt }] of this.#watched) {
      if (!holds(peer)) continue
      if (now >= askAt) due.push(peer)
      else this.dueAt = Math.min(this.dueAt, askAt)
    }
    return due
  }
}
