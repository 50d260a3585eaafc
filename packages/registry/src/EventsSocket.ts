/**
 * EventsSocket: `WS /ws/events?cursor=&types=&agent=`, what has happened and what happens, each event one text frame
 * `{"cursor", "at", "type", "data"}` (`PublicEvent`).
 *
 * - With `cursor` (or `Last-Event-ID`) everything after it comes first, in order, without a gap and without a repeat; without it, what
 *   happens from now on. `types` (several with commas) and `agent` choose.
 * - Where `types` or `agent` pass over events and none was told for a while, `{"type":"position","cursor":N}` says where to resume.
 * - A client that does not read is closed with 4008, one for whom the store cannot be read with 1013; the reason ends in `go on at
 *   cursor N`.
 * - What clients send is ignored, but for a first `{"type":"auth","token":…}`; a flood is closed with 1008.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import { EventStream } from "./EventStream.ts"
import { ignore, wantedOf, write } from "./internal/SocketFeed.ts"
import { Code, SocketGone } from "./internal/SocketConnection.ts"
import * as SocketRoute from "./internal/SocketRoute.ts"
import { addressOf } from "./RateLimits.ts"
import { Auth } from "./Principal.ts"
import * as Problem from "./Problem.ts"
import { Sockets } from "./Sockets.ts"

export { LISTENER_FRAMES } from "./internal/SocketFeed.ts"

/** Largest frame of a client, in bytes: a token and what is around it. */
export const MAX_FRAME_BYTES = 16_384

/** The route. */
export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter | EventStream | Sockets | Auth> =
  Layer.effectDiscard(
    Effect.gen(function* () {
      const router = yield* HttpRouter.HttpRouter
      const events = yield* EventStream
      const sockets = yield* Sockets
      const auth = yield* Auth
      yield* router.add("GET", "/ws/events", (request) => {
        const wanted = wantedOf(request)
        if (typeof wanted === "string") return Effect.succeed(Problem.response(422, wanted))
        return SocketRoute.enter({
          request,
          sockets,
          maxFrame: MAX_FRAME_BYTES,
          serve: (connection) =>
            Effect.gen(function* () {
              const reader = yield* Effect.catch(events.read(wanted), () =>
                Effect.andThen(
                  connection.close(Code.TryAgain, `the store cannot be read; go on at cursor ${wanted.cursor ?? 0}`),
                  Effect.fail(new SocketGone({ why: "Closed" }))
                )
              )
              return yield* Effect.raceFirst(
                write(
                  connection,
                  reader,
                  (told) => told.json,
                  (cursor) => JSON.stringify({ type: "position", cursor })
                ),
                ignore(connection, sockets, "events", addressOf(request))
              )
            })
        }).pipe(Effect.provideService(Auth, auth))
      })
    })
  )
