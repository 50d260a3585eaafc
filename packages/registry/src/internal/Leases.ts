/**
 * Leases of agents, in plain code: opened, renewed, ended, and expired by a wheel of ticks.
 *
 * A renewal writes one number. A lease stands in the tick in which it was last seen to expire; when that tick comes and the lease
 * was renewed meanwhile, it moves to its new tick. So each lease is visited once per lease time, however often it is renewed.
 */

/** How exact expiry is, in milliseconds: a lease ends within one tick after its time. */
export const TICK_MS = 250
/** Most leases of one agent: more connections than one agent has a use for. One more ends the oldest. */
export const MAX_LEASES_OF_AGENT = 32
/** Most tasks that one lease counts, as many as a manifest's `max_concurrent_tasks`: an agent that has more is full anyway. */
export const MAX_TASKS_OF_LEASE = 10_000
/** Most agents that are away and whose last heartbeat is still known: as many as a registry of full size has. */
export const MAX_REMEMBERED = 100_000

/** One lease. `expiresAt` is on the monotonic clock. */
export interface Held {
  readonly agent: string
  readonly leaseMs: number
  readonly tasks: Set<string>
  expiresAt: number
  /** `silent`: it expired, and lives again when it is renewed. `over`: it was ended for good. */
  state: "alive" | "silent" | "over"
}

interface Entry {
  readonly leases: Set<Held>
  lastHeartbeat: number
  running: number
}

/** What happens to agents: told synchronously. `touched`: its heartbeat or load changed. */
export interface Listener {
  readonly came: (agent: string, why: string) => void
  readonly went: (agent: string, why: string) => void
  readonly touched: (agent: string) => void
}

/** What is known of an agent here. */
export interface Known {
  readonly online: boolean
  readonly lastHeartbeat: number
  readonly running: number
}

const UNKNOWN: Known = { online: false, lastHeartbeat: 0, running: 0 }

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`

/** The leases of one process. Times are given: `now` monotonic, `wall` since the epoch, in milliseconds. */
export class Leases {
  readonly #present = new Map<string, Entry>()
  /** Agents that are away, the one longest away first. */
  readonly #away = new Map<string, number>()
  readonly #wheel = new Map<number, Set<Held>>()
  readonly #listener: Listener
  #tick: number | undefined

  constructor(listener: Listener) {
    this.#listener = listener
  }

  /** How many agents are online. */
  get online(): number {
    return this.#present.size
  }

  /** Whether there is a lease that can expire. */
  get waiting(): boolean {
    return this.#wheel.size > 0
  }

  agents(): Iterable<string> {
    return this.#present.keys()
  }

  view(agent: string): Known {
    const entry = this.#present.get(agent)
    if (entry !== undefined) return { online: true, lastHeartbeat: entry.lastHeartbeat, running: entry.running }
    const last = this.#away.get(agent)
    return last === undefined ? UNKNOWN : { online: false, lastHeartbeat: last, running: 0 }
  }

  open(agent: string, leaseMs: number, now: number, wall: number): Held {
    const held: Held = { agent, leaseMs, tasks: new Set(), expiresAt: now + leaseMs, state: "alive" }
    this.#enter(held, now, wall)
    return held
  }

  renew(held: Held, now: number, wall: number): void {
    if (held.state === "over") return
    held.expiresAt = now + held.leaseMs
    if (held.state === "silent") {
      held.state = "alive"
      return this.#enter(held, now, wall)
    }
    this.#present.get(held.agent)!.lastHeartbeat = wall
    this.#listener.touched(held.agent)
  }

  started(held: Held, task: string): void {
    if (held.state !== "alive" || held.tasks.size >= MAX_TASKS_OF_LEASE || held.tasks.has(task)) return
    held.tasks.add(task)
    this.#present.get(held.agent)!.running++
    this.#listener.touched(held.agent)
  }

  ended(held: Held, task: string): void {
    if (held.state !== "alive" || !held.tasks.delete(task)) return
    this.#present.get(held.agent)!.running--
    this.#listener.touched(held.agent)
  }

  end(held: Held, why: string): void {
    const alive = held.state === "alive"
    held.state = "over"
    if (alive) this.#leave(held, why)
  }

  /** Ends all leases of an agent, and forgets when it was last seen. */
  drop(agent: string, why: string): void {
    for (const held of [...(this.#present.get(agent)?.leases ?? [])]) this.end(held, why)
    this.#away.delete(agent)
  }

  /** Expires what was not renewed in time. */
  advance(now: number): void {
    const tick = Math.floor(now / TICK_MS)
    const from = this.#tick ?? tick
    this.#tick = tick
    // After a long sleep of the machine there are more ticks than leases' places.
    if (tick - from > this.#wheel.size) {
      for (const at of [...this.#wheel.keys()]) if (at < tick) this.#expire(at, now)
    } else for (let at = from; at < tick; at++) this.#expire(at, now)
  }

  #expire(at: number, now: number): void {
    const slot = this.#wheel.get(at)
    if (slot === undefined) return
    this.#wheel.delete(at)
    for (const held of slot) {
      if (held.state !== "alive") continue
      if (held.expiresAt > now) {
        this.#place(held)
        continue
      }
      held.state = "silent"
      this.#leave(held, `no heartbeat for ${seconds(held.leaseMs)}`)
    }
  }

  #place(held: Held): void {
    const at = Math.floor(held.expiresAt / TICK_MS)
    const slot = this.#wheel.get(at)
    if (slot === undefined) this.#wheel.set(at, new Set([held]))
    else slot.add(held)
  }

  #enter(held: Held, now: number, wall: number): void {
    this.#tick ??= Math.floor(now / TICK_MS)
    this.#place(held)
    const entry = this.#present.get(held.agent)
    if (entry !== undefined) {
      entry.leases.add(held)
      entry.lastHeartbeat = wall
      if (entry.leases.size > MAX_LEASES_OF_AGENT) {
        const [oldest] = entry.leases
        this.end(oldest!, "too many connections")
      }
      return this.#listener.touched(held.agent)
    }
    this.#away.delete(held.agent)
    this.#present.set(held.agent, { leases: new Set([held]), lastHeartbeat: wall, running: 0 })
    this.#listener.came(held.agent, "lease opened")
  }

  #leave(held: Held, why: string): void {
    const entry = this.#present.get(held.agent)!
    entry.leases.delete(held)
    entry.running -= held.tasks.size
    held.tasks.clear()
    if (entry.leases.size > 0) return this.#listener.touched(held.agent)
    this.#present.delete(held.agent)
    this.#away.set(held.agent, entry.lastHeartbeat)
    if (this.#away.size > MAX_REMEMBERED) {
      const [longest] = this.#away.keys()
      this.#away.delete(longest!)
    }
    this.#listener.went(held.agent, why)
  }
}
