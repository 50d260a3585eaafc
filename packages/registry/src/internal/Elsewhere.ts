/**
 * What other instances say about who is there, in plain code: one replica per instance, kept up by its messages.
 *
 * A message carries a number that counts up by one per instance; a hole in it means that something was missed, and the replica is
 * read anew. An instance that is not heard of for its lease is not believed any longer.
 */
import type { Known } from "./Leases.ts"

/** One agent's state at an instance: when it was last heard of, and how many tasks it runs. */
export type Held = readonly [lastHeartbeat: number, running: number]

/**
 * What instances publish. `s`: number of the message. `a`: agents that changed, without a state where they went. `x`: the instance is
 * gone. `b`: it stops, and is to be taken for dead now. `d`: this agent is deregistered.
 */
export interface Message {
  readonly i: string
  readonly s?: number
  readonly a?: ReadonlyArray<readonly [agent: string, lastHeartbeat?: number, running?: number]>
  readonly x?: 1
  readonly b?: 1
  readonly d?: string
}

interface Replica {
  seq: number
  heardAt: number
  readonly agents: Map<string, Held>
}

/** A state as it stands in Redis. */
export const encodeHeld = (known: Known): string => `${known.lastHeartbeat},${known.running}`
const decodeHeld = (text: string): Held => {
  const comma = text.indexOf(",")
  return [Number(text.slice(0, comma)), Number(text.slice(comma + 1))]
}

/** Reads a message; `undefined` where it is none of ours. */
export const decodeMessage = (text: string): Message | undefined => {
  try {
    const value: Message = JSON.parse(text)
    return typeof value === "object" && value !== null && typeof value.i === "string" ? value : undefined
  } catch {
    return undefined
  }
}

/** Who is there, as other instances say. */
export class Elsewhere {
  readonly #replicas = new Map<string, Replica>()
  /** How many instances hold an agent. */
  readonly #holders = new Map<string, number>()
  readonly #came: (agent: string) => void

  /** `came` is told of each agent that was nowhere before. */
  constructor(came: (agent: string) => void = () => undefined) {
    this.#came = came
  }

  get agents(): Iterable<string> {
    return this.#holders.keys()
  }

  get size(): number {
    return this.#holders.size
  }

  has(agent: string): boolean {
    return this.#holders.has(agent)
  }

  /** Joins what is known here with what is known elsewhere. */
  view(agent: string, here: Known): Known {
    if (!this.#holders.has(agent)) return here
    let { lastHeartbeat, running } = here
    for (const replica of this.#replicas.values()) {
      const held = replica.agents.get(agent)
      if (held === undefined) continue
      lastHeartbeat = Math.max(lastHeartbeat, held[0])
      running += held[1]
    }
    return { online: true, lastHeartbeat, running }
  }

  /** Takes a message in; false where it must be followed by `replace`. */
  take(message: Message, now: number): boolean {
    if (message.x === 1) {
      this.#forget(message.i)
      return true
    }
    const replica = this.#replicas.get(message.i)
    const seq = message.s ?? 0
    if (replica === undefined) return false
    replica.heardAt = now
    if (seq <= replica.seq) return true
    if (seq > replica.seq + 1) return false
    replica.seq = seq
    for (const [agent, lastHeartbeat, running] of message.a ?? []) {
      if (lastHeartbeat === undefined) this.#remove(replica, agent)
      else this.#put(replica, agent, [lastHeartbeat, running ?? 0])
    }
    return true
  }

  /** All that an instance holds, as it stands in Redis. */
  replace(instance: string, fields: ReadonlyArray<string>, now: number): void {
    const replica = this.#replicas.get(instance) ?? { seq: 0, heardAt: now, agents: new Map<string, Held>() }
    this.#replicas.set(instance, replica)
    replica.heardAt = now
    const left = new Set(replica.agents.keys())
    for (let i = 0; i + 1 < fields.length; i += 2) {
      const agent = fields[i]!
      if (agent === "") {
        replica.seq = Number(fields[i + 1])
        continue
      }
      left.delete(agent)
      this.#put(replica, agent, decodeHeld(fields[i + 1]!))
    }
    for (const agent of left) this.#remove(replica, agent)
  }

  /** Lets go of instances that were not heard of for so long. Nobody is told: they may be there, and Redis away. */
  expire(now: number, leaseMs: number): void {
    for (const [instance, replica] of this.#replicas) {
      if (now - replica.heardAt > leaseMs) this.#forget(instance)
    }
  }

  #forget(instance: string): void {
    const replica = this.#replicas.get(instance)
    if (replica === undefined) return
    for (const agent of [...replica.agents.keys()]) this.#remove(replica, agent)
    this.#replicas.delete(instance)
  }

  #put(replica: Replica, agent: string, held: Held): void {
    const isNew = !replica.agents.has(agent)
    replica.agents.set(agent, held)
    if (!isNew) return
    const holders = this.#holders.get(agent) ?? 0
    this.#holders.set(agent, holders + 1)
    if (holders === 0) this.#came(agent)
  }

  #remove(replica: Replica, agent: string): void {
    if (!replica.agents.delete(agent)) return
    const left = this.#holders.get(agent)! - 1
    if (left > 0) this.#holders.set(agent, left)
    else this.#holders.delete(agent)
  }
}
