/**
 * Discovery through a tracker: a node that keeps a directory of signed records for others.
 *
 * The node connects, registers its record under a lease that it renews, and registers again whenever the connection comes
 * back. The tracker is not trusted: it can hold back what it knows, but a record counts by its own signature.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import { counted, Discovery, DiscoveryError, type Found, type Host, type Membership } from "@parley/core/Discovery"
import * as Feed from "@parley/core/Feed"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import type { Query } from "@parley/core/Query"
import {
  type Address,
  type Connection,
  ResetCode,
  type Stream as WireStream,
  type TransportError
} from "@parley/core/Transport"
import * as Remote from "./internal/Remote.ts"
import * as Wire from "./internal/TrackerWire.ts"

/** Longest wait for a tracker's answer, in milliseconds: a dial with a handshake over a slow link, and a look-up. */
export const FIND_MS = 5_000
/** Longest wait for the tracker to note a goodbye, in milliseconds. */
export const GOODBYE_MS = 500
/** Shortest lease that is respected, in milliseconds: a tracker cannot make its nodes renew without pause. */
export const MIN_LEASE_MS = 1_000
/** Longest lease that is respected, in milliseconds: nodes return to a tracker that has forgotten them. */
export const MAX_LEASE_MS = 600_000
/** How often it is looked whether the lease is to be renewed. */
const LOOK = "250 millis"
/** Pause after a renewal that failed, in milliseconds. */
const RETRY_MS = 5_000

/** Which tracker. */
export interface Options {
  /** `tcp://host:port`, or `tcp://host:port/z6Mk…` where only that key will do. */
  readonly at: Address
}

const isAgentRecord = Schema.is(AgentRecord.AgentRecord)

/** A record of the shape of one; whether it is signed is for whoever takes it to see. */
const foundOf = (source: string, record: unknown): Found | undefined =>
  isAgentRecord(record) ? { source, node: record.node, addresses: record.addresses, record } : undefined

const closedError = (source: string, code: ResetCode): DiscoveryError => {
  const fail = (kind: DiscoveryError["code"], detail: string) => new DiscoveryError({ source, code: kind, detail })
  switch (code) {
    case ResetCode.UnknownProtocol:
      return fail("Refused", "the node there is no tracker")
    case ResetCode.Overloaded:
      return fail("Refused", "the tracker has too much to do; ask less often or use another one")
    case ResetCode.Malformed:
      return fail("Malformed", "the tracker could not make sense of the request; it may speak another version")
    case ResetCode.Disconnected:
      return fail("Unreachable", "the connection went before the answer came")
    default:
      return fail("Failed", `the tracker gave up (reset ${code})`)
  }
}

/** Asks one thing on a stream of its own, and gives the replies until the tracker ends it; at most `max` of them. */
const ask = (
  source: string,
  connection: Connection,
  request: Wire.Request,
  max: number
): Stream.Stream<Wire.Reply, DiscoveryError> =>
  Stream.callback<Wire.Reply, DiscoveryError>(
    (queue) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          let left = max
          let over = false
          const fail = (error: DiscoveryError): void => {
            over = true
            Queue.failCauseUnsafe(queue, Cause.fail(error))
          }
          const nonsense = (detail: string): void => {
            stream?.reset(ResetCode.Malformed)
            fail(new DiscoveryError({ source, code: "Malformed", detail }))
          }
          const stream: WireStream | undefined = connection.open(Protocol.TRACKER, {
            onMessage: (message, last) => {
              if (over) return
              const reply = Wire.decodeReply(message)
              if (reply.t === "malformed") return nonsense(reply.detail)
              if (left-- <= 0) return nonsense(`more than ${max} replies came`)
              if (reply.t === "refused") {
                if (!last) stream?.reset(ResetCode.Cancelled)
                return fail(new DiscoveryError({ source, code: "Refused", detail: reply.detail }))
              }
              Queue.offerUnsafe(queue, reply)
              if (!last) return
              over = true
              Queue.endUnsafe(queue)
            },
            onWritable: () => undefined,
            onClosed: (code) => {
              if (!over) fail(closedError(source, code))
            }
          })
          if (stream === undefined) fail(closedError(source, ResetCode.Disconnected))
          else stream.send(Wire.encode(request), undefined, true)
          return () => {
            if (!over) stream?.reset(ResetCode.Cancelled)
            over = true
          }
        }),
        (abandon) => Effect.sync(abandon)
      ),
    { bufferSize: Feed.MAX_WAITING, strategy: "sliding" }
  )

/** What is asked of the tracker: all but what is the asker's own affair. */
const askedOf = (query: Query): Query => {
  const { minTrust: _trust, policy: _policy, preferPeers: _peers, ...rest } = query
  return rest
}

