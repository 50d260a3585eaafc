/**
 * Pages of agents in the order of their ids, read in slices: who lists a hundred thousand of them holds up nobody else.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { Agent, Knowledge } from "../World.ts"
import { placeOf } from "./Sorted.ts"

/** Most JSON of one answer, in characters: some 4,000 agents of five capabilities. The rest is behind its `Link`. */
export const MAX_LISTED_CHARACTERS = 8 * 1_048_576
/** Agents that are looked at in one go, a few milliseconds at most: then others have their turn. */
export const SLICE = 1_000

/** What is listed. */
export interface Wanted {
  /** The id after which it goes on. */
  readonly cursor?: string | undefined
  /** Most rows; absent: as many as an answer holds. */
  readonly limit?: number | undefined
  readonly wants: (agent: Agent) => boolean
  /** An agent as JSON. */
  readonly row: (agent: Agent) => string
}

/** What was found; `next` is the cursor of what follows, where something does. */
export interface Listed {
  readonly rows: ReadonlyArray<string>
  readonly next: string | undefined
}

const others = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** Lists agents. Of lists that take more than a slice one is read at a time. */
export const make = (world: Knowledge) => {
  const turns = Semaphore.makeUnsafe(1)
  return ({ cursor, limit = Number.POSITIVE_INFINITY, row, wants }: Wanted): Effect.Effect<Listed> => {
    const rows: Array<string> = []
    let characters = 0
    let last: string | undefined
    let seen = cursor
    /** Whether there is nothing more to look at. */
    const slice = (): Listed | undefined => {
      const { ids } = world
      let place = seen === undefined ? 0 : placeOf(ids, seen)
      if (seen !== undefined && ids[place] === seen) place++
      for (const end = place + SLICE; place < end; place++) {
        seen = ids[place]
        if (seen === undefined) return { rows, next: undefined }
        const agent = world.get(seen)
        if (agent === undefined || !wants(agent)) continue
        const text = rows.length < limit ? row(agent) : ""
        characters += text.length
        if (rows.length > 0 && (rows.length >= limit || characters > MAX_LISTED_CHARACTERS)) return { rows, next: last }
        rows.push(text)
        last = seen
      }
      return undefined
    }
    const rest: Effect.Effect<Listed> = Effect.suspend(() => {
      const listed = slice()
      return listed === undefined ? Effect.andThen(others, rest) : Effect.succeed(listed)
    })
    return Effect.suspend(() => {
      const listed = slice()
      return listed === undefined ? turns.withPermits(1)(Effect.andThen(others, rest)) : Effect.succeed(listed)
    })
  }
}
