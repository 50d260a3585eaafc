/**
 * Sockets: how many connections stay open, for whom, and what they may send.
 *
 * Each WebSocket and each event stream counts against its address, against whom it was opened for, and against all. A client that
 * floods is told so in an error frame, and closed when it goes on.
 */
import type { IncomingMessage } from "node:http"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import type { WebSocketServer } from "@effect/platform-node/NodeWS"
import type * as Scope from "effect/Scope"
import { addressOf, counted } from "./RateLimits.ts"
import { accept, type SocketConnection, type SocketGone, type Times, times } from "./internal/SocketConnection.ts"
import { MAX_LEASES_OF_AGENT } from "./internal/Leases.ts"
import { type Bucket, Limits } from "./Limits.ts"
import * as Problem from "./Problem.ts"

export {
  CLOSE_MS,
  Code,
  HIGH_WATER_BYTES,
  MAX_WAITING_FRAMES,
  PING_MS,
  SocketGone,
  STALL_MS
} from "./internal/SocketConnection.ts"

/** Most connections that stay open at one instance: sockets and event streams. About 100 KB each at worst. */
export const MAX_SOCKETS = 10_000
/** Most of them from one address (of IPv6: one /64): a machine full of agents, and dashboards behind one router. */
export const MAX_SOCKETS_OF_ADDRESS = 2_048
/**
 * Most of them for one identity: a few tabs, and an agent that reconnects while its old sockets linger; as many as it may have leases.
 * An agent's heartbeats count apart. Nobody in particular, and the operator, have no such bound.
 */
export const MAX_SOCKETS_OF_IDENTITY = MAX_LEASES_OF_AGENT
/** Refused frames in a row until a socket is closed. */
export const MAX_REFUSED_FRAMES = 100

/** What bounds connections; default the constants here. */
export interface Options {
  readonly max?: number
  readonly maxOfAddress?: number
  readonly maxOfIdentity?: number
  readonly times?: Partial<Times>
}

/** A place among the connections. */
export interface Place {
  /** Counts it for an identity as well; false where that has too many. */
  readonly claim: (identity: string) => boolean
}

/** How many connections stay open. */
export class Sockets extends Context.Service<
  Sockets,
  {
    /** A place for one more, until the scope ends; or why there is none. */
    readonly enter: (request: HttpServerRequest) => Effect.Effect<Place | HttpServerResponse, never, Scope.Scope>
    /** Upgrades a request; `maxFrame` is the largest message that is taken, in bytes (larger: close 1009). */
    readonly upgrade: (
      request: HttpServerRequest,
      maxFrame: number
    ) => Effect.Effect<SocketConnection, SocketGone, Scope.Scope>
    /** Milliseconds until one more frame of this kind may come from somebody; 0: now. */
    readonly frame: (kind: string, who: string, bucket: Bucket) => Effect.Effect<number>
    /** Says goodbye to all (1001), and to whoever still comes; does not wait for their answers. A server that stops does so first. */
    readonly stop: Effect.Effect<void>
    /** Waits for `stop`. */
    readonly stopping: Effect.Effect<void>
    /** How many are open. */
    readonly open: () => number
    readonly times: Times
  }
>()("@parley/registry/Sockets") {}

/** Counts that are gone at zero. */
class Counts {
  readonly #counts = new Map<string, number>()
  get = (key: string): number => this.#counts.get(key) ?? 0
  add = (key: string, by: 1 | -1): void => {
    const count = this.get(key) + by
    if (count === 0) this.#counts.delete(key)
    else this.#counts.set(key, count)
  }
}

/** Whether a request asks for a WebSocket. */
export const isUpgrade = (request: HttpServerRequest): boolean =>
  request.headers["upgrade"]?.toLowerCase() === "websocket"

/** Bounded connections. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const limits = yield* Limits
  const patience: Times = { ...times, ...options.times }
  const max = options.max ?? MAX_SOCKETS
  const maxOfAddress = options.maxOfAddress ?? MAX_SOCKETS_OF_ADDRESS
  const maxOfIdentity = options.maxOfIdentity ?? MAX_SOCKETS_OF_IDENTITY
  const addresses = new Counts()
  const identities = new Counts()
  const servers = new Map<number, WebSocketServer>()
  const stopping = Latch.makeUnsafe()
  let open = 0

  const enter = (request: HttpServerRequest) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const address = counted(addressOf(request))
        if (open >= max) {
          return Problem.response(503, `This registry has ${max} connections open, and no room for more: try later`, {
            "retry-after": "10"
          })
        }
        if (addresses.get(address) >= maxOfAddress) {
          return Problem.tooMany(`${maxOfAddress} connections are open from your address: close some`, 10_000)
        }
        open++
        addresses.add(address, 1)
        let claimed: string | undefined
        return {
          claim: (identity: string) => {
            if (identities.get(identity) >= maxOfIdentity) return false
            claimed = identity
            identities.add(identity, 1)
            return true
          },
          leave: () => {
            open--
            addresses.add(address, -1)
            if (claimed !== undefined) identities.add(claimed, -1)
          }
        }
      }),
      (place) => Effect.sync(() => ("leave" in place ? place.leave() : undefined))
    )

  const serverOf = (maxPayload: number): Effect.Effect<WebSocketServer> =>
    Effect.suspend(() => {
      const known = servers.get(maxPayload)
      if (known !== undefined) return Effect.succeed(known)
      return Effect.map(
        Effect.promise(() => import("@effect/platform-node/NodeWS")),
        ({ WebSocketServer }) => {
          const made = new WebSocketServer({
            noServer: true,
            clientTracking: false,
            perMessageDeflate: false,
            maxPayload
          })
          servers.set(maxPayload, made)
          return made
        }
      )
    })

  return Sockets.of({
    enter,
    upgrade: (request, maxFrame) =>
      Effect.flatMap(serverOf(maxFrame), (server) => accept(server, request.source as IncomingMessage, patience)),
    frame: (kind, who, bucket) => limits.take(`frame:${kind}:${who}`, bucket),
    stop: Effect.sync(() => stopping.openUnsafe()),
    stopping: stopping.await,
    open: () => open,
    times: patience
  })
})

/** Bounded connections. */
export const layer: Layer.Layer<Sockets, never, Limits> = Layer.effect(Sockets, make())