const join = Effect.fn("Tracker.join")(function* (
  source: string,
  at: NonNullable<ReturnType<typeof Remote.parse>>,
  host: Host
) {
  const clock = yield* Clock.Clock
  const remote = Remote.make(host.connections, at.address, at.node)
  const seen = new Map<NodeId, Found>()
  const feed = Feed.make<Found>(() => seen.values())
  yield* Effect.addFinalizer(() => Effect.sync(() => feed.end()))
  let advertised = false
  let renewAt = Number.POSITIVE_INFINITY

  const late = new DiscoveryError({
    source,
    code: "Unreachable",
    detail: `no answer within ${FIND_MS} ms`
  })
  const connect = remote.connect.pipe(
    Effect.mapError(
      (error: TransportError) =>
        new DiscoveryError({
          source,
          code: error.reason._tag === "HandshakeFailed" ? "Refused" : "Unreachable",
          detail: error.message
        })
    )
  )
  const one = (connection: Connection, request: Wire.Request) =>
    Stream.runLast(ask(source, connection, request, 1)).pipe(
      Effect.timeoutOrElse({ duration: FIND_MS, orElse: () => Effect.fail(late) })
    )
  const register = Effect.fnUntraced(function* (connection: Connection) {
    const record = host.record()
    if (AgentRecord.isTombstone(record)) {
      advertised = false
      renewAt = Number.POSITIVE_INFINITY
      yield* one(connection, { t: "withdraw" })
      return
    }
    advertised = true
    renewAt = clock.currentTimeMillisUnsafe() + RETRY_MS
    const reply = yield* one(connection, { t: "register", record })
    if (reply._tag === "None" || reply.value.t !== "registered") {
      return yield* new DiscoveryError({
        source,
        code: "Malformed",
        detail: "a registration was answered by something else"
      })
    }
    const leaseMs = Math.min(Math.max(reply.value.leaseMs, MIN_LEASE_MS), MAX_LEASE_MS)
    renewAt = clock.currentTimeMillisUnsafe() + leaseMs / 2
  })
  const hear = (reply: Wire.Reply): void => {
    if (reply.t === "gone") {
      seen.delete(reply.node)
      feed.publish({ source, node: reply.node, addresses: [], gone: true })
    } else if (reply.t === "record") {
      const found = foundOf(source, reply.record)
      if (found?.node === undefined || found.node === host.nodeId) return
      seen.delete(found.node)
      if (seen.size < Wire.MAX_RESULTS) seen.set(found.node, found)
      feed.publish(found)
    }
  }
  const watch = (connection: Connection) =>
    Stream.runForEach(ask(source, connection, { t: "watch" }, Number.POSITIVE_INFINITY), (reply) =>
      Effect.sync(() => hear(reply))
    )

  const logged = Effect.catch((error: DiscoveryError) => Effect.logDebug(error.message))
  yield* Effect.forkScoped(
    remote.keep((connection) =>
      Effect.gen(function* () {
        if (advertised) yield* logged(register(connection))
        yield* logged(watch(connection))
      })
    )
  )
  yield* Effect.suspend(() => {
    if (clock.currentTimeMillisUnsafe() < renewAt) return Effect.void
    renewAt = clock.currentTimeMillisUnsafe() + RETRY_MS
    return logged(Effect.flatMap(connect, register))
  }).pipe(Effect.repeat(Schedule.spaced(LOOK)), Effect.forkScoped)
  yield* Effect.addFinalizer(() => {
    const peer = remote.peer()
    const connection = peer === undefined ? undefined : host.connections.get(peer)
    if (!advertised || connection === undefined) return Effect.void
    return one(connection, { t: "withdraw" }).pipe(Effect.timeoutOption(GOODBYE_MS), Effect.ignore)
  })

  const membership: Membership = {
    advertise: Effect.suspend(() => {
      // Also where the tracker cannot be reached now: it is told as soon as it can.
      advertised = !AgentRecord.isTombstone(host.record())
      return Effect.flatMap(connect, register)
    }).pipe(Effect.timeoutOrElse({ duration: FIND_MS, orElse: () => Effect.fail(late) })),
    find: (query, report) =>
      counted(
        source,
        report,
        Stream.unwrap(
          Effect.map(connect, (connection) =>
            ask(source, connection, { t: "find", query: askedOf(query) }, Wire.MAX_RESULTS + 1)
          )
        ).pipe(
          Stream.map((reply) => (reply.t === "record" ? foundOf(source, reply.record) : undefined)),
          Stream.filter((found) => found !== undefined),
          Stream.filter(({ node }) => node !== host.nodeId),
          Stream.interruptWhen(Effect.andThen(Effect.sleep(FIND_MS), Effect.fail(late)))
        )
      ),
    changes: feed.stream
  }
  return membership
})

/** Discovery through one tracker. Fails when `at` is no address. */
export const layer = (options: Options): Layer.Layer<Discovery, DiscoveryError> =>
  Layer.effect(
    Discovery,
    Effect.suspend(() => {
      const name = `tracker ${options.at}`
      const at = Remote.parse(options.at)
      if (at !== undefined) return Effect.succeed(Discovery.of({ name, join: (host) => join(name, at, host) }))
      const detail = `${JSON.stringify(options.at)} is no address: write tcp://host:port or tcp://host:port/z6Mk…`
      return Effect.fail(new DiscoveryError({ source: name, code: "Malformed", detail }))
    })
  )
