/**
 * Tasks that nobody waits for, since their caller's connection broke: they go on for a while, so that it can come back for them.
 *
 * They are bounded, in all and by caller. Where others wait for a place, those whose callers have been away for a while have at
 * most half of the places, so that nobody is kept from them by callers who place tasks and go.
 */
import type { Settings } from "../Guardrails.ts"
import type { NodeId } from "../NodeId.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Served } from "./Served.ts"
import type { Work } from "./Work.ts"

/** This part of the time that tasks are held for, all keep their places: most callers are back by then. */
export const UNDISTURBED = 1 / 30

/** The tasks of callers that have gone; gives each up when its time is over. */
export class Held {
  readonly #limits: Settings["resume"]
  readonly #deadlines: Deadlines
  readonly #giveUp: (work: Work) => void
  readonly #counts = new Map<NodeId, number>()
  readonly #works = new Set<Work>()

  constructor(limits: Settings["resume"], deadlines: Deadlines, giveUp: (work: Work) => void) {
    this.#limits = limits
    this.#deadlines = deadlines
    this.#giveUp = giveUp
  }

  get size(): number {
    return this.#works.size
  }

  /** Lets a task go on; false where there is no place for another one. */
  add(work: Work): boolean {
    const { entries, ms, perCaller } = this.#limits
    const count = this.#counts.get(work.caller) ?? 0
    if (ms <= 0 || this.size >= entries || count >= perCaller) return false
    this.#works.add(work)
    this.#counts.set(work.caller, count + 1)
    work.held = this.#deadlines.after(ms * UNDISTURBED, () => {
      work.held = this.#deadlines.after(ms * (1 - UNDISTURBED), () => this.#giveUp(work))
      if (work.fiber !== undefined) this.#isAway(work)
    })
    return true
  }

  /** Its caller is there again, or it is over. */
  drop(work: Work): void {
    if (work.held === undefined) return
    work.held.cancel()
    work.held = undefined
    this.#works.delete(work)
    work.served.away.delete(work)
    const left = (this.#counts.get(work.caller) ?? 1) - 1
    if (left > 0) this.#counts.set(work.caller, left)
    else this.#counts.delete(work.caller)
  }

  /** A task has a place from now on. */
  started(work: Work): void {
    if (work.held !== undefined) this.#isAway(work)
  }

  /** Somebody waits for a place: where more than half are kept for callers who have gone, the longest gone loses its own. */
  makeWay(served: Served): void {
    for (const work of served.away) {
      if (served.away.size <= Math.max(1, served.concurrency / 2) || !served.waiting.hasOther(work.caller)) return
      this.#giveUp(work)
    }
  }

  /** Waits for nobody any more: of one capability, or of any. */
  giveUpAll(served: Served | undefined): void {
    for (const work of [...this.#works]) if (served === undefined || work.served === served) this.#giveUp(work)
  }

  #isAway(work: Work): void {
    work.served.away.add(work)
    this.makeWay(work.served)
  }
}
