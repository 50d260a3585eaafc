/**
 * DashboardSocket: `WS /ws/dashboard`, AgentMesh's: every trace from now on, as its bare TraceEvent JSON, and nothing else. What clients
 * send is ignored.
 *
 * It has no cursor; a client that does not read is closed with 4008 and misses what it missed. `WS /ws/events` is the better one.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import { EventStream } from "./EventStream.ts"
import { MAX_FRAME_BYTES } from "./EventsSocket.ts"
import { Code, SocketGone } from "./internal/SocketConnection.ts"
import { ignore, write } from "./internal/SocketFeed.ts"
import * as SocketRoute from "./internal/SocketRoute.ts"
import { addressOf } from "./RateLimits.ts"
import { Auth } from "./Principal.ts"
import { Sockets } from "./Sockets.ts"

/** The route. */
export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter | EventStream | Sockets | Auth> =
  Layer.effectDiscard(
    Effect.gen(function* () {
      const router = yield* HttpRouter.HttpRouter
      const events = yield* EventStream
      const sockets = yield* Sockets
      const auth = yield* Auth
      yield* router.add("GET", "/ws/dashboard", (request) =>
        SocketRoute.enter({
          request,
          sockets,
          maxFrame: MAX_FRAME_BYTES,
          serve: (connection) =>
            Effect.gen(function* () {
              const reader = yield* Effect.catch(events.read({ types: ["trace"] }), () =>
                Effect.andThen(
                  connection.close(Code.TryAgain, "the store cannot be read"),
                  Effect.fail(new SocketGone({ why: "Closed" }))
                )
              )
              return yield* Effect.raceFirst(
                write(connection, reader, ({ fact }) =>
                  fact?.type === "trace" ? JSON.stringify(fact.trace) : undefined
                ),
                ignore(connection, sockets, "dashboard", addressOf(request))
              )
            })
        }).pipe(Effect.provideService(Auth, auth))
      )
    })
  )
