/** Suspicions: the members that are accused, and those that are dead. */
import { Suspicion } from "./Suspicion.ts"
import type { Accusation } from "../Swim.ts"

export class Suspicions {
  readonly #bySubject = new Map<string, Suspicion>()
  /** Those that are not over: few, where the others are all the dead. */
  readonly #open = new Map<string, Suspicion>()
  /** Not later than the end of the next one. */
  dueAt = Number.POSITIVE_INFINITY

  get(subject: string): Suspicion | undefined {
    return this.#bySubject.get(subject)
  }

  has(subject: string): boolean {
    return this.#bySubject.has(subject)
  }

  isOpen(subject: string): boolean {
    return this.#open.has(subject)
  }

  /** Begins one, or confirms the one there is. `members`: how many live. */
  accuse(accusation: Accusation, now: number, members: number): void {
    const { subject } = accusation
    let suspicion = this.#bySubject.get(subject)
    if (suspicion === undefined) {
      suspicion = new Suspicion(accusation, now, members)
      this.#bySubject.set(subject, suspicion)
      this.#open.set(subject, suspicion)
    } else suspicion.confirm(accusation)
    this.dueAt = Math.min(this.dueAt, suspicion.deadline)
  }

  delete(subject: string): void {
    this.#bySubject.delete(subject)
    this.#open.delete(subject)
  }

  postpone(until: number): void {
    for (const suspicion of this.#open.values()) suspicion.postpone(until)
    if (this.#open.size > 0) this.dueAt = Math.max(this.dueAt, until)
  }

  /** Ends those whose time is over and for whom `isDead` does not object, and gives them. */
  judge(now: number, isDead: (suspicion: Suspicion) => boolean): ReadonlyArray<Suspicion> {
    const dead: Array<Suspicion> = []
    this.dueAt = Number.POSITIVE_INFINITY
    for (const [subject, suspicion] of this.#open) {
      if (now >= suspicion.deadline && isDead(suspicion)) {
        suspicion.deadAt = now
        this.#open.delete(subject)
        dead.push(suspicion)
      } else this.dueAt = Math.min(this.dueAt, suspicion.deadline)
    }
    return dead
  }
}
