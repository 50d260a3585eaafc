/**
 * The handlers of session memory.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Schema from "effect/Schema"
import { Api, Caller } from "./Api.ts"
import { Key } from "./ApiModel.ts"
import * as Answers from "./internal/Answers.ts"
import type { Principal } from "./Principal.ts"
import * as Problem from "./Problem.ts"
import type { ReputationModel } from "./ReputationModel.ts"
import { type Full, MAX_KEY_LENGTH, MAX_VALUE_BYTES, SessionMemory, type Writer } from "./SessionMemory.ts"
import { World } from "./World.ts"

/** Sessions of one answer where the query does not say. */
export const DEFAULT_SESSIONS = 1_000

const isKey = Schema.is(Key)
const storeFailed = new Problem.Unavailable({ detail: "The registry's memory does not answer: try again" })
const tooLong = new Problem.Unprocessable({
  detail: `A session's or key's name has 1 to ${MAX_KEY_LENGTH} characters`
})
const fit = (...names: ReadonlyArray<string>): Effect.Effect<void, Problem.Unprocessable> =>
  names.every((name) => isKey(name)) ? Effect.void : Effect.fail(tooLong)

/** What those who are believed say for a node no stranger to them, in reports: one about good work does for a month. */
export const VOUCHED = 0.5

/**
 * Who writes, as it is counted. Keys cost nothing: a node is a stranger unless those who are believed believe it, or say more good
 * than bad of it. Who knows AgentMesh's secret is none. The operator, and whoever asks on this machine, have no share.
 */
export const writerOf = (
  { id, kind }: Principal,
  reputation: Pick<ReputationModel, "evidence" | "hasReceipts" | "weightOf">,
  now: number
): Writer | undefined => {
  if (kind === "operator" || kind === "local") return undefined
  if (kind === "agent" || reputation.weightOf(id) > 0) return { id, isStranger: false }
  const { bad, good } = reputation.evidence(id, "", now)
  // Without receipts evidence is what anybody says.
  return { id, isStranger: !reputation.hasReceipts() || good < VOUCHED || good <= bad }
}

const holders = {
  session: "This session",
  identity: "What you keep in session memory",
  strangers: "What all nodes keep in session memory together for which nobody vouches",
  all: "This registry's session memory"
}
const remedies = {
  session: "remove some of its keys, or use another session",
  identity: "remove some, or let it live shorter (ttl_ms)",
  strangers: "try again when some of it has expired, or when somebody has reported on work of yours with its receipt",
  all: "try again when some of it has expired"
}
const fullOf = ({ limit, of, what }: Full): Problem.Full =>
  new Problem.Full({
    detail: `${holders[of]} may come to ${limit} ${what}, which leaves no room for this: ${remedies[of]}`,
    of,
    what,
    limit
  })

/** The handlers of session memory. */
export const layer = HttpApiBuilder.group(
  Api,
  "memory",
  Effect.fnUntraced(function* (handlers) {
    const clock = yield* Clock.Clock
    const memory = yield* SessionMemory
    const world = yield* World
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
        const writer = writerOf(yield* Caller, world.reputation, clock.currentTimeMillisUnsafe())
        const full = yield* Effect.mapError(
          memory.set(session, key, value, {
            ...(ttl_ms === undefined ? {} : { ttlMs: ttl_ms }),
            ...(writer === undefined ? {} : { writer })
          }),
          () => storeFailed
        )
        if (full !== undefined) return yield* fullOf(full)
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
