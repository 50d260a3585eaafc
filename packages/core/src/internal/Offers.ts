/**
 * What a node serves, by `name@version`, and by the ranges that callers ask for.
 */
import { bestInRange, type Served } from "./Served.ts"

/** Ranges of strangers whose best match is remembered; all are forgotten beyond it. */
const MAX_RANGES = 256

/** What a node serves. */
export class Offers {
  readonly #served = new Map<string, Served>()
  readonly #ranges = new Map<string, Served | undefined>()

  /** Whether it was not there yet. */
  add(served: Served): boolean {
    if (this.#served.has(served.capability.id)) return false
    this.#served.set(served.capability.id, served)
    this.#ranges.clear()
    return true
  }

  remove(served: Served): void {
    this.#served.delete(served.capability.id)
    this.#ranges.clear()
  }

  /** Exactly this one. */
  get(id: string): Served | undefined {
    return this.#served.get(id)
  }

  /** This one, or the newest of a range. */
  find(id: string): Served | undefined {
    const exact = this.#served.get(id)
    if (exact !== undefined) return exact
    if (this.#ranges.has(id)) return this.#ranges.get(id)
    const best = bestInRange(id, this.#served.values())
    if (this.#ranges.size >= MAX_RANGES) this.#ranges.clear()
    this.#ranges.set(id, best)
    return best
  }

  ids(): ReadonlyArray<string> {
    return [...this.#served.keys()]
  }
  list(): ReadonlyArray<Served> {
    return [...this.#served.values()]
  }
}
