/**
 * Discovery on the local network without any server: multicast DNS (RFC 6762) and DNS-SD (RFC 6763).
 *
 * A node shows as an instance of `_parley._tcp.local` that is named after its key's fingerprint: PTR, SRV, TXT with the
 * NodeId, A and AAAA. Nothing else is told: no agent name, no capability; the record is asked for over an authenticated
 * connection. Everything heard is a hint from nobody in particular, and bounded. IPv4 multicast on every interface.
 *
 * In a private network (`networkKey`) not even that is told to others: names rotate, and what they say is sealed; see
 * `internal/BlindDialect.ts`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import { counted, Discovery, DiscoveryError, type Found, type Host, type Membership } from "@parley/core/Discovery"
import * as Feed from "@parley/core/Feed"
import * as Perimeter from "@parley/core/Perimeter"
import * as BlindDialect from "./internal/BlindDialect.ts"
import type { Dialect } from "./internal/Dialect.ts"
import * as Interfaces from "./internal/Interfaces.ts"
import * as PlainDialect from "./internal/PlainDialect.ts"
import { NoInterface, Responder } from "./internal/Responder.ts"
import { SOURCE } from "./internal/ServiceCache.ts"

export { SOURCE } from "./internal/ServiceCache.ts"

/** The port of multicast DNS. It is shared with other responders of the machine. */
export const PORT = 5353
/** How long a search waits for answers, in milliseconds. */
export const FIND_MS = 300
/** A search within this time of the last question, in milliseconds, does not ask again. */
export const ASK_AGAIN_MS = 1_000

/** Names of the interfaces that are used by default, as they are now. */
export const interfaces = (): ReadonlyArray<string> => Interfaces.list().map(({ name }) => name)

/** How multicast DNS is used. */
export interface Options {
  /** Names (`eth0`) or IPv4 addresses of the interfaces to use. Default: all that have IPv4. */
  readonly interfaces?: ReadonlyArray<string>
  /** Default: `PORT`. On another one, only nodes that say the same are found. */
  readonly port?: number
  /** The private network's key, 32 bytes: only its members find this node, and are found. */
  readonly networkKey?: Uint8Array
}

const open = (
  host: Host,
  options: Options,
  perimeter: Perimeter.Rules,
  dialect: Dialect,
  onFound: (found: Found) => void
) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const { interfaces, port = PORT } = options
        const { allows } = perimeter
        const responder = new Responder({ node: host.nodeId, port, interfaces, allows, dialect, onFound })
        await responder.open()
        return responder
      },
      catch: (cause) => {
        const why = cause instanceof NoInterface ? cause.message : String(cause)
        const detail = `no interface can be used for multicast (${why}); give peers by address or use a tracker`
        return new DiscoveryError({ source: SOURCE, code: "Failed", detail })
      }
    }),
    (responder) => Effect.promise(() => responder.close())
  )

const join = Effect.fn("Mdns.join")(function* (host: Host, options: Options) {
  const perimeter = yield* Perimeter.Perimeter
  const { networkKey } = options
  if (host.isPrivate && networkKey === undefined) {
    const detail = "this node is of a private network, and would be shown in clear: give mDNS the network's key"
    return yield* new DiscoveryError({ source: SOURCE, code: "Refused", detail })
  }
  const dialect =
    networkKey === undefined
      ? PlainDialect.make(host.nodeId)
      : BlindDialect.make(host.nodeId, networkKey, perimeter.allows)
  const others = (): ReadonlyArray<Found> => dialect.known().filter(({ node }) => node !== host.nodeId)
  const feed = Feed.make<Found>(() => others())
  yield* Effect.addFinalizer(() => Effect.sync(() => feed.end()))
  const responder = yield* open(host, options, perimeter, dialect, feed.publish)
  yield* Effect.logDebug(`mDNS on ${responder.interfaces.join(", ")}`)
  const membership: Membership = {
    advertise: Effect.sync(() => {
      if (AgentRecord.isTombstone(host.record())) responder.withdraw()
      else responder.announce(host.addresses())
    }),
    find: (query, report) =>
      counted(
        SOURCE,
        report,
        Stream.suspend(() => {
          const isWanted = (found: Found): boolean =>
            found.gone !== true && (query.node === undefined || query.node === found.node)
          const known = others().filter(isWanted)
          if (query.node !== undefined && known.length > 0) return Stream.fromIterable(known)
          if (responder.sinceAsked > ASK_AGAIN_MS) responder.ask()
          const heard = feed.stream.pipe(
            Stream.filter(isWanted),
            Stream.interruptWhen(Effect.sleep(Math.max(0, FIND_MS - responder.sinceAsked)))
          )
          // The feed begins with what is known; where there is no time to wait, that is all.
          if (responder.sinceAsked >= FIND_MS) return Stream.fromIterable(known)
          return query.node === undefined ? heard : Stream.take(heard, 1)
        })
      ),
    changes: feed.stream
  }
  return membership
})

/** Multicast DNS with options. */
export const layerWith = (options: Options): Layer.Layer<Discovery> =>
  Layer.succeed(Discovery, Discovery.of({ name: SOURCE, join: (host) => join(host, options) }))

/** Multicast DNS on every interface. */
export const layer: Layer.Layer<Discovery> = layerWith({})
