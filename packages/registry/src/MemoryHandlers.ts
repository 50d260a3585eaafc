/**
 * The handlers of session memory.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Schema from "effect/Schema"
import { Api } from "./Api.ts"
import { Key } from "./ApiModel.ts"
import * as Answers from "./internal/Answers.ts"
import * as Problem from "./Problem.ts"
import { MAX_KEY_LENGTH, MAX_VALUE_BYTES, SessionMemory } from "./SessionMemory.ts"

/** Sessions of one answer where the query does not say. */
export const DEFAULT_SESSIONS = 1_000

const isKey = Schema.is(Key)
const storeFailed = new Problem.Unavailable({ detail: "The registry's memory does not answer: try again" })
const tooLong = new Problem.Unprocessable({
  detail: `A session's or key's name has 1 to ${MAX_KEY_LENGTH} characters`
})
const fit = (...names: ReadonlyArray<string>): Effect.Effect<void, Problem.Unprocessable> =>
  names.every((name) => isKey(name)) ? Effect.void : Effect.fail(tooLong)

/** The handlers of session memory. */
export const layer = HttpApiBuilder.group(
  Api,
  "memory",
  Effect.fnUntraced(function* (handlers) {
    const memory = yield* SessionMemory
    return handlers.handleAll({
      sessions: Effect.fnUntraced(function* ({ query, request }) {
        const limit = query.limit ?? DEFAULT_SESSIONS
        const sessions = yield* memory
          .sessions({ limit, ...(query.cursor === undefined ? {} : { after: query.cursor }) })
          .pipe(Effect.mapError(() => storeFailed))
        const headers = sessions.length === limit ? Answers.nextLink(request, sessions.at(-1)!) : {}
        return Answers.json(JSON.stringify({ sessions, count: sessions.length }), { headers })
      }),
      session: Effect.fnUntraced(function* ({ params: { session } }) {
        yield* fit(session)
        const data = yield* Effect.mapError(memory.all(session), () => storeFailed)
        return { session_id: session, keys: Object.keys(data), data }
      }),
      clear: Effect.fnUntraced(function* ({ params: { session } }) {
        yield* fit(session)
        yield* Effect.mapError(memory.clear(session), () => storeFailed)
        return { session_id: session, cleared: true as const }
      }),
      value: Effect.fnUntraced(function* ({ params: { key, session } }) {
        yield* fit(session, key)
        const value = yield* Effect.mapError(memory.get(session, key), () => storeFailed)
        if (value === undefined) {
          return yield* new Problem.NotFound({ detail: `Session ${session} has nothing under ${key}` })
        }
        return { session_id: session, key, value }
      }),
      set: Effect.fnUntraced(function* ({ params: { key, session }, payload: { ttl_ms, value } }) {
        yield* fit(session, key)
        const bytes = Buffer.byteLength(JSON.stringify(value))
        if (bytes > MAX_VALUE_BYTES) {
          return yield* new Problem.TooLarge({
            detail: `The value has ${bytes} bytes of JSON, at most ${MAX_VALUE_BYTES} are kept`
          })
        }
        const full = yield* Effect.mapError(memory.set(session, key, value, ttl_ms), () => storeFailed)
        if (full !== undefined) {
          return yield* new Problem.Conflict({
            detail: `Session ${session} has ${full.limit} keys already: remove some`
          })
        }
        return { session_id: session, key }
      }),
      remove: Effect.fnUntraced(function* ({ params: { key, session } }) {
        yield* fit(session, key)
        yield* Effect.mapError(memory.remove(session, key), () => storeFailed)
        return { session_id: session, key }
      })
    })
  })
)
