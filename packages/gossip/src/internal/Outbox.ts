/** Outbox: what each neighbour has yet to hear. News wait a moment for others that go the same way. */
import type { Statement } from "../Swim.ts"
import { FLUSH_MS, MAX_NEWS } from "../SwimTimes.ts"

export class Outbox {
  readonly #waiting = new Map<string, Set<Statement>>()
  /** When it is to be emptied. */
  dueAt = Number.POSITIVE_INFINITY

  post(peer: string, statement: Statement, now: number): void {
    const waiting = this.#waiting.get(peer)
    if (waiting === undefined) this.#waiting.set(peer, new Set([statement]))
    else waiting.add(statement)
    this.dueAt = Math.min(this.dueAt, now + FLUSH_MS)
  }

  forget(peer: string): void {
    this.#waiting.delete(peer)
  }

  /** Empties it into messages of bounded size, without what is outdated. */
  flush(
    isCurrent: (statement: Statement) => boolean,
    send: (peer: string, news: ReadonlyArray<Statement>) => void
  ): void {
    this.dueAt = Number.POSITIVE_INFINITY
    for (const [peer, waiting] of this.#waiting) {
      const statements = [...waiting].filter(isCurrent)
      for (let i = 0; i < statements.length; i += MAX_NEWS) send(peer, statements.slice(i, i + MAX_NEWS))
    }
    this.#waiting.clear()
  }
}
