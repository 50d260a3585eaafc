/** Guests: links to members that are no neighbours, and those among them that have refuted this node's accusations. */
import { GUEST_MS, MAX_MUTE_MS, MUTE_MS } from "../SwimTimes.ts"

export class Guests {
  /** Until when the link is kept. */
  readonly #links = new Map<string, number>()
  readonly #muted = new Map<string, { readonly until: number; readonly ms: number }>()

  /** The link is used. */
  visit(peer: string, now: number): void {
    this.#links.set(peer, now + GUEST_MS)
  }

  /** It is a neighbour now. */
  delete(peer: string): void {
    this.#links.delete(peer)
  }

  /** Takes out those whose link is not needed any more. */
  gone(now: number): ReadonlyArray<string> {
    if (this.#links.size === 0) return []
    const gone = [...this.#links].flatMap(([peer, until]) => (now >= until ? [peer] : []))
    for (const peer of gone) this.#links.delete(peer)
    return gone
  }

  get dueAt(): number {
    let next = Number.POSITIVE_INFINITY
    for (const until of this.#links.values()) next = Math.min(next, until)
    return next
  }

  /** It lives, though this node could not reach it: for a while, longer each time, this node says nothing against it. */
  mute(peer: string, now: number): void {
    const ms = Math.min((this.#muted.get(peer)?.ms ?? MUTE_MS / 2) * 2, MAX_MUTE_MS)
    this.#muted.set(peer, { until: now + ms, ms })
  }

  isMuted(peer: string, now: number): boolean {
    return (this.#muted.get(peer)?.until ?? 0) > now
  }

  forget(peer: string): void {
    this.#muted.delete(peer)
  }
}
