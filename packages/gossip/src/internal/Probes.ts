/** Probes: the members that were asked whether they live, by this node or by others for it, and have not answered yet. */

/** A question on its way. */
export interface Probe {
  readonly peer: string
  readonly seq: number
  readonly isStranger: boolean
  /** Who was asked to ask; undefined while only the subject was. */
  helpers: Set<string> | undefined
  /** Helpers who did not reach it. */
  failed: number
  due: number
}

export class Probes {
  readonly #byPeer = new Map<string, Probe>()

  get(peer: string): Probe | undefined {
    return this.#byPeer.get(peer)
  }

  has(peer: string): boolean {
    return this.#byPeer.has(peer)
  }

  add(peer: string, seq: number, isStranger: boolean, due: number): Probe {
    const probe: Probe = { peer, seq, isStranger, helpers: undefined, failed: 0, due }
    this.#byPeer.set(peer, probe)
    return probe
  }

  /** Takes it out; undefined where there is none. */
  end(peer: string): Probe | undefined {
    const probe = this.#byPeer.get(peer)
    this.#byPeer.delete(peer)
    return probe
  }

  /** Those whose time is over. */
  silent(now: number): ReadonlyArray<Probe> {
    const silent: Array<Probe> = []
    for (const probe of this.#byPeer.values()) if (now >= probe.due) silent.push(probe)
    return silent
  }

  get dueAt(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { due } of this.#byPeer.values()) next = Math.min(next, due)
    return next
  }

  postpone(until: number): void {
    for (const probe of this.#byPeer.values()) probe.due = Math.max(probe.due, until)
  }
}
