/** Helping: the members that this node asks whether they live, for others who hear nothing of them. */
import { HELP_MS, MAX_ASKING, MAX_HELPING } from "../SwimTimes.ts"

interface Help {
  readonly asking: Array<{ readonly peer: string; readonly seq: number }>
  due: number
}

export class Helping {
  readonly #bySubject = new Map<string, Help>()

  /** Notes who asks; true where the subject has yet to be asked. */
  add(subject: string, peer: string, seq: number, now: number): boolean {
    const help = this.#bySubject.get(subject)
    if (help !== undefined) {
      if (help.asking.length < MAX_ASKING) help.asking.push({ peer, seq })
      return false
    }
    if (this.#bySubject.size >= MAX_HELPING) return false
    this.#bySubject.set(subject, { asking: [{ peer, seq }], due: now + HELP_MS })
    return true
  }

  /** Who asked for the subject, of which something is known now; undefined where nobody did. */
  end(subject: string): Help["asking"] | undefined {
    const help = this.#bySubject.get(subject)
    this.#bySubject.delete(subject)
    return help?.asking
  }

  /** Subjects that have not answered in time. */
  silent(now: number): ReadonlyArray<string> {
    if (this.#bySubject.size === 0) return []
    return [...this.#bySubject].flatMap(([subject, { due }]) => (now >= due ? [subject] : []))
  }

  get dueAt(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { due } of this.#bySubject.values()) next = Math.min(next, due)
    return next
  }

  postpone(until: number): void {
    for (const help of this.#bySubject.values()) help.due = Math.max(help.due, until)
  }
}
