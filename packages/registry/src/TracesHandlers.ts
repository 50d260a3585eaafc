/**
 * The handlers of traces.
 */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Admission } from "./Admission.ts"
import { Api } from "./Api.ts"
import { actForOrGranted } from "./Authentication.ts"
import * as Commands from "./Commands.ts"
import * as Answers from "./internal/Answers.ts"
import { credentialsOf } from "./internal/Who.ts"
import { MAX_TRACE_CHARACTERS } from "./HeartbeatSocket.ts"
import { Ledger } from "./Ledger.ts"
import { MAX_ID_LENGTH, MAX_TASK_ID_LENGTH } from "./Model.ts"
import { Auth } from "./Principal.ts"
import * as Problem from "./Problem.ts"
import { instant } from "./RecordJson.ts"
import { Store, type TraceQuery } from "./Store.ts"

/** Traces of one answer where the query does not say: as in AgentMesh. */
export const DEFAULT_TRACES = 100

const storeFailed = new Problem.Unavailable({ detail: "The registry's database does not answer: try again" })

/** The handlers of traces. */
export const layer = HttpApiBuilder.group(
  Api,
  "traces",
  Effect.fnUntraced(function* (handlers) {
    const clock = yield* Clock.Clock
    const ledger = yield* Ledger
    const store = yield* Store
    const services = Context.merge(Context.make(Auth, yield* Auth), Context.make(Admission, yield* Admission))
    return handlers.handleAll({
      list: Effect.fnUntraced(function* ({ query, request }) {
        const limit = query.limit ?? DEFAULT_TRACES
        const before = query.cursor === undefined ? undefined : Number(query.cursor)
        if (before !== undefined && !Number.isSafeInteger(before)) {
          return yield* new Problem.Unprocessable({ detail: "cursor: use the Link of the page before" })
        }
        const wanted: TraceQuery = {
          limit,
          ...(query.task_id === undefined ? {} : { task: query.task_id }),
          ...(query.agent === undefined ? {} : { agent: query.agent }),
          ...(query.type === undefined ? {} : { type: query.type }),
          ...(query.since === undefined ? {} : { since: Date.parse(query.since) }),
          ...(query.until === undefined ? {} : { until: Date.parse(query.until) }),
          ...(before === undefined ? {} : { before })
        }
        const found = yield* Effect.mapError(store.traces(wanted), () => storeFailed)
        const traces = found.map(({ cursor: _cursor, ...trace }) => trace).reverse()
        const oldest = found.at(-1)
        const headers =
          oldest !== undefined && found.length === limit ? Answers.nextLink(request, String(oldest.cursor)) : {}
        return Answers.json(JSON.stringify(traces), { headers })
      }),
      add: Effect.fnUntraced(function* ({ payload, request }) {
        const from = payload.from_agent.slice(0, MAX_ID_LENGTH)
        const to = payload.to_agent.slice(0, MAX_ID_LENGTH)
        if (JSON.stringify(payload.payload).length > MAX_TRACE_CHARACTERS) {
          return yield* new Problem.TooLarge({
            detail: `The payload is larger than ${MAX_TRACE_CHARACTERS} characters of JSON: every subscriber gets it`
          })
        }
        const credentials = credentialsOf(request)
        // A task has two ends, and either may tell of it.
        yield* actForOrGranted(from, credentials).pipe(
          Effect.catchIf(
            (error) => error.code === "Forbidden" || error.code === "Missing",
            (error) => Effect.mapError(actForOrGranted(to, credentials), () => error)
          ),
          Effect.provideContext(services),
          Effect.mapError(Problem.ofAuth)
        )
        const trace_id = randomUUID()
        yield* ledger.commit(
          Commands.trace({
            trace_id,
            task_id: payload.task_id.slice(0, MAX_TASK_ID_LENGTH),
            event_type: payload.event_type,
            from_agent: from,
            to_agent: to,
            payload: payload.payload,
            timestamp: instant(clock.currentTimeMillisUnsafe())
          })
        )
        return { trace_id }
      })
    })
  })
)
