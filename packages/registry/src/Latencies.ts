/**
 * Latencies: how long agents took, as measured: the last `WINDOW` tasks of each agent and capability.
 *
 * Agents tell how long a task took without saying of which capability; those samples stand under `""`, and speak for every
 * capability that has none of its own. What is measured goes before what an agent says of itself.
 */

/** Samples kept of each agent and capability: as many as AgentMesh averages over. The oldest goes. */
export const WINDOW = 20
/** Longest time that is believed, in milliseconds: ten minutes, as in AgentMesh. */
export const MAX_LATENCY_MS = 600_000
/** Most capabilities of one agent that are measured: as many as an agent may have, and `""`. */
export const MAX_OF_AGENT = 65
/** Most windows of all agents, some 300 bytes each: five for each agent of a full registry. The agent longest not measured goes. */
export const MAX_WINDOWS = 500_000

/** What was measured. Milliseconds. */
export interface Measured {
  readonly mean: number
  readonly p50: number
  readonly p95: number
  readonly samples: number
}

class Window {
  readonly #values: Array<number> = []
  #next = 0
  #measured: Measured | undefined

  add(value: number): void {
    this.#values[this.#next] = value
    this.#next = (this.#next + 1) % WINDOW
    this.#measured = undefined
  }

  get measured(): Measured {
    if (this.#measured !== undefined) return this.#measured
    const sorted = this.#values.toSorted((a, b) => a - b)
    // Nearest rank: the smallest value that at least this share of the samples does not exceed.
    const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!
    const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length
    return (this.#measured = { mean, p50: at(0.5), p95: at(0.95), samples: sorted.length })
  }
}

/** How long agents took. */
export class Latencies {
  /** The agent measured last stands at the end. */
  readonly #agents = new Map<string, Map<string, Window>>()
  readonly #max: number
  #size = 0

  constructor(maxWindows: number = MAX_WINDOWS) {
    this.#max = maxWindows
  }

  /** Takes a sample in: milliseconds, bounded to `MAX_LATENCY_MS`; what is no number is passed over. */
  add(agent: string, capability: string, elapsedMs: number): void {
    if (!Number.isFinite(elapsedMs)) return
    const windows = this.#agents.get(agent) ?? new Map<string, Window>()
    this.#agents.delete(agent)
    this.#agents.set(agent, windows)
    let window = windows.get(capability)
    if (window === undefined) {
      if (windows.size >= MAX_OF_AGENT) {
        for (const oldest of windows.keys()) {
          windows.delete(oldest)
          this.#size -= 1
          break
        }
      }
      windows.set(capability, (window = new Window()))
      this.#size += 1
      this.#makeRoom(agent)
    }
    window.add(Math.min(Math.max(elapsedMs, 0), MAX_LATENCY_MS))
  }

  /** What was measured of an agent's capability; of all its tasks where nothing was of this one. */
  of(agent: string, capability: string): Measured | undefined {
    const windows = this.#agents.get(agent)
    return (windows?.get(capability) ?? windows?.get(""))?.measured
  }

  /** Whether anything was measured of an agent. */
  has(agent: string): boolean {
    return this.#agents.has(agent)
  }

  /** Everything measured of an agent, by capability. */
  all(agent: string): ReadonlyArray<Measured & { readonly capability: string }> {
    return [...(this.#agents.get(agent) ?? [])].map(([capability, { measured }]) => ({ capability, ...measured }))
  }

  /** How many windows there are. */
  get size(): number {
    return this.#size
  }

  #makeRoom(newest: string): void {
    for (const [agent, windows] of this.#agents) {
      if (this.#size <= this.#max || agent === newest) return
      this.#agents.delete(agent)
      this.#size -= windows.size
    }
  }

  clear(): void {
    this.#agents.clear()
    this.#size = 0
  }
}
