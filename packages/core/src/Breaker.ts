/**
 * Breaker: leaves a peer's capability alone after it has failed repeatedly.
 *
 * One circuit per peer and capability: closed, open, half-open (Nygard, *Release It!*). Failures in a row open it; after a
 * while one probe is let through, and its success closes the circuit. Nothing else does: no heartbeat, no new record, and
 * no late answer to a task that was on its way when the circuit opened. One that opened because the peer could not be reached is
 * probed much sooner: networks come back at once, and trying costs the peer nothing.
 */
import type { NodeId } from "./NodeId.ts"

/** State of one circuit. A closed one without failures is not remembered. */
export type Circuit =
  | { readonly _tag: "Closed"; readonly failures: number }
  | { readonly _tag: "Open"; readonly until: number }
  | { readonly _tag: "HalfOpen"; readonly until: number }

/** What happens to a circuit. `unreachable` is a failure that the network may be to blame for. */
export type Event = "success" | "failure" | "unreachable" | "probe" | "abandoned"

/** How many failures in a row open a circuit, and for how long. */
export interface Policy {
  readonly failures: number
  readonly openMs: number
  /** For how long where the last of them was that the peer could not be reached. Default: `openMs`. */
  readonly unreachableMs?: number
}

const closed: Circuit = { _tag: "Closed", failures: 0 }

/** The next state. A probe that is neither answered nor abandoned frees its place after `openMs`. */
export const step = (circuit: Circuit, event: Event, now: number, policy: Policy): Circuit => {
  switch (event) {
    case "success":
      return circuit._tag === "Open" ? circuit : closed
    case "failure":
    case "unreachable": {
      if (circuit._tag === "Open") return circuit
      const failures = circuit._tag === "Closed" ? circuit.failures + 1 : policy.failures
      const openMs =
        event === "failure" ? policy.openMs : Math.min(policy.unreachableMs ?? policy.openMs, policy.openMs)
      return failures >= policy.failures ? { _tag: "Open", until: now + openMs } : { _tag: "Closed", failures }
    }
    case "probe":
      return circuit._tag === "Closed" ? circuit : { _tag: "HalfOpen", until: now + policy.openMs }
    case "abandoned":
      return circuit._tag === "HalfOpen" ? { _tag: "Open", until: now } : circuit
  }
}

/** Whether a task may go through, and if not, how long to wait. */
export const admits = (circuit: Circuit, now: number): { readonly ok: boolean; readonly retryAfterMs: number } =>
  circuit._tag === "Closed" || now >= circuit.until
    ? { ok: true, retryAfterMs: 0 }
    : { ok: false, retryAfterMs: circuit.until - now }

/** The circuits of a node; the one longest untouched is forgotten beyond `entries`. */
export class Breaker {
  readonly #circuits = new Map<
    string,
    { readonly node: NodeId; readonly capability: string; readonly circuit: Circuit }
  >()
  readonly #policy: Policy & { readonly entries: number }
  readonly #now: () => number

  constructor(policy: Policy & { readonly entries: number }, now: () => number) {
    this.#policy = policy
    this.#now = now
  }

  #of(node: NodeId, capability: string): Circuit {
    return this.#circuits.size === 0 ? closed : (this.#circuits.get(`${node} ${capability}`)?.circuit ?? closed)
  }

  /**
   * Asks to send a task. When it may go and the circuit was open, this task is the probe, and whoever sends it must note
   * what came of it, if only that it was abandoned.
   */
  admit(
    node: NodeId,
    capability: string
  ): { readonly ok: boolean; readonly probe: boolean; readonly retryAfterMs: number } {
    const circuit = this.#of(node, capability)
    const { ok, retryAfterMs } = admits(circuit, this.#now())
    const probe = ok && circuit._tag !== "Closed"
    if (probe) this.note(node, capability, "probe")
    return { ok, probe, retryAfterMs }
  }

  /** Whether the circuit is anything but closed. */
  isOpen(node: NodeId, capability: string): boolean {
    return this.#circuits.size > 0 && this.#of(node, capability)._tag !== "Closed"
  }

  /** Tells what came of a task. */
  note(node: NodeId, capability: string, event: Event): void {
    if (event !== "failure" && event !== "unreachable" && this.#circuits.size === 0) return
    const key = `${node} ${capability}`
    const next = step(this.#of(node, capability), event, this.#now(), this.#policy)
    this.#circuits.delete(key)
    if (next._tag === "Closed" && next.failures === 0) return
    this.#circuits.set(key, { node, capability, circuit: next })
    if (this.#circuits.size > this.#policy.entries) {
      const oldest = this.#circuits.keys().next()
      if (oldest.done !== true) this.#circuits.delete(oldest.value)
    }
  }

  /** Every circuit that is not closed. */
  open(): ReadonlyArray<{ readonly node: NodeId; readonly capability: string; readonly retryAfterMs: number }> {
    const now = this.#now()
    return [...this.#circuits.values()].flatMap(({ node, capability, circuit }) =>
      circuit._tag === "Closed" ? [] : [{ node, capability, retryAfterMs: Math.max(circuit.until - now, 0) }]
    )
  }
}
