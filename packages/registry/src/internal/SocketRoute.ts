/**
 * The way into any of the registry's sockets: who is it, is there a place, the upgrade, and a socket that ends well whatever happens.
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import type { Auth, Principal } from "../Principal.ts"
import * as Problem from "../Problem.ts"
import { isUpgrade, type Sockets } from "../Sockets.ts"
import { addressOf } from "../RateLimits.ts"
import { identify, introduced, refuse } from "./SocketAuth.ts"
import { Code, type SocketConnection, type SocketGone } from "./SocketConnection.ts"

/** What stands for whoever has no bound of his own: an operator's tabs, a machine's own programs. */
export const identityOf = (who: Principal): string | undefined =>
  who.kind === "node" || who.kind === "agent" ? `${who.kind}:${who.id}` : undefined

/** How one kind of socket lets in and serves. */
export interface Room {
  readonly request: HttpServerRequest
  readonly sockets: Sockets["Service"]
  readonly maxFrame: number
  /** Somebody who may come in without a token, if any. */
  readonly without?: Effect.Effect<Principal | undefined>
  /** Why somebody who is known may not; `undefined` when he may. */
  readonly forbids?: (who: Principal) => string | undefined
  /** Whose connections are counted together; default: those of whoever it is. */
  readonly counted?: string
  readonly serve: (connection: SocketConnection, who: Principal) => Effect.Effect<void, SocketGone, Scope.Scope>
}

/** Lets in and serves, until either side ends it. */
export const enter = (room: Room): Effect.Effect<HttpServerResponse.HttpServerResponse, never, Auth> =>
  Effect.gen(function* () {
    const { request, sockets } = room
    if (!isUpgrade(request)) {
      return Problem.response(426, "This is a WebSocket: connect with ws:// or wss://", {
        upgrade: "websocket",
        connection: "upgrade"
      })
    }
    const known = yield* identify(request)
    if (known.refused !== undefined) return known.refused
    const early = known.who ?? (room.without === undefined ? undefined : yield* room.without)
    const forbidden = early === undefined ? undefined : room.forbids?.(early)
    if (forbidden !== undefined) return Problem.response(403, forbidden)
    const place = yield* sockets.enter(request)
    if (HttpServerResponse.isHttpServerResponse(place)) return place
    const identity = room.counted ?? (early === undefined ? undefined : identityOf(early))
    if (identity !== undefined && !place.claim(identity)) {
      return Problem.tooMany("Too many connections are open for you: close some", 10_000)
    }
    const connection = yield* sockets.upgrade(request, room.maxFrame)
    const served = Effect.gen(function* () {
      const who = early ?? (yield* introduced(connection, addressOf(request)))
      if (early === undefined) {
        const late = room.forbids?.(who)
        if (late !== undefined) return yield* refuse(connection, Code.Policy, late)
        const named = room.counted === undefined ? identityOf(who) : undefined
        if (named !== undefined && !place.claim(named)) {
          return yield* refuse(connection, Code.Policy, "Too many connections are open for you: close some")
        }
      }
      yield* room.serve(connection, who)
    })
    const stopped = Effect.andThen(sockets.stopping, connection.close(Code.GoingAway, "the registry is stopping"))
    yield* Effect.raceFirst(served, stopped)
    return HttpServerResponse.empty()
  }).pipe(
    // What is left of it is closed by the scope; there is nothing to answer any more.
    Effect.orElseSucceed(() => HttpServerResponse.empty()),
    Effect.scoped
  )
