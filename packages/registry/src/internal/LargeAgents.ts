/** Agents that are larger than ordinary ones, and by how many bytes together. */

/** Something that has so many bytes beyond what is ordinary; 0 for most. */
export interface Sized {
  readonly large: number
}

/** Those who have any. */
export class LargeAgents<A extends Sized> {
  readonly #agents: Array<A> = []
  readonly #places = new Map<A, number>()
  /** By how many bytes they are larger, together. */
  bytes = 0

  add(agent: A): void {
    if (agent.large === 0 || this.#places.has(agent)) return
    this.#places.set(agent, this.#agents.length)
    this.#agents.push(agent)
    this.bytes += agent.large
  }

  delete(agent: A): void {
    const place = this.#places.get(agent)
    if (place === undefined) return
    this.#places.delete(agent)
    this.bytes -= agent.large
    // The last one takes its place.
    const last = this.#agents.pop()!
    if (last === agent) return
    this.#agents[place] = last
    this.#places.set(last, place)
  }

  /** So many of them, each once: all where there are no more, else those that follow a random one. */
  some(count: number): ReadonlyArray<A> {
    const from = Math.floor(Math.random() * this.#agents.length)
    const most = Math.min(count, this.#agents.length)
    return Array.from({ length: most }, (_, at) => this.#agents[(from + at) % this.#agents.length]!)
  }

  clear(): void {
    this.#agents.length = 0
    this.#places.clear()
    this.bytes = 0
  }
}
