/**
 * What happened, counted from the events of tasks as they come: nothing else may say that the demo has worked.
 */
import type { TaskEvent } from "@parley/core/Node"
import type { NodeErrorReason } from "@parley/core/NodeError"
import type { NodeId } from "@parley/core/NodeId"

/** One task and what became of it at each agent. */
export class Task {
  /** Through which the task went to an agent: true for a relay. */
  readonly #relayed = new Map<NodeId, boolean>()
  readonly #countered = new Map<NodeId, number>()
  /** Agents that answered, with the milliseconds it took each since the task was sent to it. */
  readonly answered = new Map<NodeId, number>()
  readonly failed: Array<{ readonly peer: NodeId; readonly reason: NodeErrorReason; readonly next: boolean }> = []
  /** Agents that were told to stop, because their answer could not change anything any more. */
  readonly cancelled = new Set<NodeId>()

  readonly note = (event: TaskEvent): void => {
    switch (event._tag) {
      case "Sent":
        this.#relayed.set(event.peer, event.relayed)
        break
      case "Countered":
        if (event.takenUp) this.#countered.set(event.peer, (this.#countered.get(event.peer) ?? 0) + 1)
        break
      case "Answered":
        this.answered.set(event.peer, event.latencyMs)
        break
      case "Failed":
        this.failed.push(event)
        break
      case "Cancelled":
        this.cancelled.add(event.peer)
        break
    }
  }

  /** Agents whose answer came through a relay. */
  get relayed(): ReadonlyArray<NodeId> {
    return [...this.answered.keys()].filter((node) => this.#relayed.get(node) === true)
  }

  /** Agents that countered, were waited for, and then answered. */
  get countered(): ReadonlyArray<NodeId> {
    return [...this.answered.keys()].filter((node) => this.#countered.has(node))
  }

  /** Agents that failed, so that another one was tried; none unless one answered in the end. */
  get failovers(): ReadonlyArray<NodeId> {
    return this.answered.size === 0 ? [] : this.failed.filter(({ next }) => next).map(({ peer }) => peer)
  }
}
