/**
 * EventsSse: `GET /events?cursor=&types=&agent=`, what has happened and what happens as server-sent events (WHATWG HTML, 9.2).
 *
 * `id` is the cursor, `data` the event's JSON (`PublicEvent`); there are no event names, so that `onmessage` hears all. A browser that
 * reconnects sends `Last-Event-ID` by itself and goes on without a gap. Every 15 s without news there is a comment, with a new
 * `id` where events were passed over. A client that does not read what it asked for is cut after `STALL_MS`; it comes back.
 */
import type { IncomingMessage } from "node:http"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { EventStream, type Reader } from "./EventStream.ts"
import { wantedOf } from "./internal/SocketFeed.ts"
import { identify } from "./internal/SocketAuth.ts"
import { identityOf } from "./internal/SocketRoute.ts"
import { Auth } from "./Principal.ts"
import * as Problem from "./Problem.ts"
import { Sockets } from "./Sockets.ts"

/** How long a client waits before it comes back, in milliseconds. */
export const RETRY_MS = 2_000

const encoder = new TextEncoder()

/** The reader's events as chunks of an event stream; fails when the client stops reading. */
const chunks = (
  request: HttpServerRequest,
  reader: Reader,
  times: Sockets["Service"]["times"]
): Stream.Stream<Uint8Array> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let sent = reader.cursor()
      /** Since when the client has not taken what it was given; `undefined` while it waits for more. */
      let givenAt: number | undefined
      const watch = Effect.sleep(times.stallMs / 6).pipe(
        Effect.andThen(
          Effect.sync(() => {
            if (givenAt === undefined || clock.currentTimeMillisUnsafe() - givenAt < times.stallMs) return
            ;(request.source as IncomingMessage).socket.destroy()
          })
        ),
        Effect.forever
      )
      yield* Effect.forkScoped(watch)
      const next = Effect.gen(function* () {
        givenAt = undefined
        const page = yield* reader.next(times.pingMs)
        let text = ""
        for (const told of page) {
          text += `id: ${told.cursor}\ndata: ${told.json}\n\n`
          sent = told.cursor
        }
        if (text === "") {
          text = reader.cursor() > sent ? `: passed\nid: ${(sent = reader.cursor())}\n\n` : ": ping\n\n"
        }
        givenAt = clock.currentTimeMillisUnsafe()
        return encoder.encode(text)
      })
      return Stream.concat(
        Stream.succeed(encoder.encode(`retry: ${RETRY_MS}\n\n`)),
        Stream.fromEffectRepeat(next).pipe(
          // The stream ends, and the client comes back with the last id that it has seen.
          Stream.catch(() => Stream.empty)
        )
      )
    })
  )

/** The route. */
export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter | EventStream | Sockets | Auth> =
  Layer.effectDiscard(
    Effect.gen(function* () {
      const router = yield* HttpRouter.HttpRouter
      const events = yield* EventStream
      const sockets = yield* Sockets
      const auth = yield* Auth
      yield* router.add("GET", "/events", (request) =>
        Effect.gen(function* () {
          const wanted = wantedOf(request)
          if (typeof wanted === "string") return Problem.response(422, wanted)
          const { refused, who } = yield* identify(request)
          if (refused !== undefined) return refused
          if (who === undefined) {
            return Problem.response(401, "Send a token in Authorization or ?token=", { "www-authenticate": "Bearer" })
          }
          const place = yield* sockets.enter(request)
          if (HttpServerResponse.isHttpServerResponse(place)) return place
          const identity = identityOf(who)
          if (identity !== undefined && !place.claim(identity)) {
            return Problem.tooMany("Too many connections are open for you: close some", 10_000)
          }
          const reader = yield* events.read(wanted)
          return HttpServerResponse.stream(
            Stream.interruptWhen(chunks(request, reader, sockets.times), sockets.stopping),
            {
              contentType: "text/event-stream",
              headers: { "cache-control": "no-store", "x-accel-buffering": "no" }
            }
          )
        }).pipe(
          Effect.orElseSucceed(() =>
            Problem.response(503, "The registry's database does not answer: try again", { "retry-after": "2" })
          ),
          Effect.provideService(Auth, auth)
        )
      )
    })
  )
