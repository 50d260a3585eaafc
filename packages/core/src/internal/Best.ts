/**
 * The best candidates seen so far, at most a given number: a heap with the worst on top.
 */
import type { Candidate } from "./Ranking.ts"
import * as VersionRange from "./VersionRange.ts"

/** By score, then NodeId, name, version (newer first), place in the record: total, and the same on every machine. */
export const compare = (a: Candidate, b: Candidate): number => {
  if (a.score !== b.score) return b.score - a.score
  const left = a.offer
  const right = b.offer
  const leftNode = left.node
  const rightNode = right.node
  if (leftNode !== rightNode) return leftNode < rightNode ? -1 : 1
  const leftName = left.definition.name
  const rightName = right.definition.name
  if (leftName !== rightName) return leftName < rightName ? -1 : 1
  const version = VersionRange.newerFirst(left.definition.version, right.definition.version)
  if (version !== 0) return version
  const { capabilities } = left.holder.record
  return capabilities.indexOf(left.capability) - capabilities.indexOf(right.capability)
}

export class Best {
  readonly #limit: number
  readonly #heap: Array<Candidate> = []

  constructor(limit: number) {
    this.#limit = limit
  }

  get isFull(): boolean {
    return this.#heap.length >= this.#limit
  }

  /** Whether a candidate that scores at most this cannot be among the best any more, once they are full. */
  isBelow(score: number): boolean {
    // The margin is for rounding: a bound is summed in another order than a score.
    return score + 1e-9 < this.#heap[0]!.score
  }

  offer(candidate: Candidate): void {
    const heap = this.#heap
    if (heap.length < this.#limit) {
      let at = heap.length
      heap.push(candidate)
      while (at > 0) {
        const parent = (at - 1) >> 1
        if (compare(heap[parent]!, candidate) >= 0) break
        heap[at] = heap[parent]!
        at = parent
      }
      heap[at] = candidate
    } else if (compare(candidate, heap[0]!) < 0) {
      let at = 0
      for (;;) {
        let child = 2 * at + 1
        if (child >= heap.length) break
        if (child + 1 < heap.length && compare(heap[child + 1]!, heap[child]!) > 0) child++
        if (compare(heap[child]!, candidate) <= 0) break
        heap[at] = heap[child]!
        at = child
      }
      heap[at] = candidate
    }
  }

  /** What was kept, best first. */
  sorted(): Array<Candidate> {
    return this.#heap.sort(compare)
  }
}
