/**
 * Circuits: which agents fail, by capability. Closed, open, half-open (Nygard, *Release It!*), with core's own step.
 *
 * `FAILURES` failed reports in a row open a circuit; after `OPEN_MS` one discovery may offer the agent as if it were well, as a probe,
 * and what is reported of it closes the circuit or opens it again. Nothing else does: no heartbeat, no new registration. A
 * probe that nobody reports on frees its place after another `OPEN_MS`.
 *
 * Reports that name no capability stand under `""`, and speak for every capability of the agent.
 */
import { type Circuit, type Policy, step } from "@parley/core/Breaker"

/** Failures in a row that open a circuit: as in AgentMesh. */
export const FAILURES = 3
/** How long an open circuit is left alone, in milliseconds: as in AgentMesh. */
export const OPEN_MS = 60_000
/** Most circuits remembered that are not closed and without failures. The one longest untouched is forgotten. */
export const MAX_CIRCUITS = 100_000

/** `open`: leave it alone. `probe`: it may be tried, once. */
export type State = "closed" | "open" | "probe"

/** What is known of one circuit. */
export interface Known {
  readonly capability: string
  readonly state: "closed" | "open" | "half-open"
  /** Failures in a row; once open, as many as opened it. */
  readonly failures: number
  readonly retryAfterMs: number
}

const closed: Circuit = { _tag: "Closed", failures: 0 }

/** Which agents fail. */
export class Circuits {
  readonly #agents = new Map<string, Map<string, Circuit>>()
  readonly #policy: Policy
  #size = 0
  /** How many are not closed, by agent. */
  readonly #open = new Map<string, number>()

  constructor(policy: Policy = { failures: FAILURES, openMs: OPEN_MS }) {
    this.#policy = policy
  }

  /** What a report said. Whether the agent has become degraded by it, or ceased to be; else `undefined`. */
  note(agent: string, capability: string, success: boolean, now: number): "degraded" | "healthy" | undefined {
    const before = this.isDegraded(agent)
    const circuit = this.#agents.get(agent)?.get(capability)
    if (circuit === undefined && success) return undefined
    // A report that comes in while a circuit is open and its time is over tells of the probe that followed.
    const current =
      circuit?._tag === "Open" && now >= circuit.until ? step(circuit, "probe", now, this.#policy) : (circuit ?? closed)
    this.#set(agent, capability, step(current, success ? "success" : "failure", now, this.#policy))
    const after = this.isDegraded(agent)
    return before === after ? undefined : after ? "degraded" : "healthy"
  }

  /** Whether a discovery may offer an agent's capability. */
  state(agent: string, capability: string, now: number): State {
    if (this.#open.size === 0 || !this.#open.has(agent)) return "closed"
    const circuits = this.#agents.get(agent)!
    const own = stateOf(circuits.get(capability), now)
    const whole = capability === "" ? "closed" : stateOf(circuits.get(""), now)
    return own === "open" || whole === "open" ? "open" : own === "probe" || whole === "probe" ? "probe" : "closed"
  }

  /** A discovery has offered it: the probe is on its way, and no other discovery offers it meanwhile. */
  probe(agent: string, capability: string, now: number): void {
    for (const name of new Set([capability, ""])) {
      const circuit = this.#agents.get(agent)?.get(name)
      if (stateOf(circuit, now) === "probe") this.#set(agent, name, step(circuit!, "probe", now, this.#policy))
    }
  }

  /** Whether any circuit of an agent is not closed. */
  isDegraded(agent: string): boolean {
    return this.#open.size > 0 && this.#open.has(agent)
  }

  /** Every circuit of an agent that is not closed, or not without failures. */
  all(agent: string, now: number): ReadonlyArray<Known> {
    return [...(this.#agents.get(agent) ?? [])].map(([capability, circuit]) =>
      circuit._tag === "Closed"
        ? { capability, state: "closed", failures: circuit.failures, retryAfterMs: 0 }
        : {
            capability,
            state: circuit._tag === "Open" ? "open" : "half-open",
            failures: this.#policy.failures,
            retryAfterMs: Math.max(0, circuit.until - now)
          }
    )
  }

  /** How many circuits are not closed. */
  get open(): number {
    let sum = 0
    for (const count of this.#open.values()) sum += count
    return sum
  }

  clear(): void {
    this.#agents.clear()
    this.#open.clear()
    this.#size = 0
  }

  #set(agent: string, capability: string, next: Circuit): void {
    const circuits = this.#agents.get(agent) ?? new Map<string, Circuit>()
    const before = circuits.get(capability)
    if (before !== undefined) this.#forget(agent, circuits, capability)
    if (next._tag === "Closed" && next.failures === 0) return
    circuits.set(capability, next)
    // The agent touched last stands at the end.
    this.#agents.delete(agent)
    this.#agents.set(agent, circuits)
    this.#size += 1
    if (next._tag !== "Closed") this.#open.set(agent, (this.#open.get(agent) ?? 0) + 1)
    if (this.#size <= MAX_CIRCUITS) return
    for (const [oldest, itsCircuits] of this.#agents) {
      for (const name of itsCircuits.keys()) {
        this.#forget(oldest, itsCircuits, name)
        return
      }
    }
  }

  #forget(agent: string, circuits: Map<string, Circuit>, capability: string): void {
    const circuit = circuits.get(capability)
    circuits.delete(capability)
    this.#size -= 1
    if (circuits.size === 0) this.#agents.delete(agent)
    if (circuit === undefined || circuit._tag === "Closed") return
    const left = this.#open.get(agent)! - 1
    if (left === 0) this.#open.delete(agent)
    else this.#open.set(agent, left)
  }
}

const stateOf = (circuit: Circuit | undefined, now: number): State =>
  circuit === undefined || circuit._tag === "Closed" ? "closed" : now >= circuit.until ? "probe" : "open"
