/** How often a reviewer has reported on an agent of late. */

/** Reports of one reviewer about one agent within `WINDOW_MS` (an hour), three a second: past it they are refused. */
export const REPORTS_PER_WINDOW = 10_000
export const WINDOW_MS = 3_600_000
/** Most (agent, reviewer) pairs of which reports are counted for that; the oldest window is forgotten first. */
export const MAX_WINDOWS = 65_536

export class ReportWindows {
  readonly #windows = new Map<string, { since: number; count: number }>()

  /** Counts one more; milliseconds to wait where that is too many. */
  take(reviewer: string, agent: string, now: number): number {
    const key = `${reviewer}\n${agent}`
    const window = this.#windows.get(key)
    if (window !== undefined && now >= window.since && now < window.since + WINDOW_MS) {
      if (window.count >= REPORTS_PER_WINDOW) return window.since + WINDOW_MS - now
      window.count += 1
      return 0
    }
    this.#windows.delete(key)
    this.#windows.set(key, { since: now, count: 1 })
    if (this.#windows.size > MAX_WINDOWS) {
      for (const oldest of this.#windows.keys()) {
        this.#windows.delete(oldest)
        break
      }
    }
    return 0
  }
}
