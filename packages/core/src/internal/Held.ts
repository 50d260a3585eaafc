/**
 * Tasks that nobody waits for, since their caller's connection broke: they go on for a while, so that it can come back for them.
 */
import type { Settings } from "../Guardrails.ts"
import type { NodeId } from "../NodeId.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Work } from "./Work.ts"

/** Counts the tasks of callers that have gone, and gives each up when its time is over. */
export class Held {
  readonly #limits: Settings["resume"]
  readonly #deadlines: Deadlines
  readonly #giveUp: (work: Work) => void
  readonly #counts = new Map<NodeId, number>()
  #size = 0

  constructor(limits: Settings["resume"], deadlines: Deadlines, giveUp: (work: Work) => void) {
    this.#limits = limits
    this.#deadlines = deadlines
    this.#giveUp = giveUp
  }

  get size(): number {
    return this.#size
  }

  /** Lets a task go on; false where there is no place for another one. */
  add(work: Work): boolean {
    const { entries, ms, perCaller } = this.#limits
    const count = this.#counts.get(work.caller) ?? 0
    if (ms <= 0 || this.#size >= entries || count >= perCaller) return false
    this.#size += 1
    this.#counts.set(work.caller, count + 1)
    work.held = this.#deadlines.after(ms, () => this.#giveUp(work))
    return true
  }

  /** Its caller is there again, or it is over. */
  drop(work: Work): void {
    if (work.held === undefined) return
    work.held.cancel()
    work.held = undefined
    this.#size -= 1
    const left = (this.#counts.get(work.caller) ?? 1) - 1
    if (left > 0) this.#counts.set(work.caller, left)
    else this.#counts.delete(work.caller)
  }
}
