/**
 * The tracker's side of tracker discovery: a directory of signed records that nodes lease a place in.
 *
 * A node can register its own record only: the one signed by the key that its session has proven. Look-ups go through the
 * same matcher that nodes use, without trust or liking, which are the asker's own. Everything a peer can make the tracker
 * hold or do is bounded by `Options`. On a private network only holders of its key get a session at all.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type { AgentRecord } from "@parley/core/AgentRecord"
import { Connections } from "@parley/core/Connections"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import {
  type Connection,
  ResetCode,
  type Stream,
  type StreamHandler,
  type TransportError
} from "@parley/core/Transport"
import { Directory } from "./internal/Directory.ts"
import { TokenBucket } from "./internal/TokenBucket.ts"
import * as Wire from "./internal/TrackerWire.ts"

/** What a tracker allows; every figure may be set. */
export interface Options {
  /** Records held; past it newcomers are refused as `Full`. */
  readonly maxRecords: number
  /** Bytes of records held. A record may have 64 KiB, so that their number alone bounds nothing. */
  readonly maxBytes: number
  /** How long a registration counts without renewal, in milliseconds. Nodes renew at half of it. */
  readonly leaseMs: number
  /** How long it counts after the node's connection went, in milliseconds. */
  readonly graceMs: number
  /** Requests that one peer may make per second on average; twice that at once. Past it streams are reset `Overloaded`. */
  readonly requestsPerSecond: number
  /** Peers that are told of changes. Past it `watch` is reset `Overloaded`. */
  readonly maxWatchers: number
  /** Watches of one peer at once. Past it `watch` is reset `Overloaded`. */
  readonly watchesPerPeer: number
  /** Changes of one node that watchers are told per second on average; ten at once. */
  readonly changesPerNode: number
  /** Changes that one watcher is told per second on average; the rest it learns by asking. */
  readonly changesPerSecond: number
}

/** What holds where nothing is set. */
export const defaults: Options = {
  maxRecords: 100_000,
  maxBytes: 512 * 1024 * 1024,
  leaseMs: 60_000,
  graceMs: 10_000,
  requestsPerSecond: 20,
  maxWatchers: 10_000,
  watchesPerPeer: 4,
  changesPerNode: 1,
  changesPerSecond: 50
}

/** Changes of one node that watchers are told at once. */
const CHANGES_AT_ONCE = 10

/** How often leases are looked through. */
const SWEEP = "1 second"

/** One stream of a peer: its request, and the replies as fast as the peer takes them. */
class Session implements StreamHandler {
  readonly #stream: Stream
  readonly #onRequest: (request: Wire.Request, session: Session) => void
  #onClosed: (() => void) | undefined
  #asked = false
  #writable = true
  #waiting: Array<Wire.Reply> = []
  #ends = false

  constructor(stream: Stream, onRequest: (request: Wire.Request, session: Session) => void) {
    this.#stream = stream
    this.#onRequest = onRequest
  }

  /** Sends the replies, which are few; the last of them closes this side. */
  answer(replies: ReadonlyArray<Wire.Reply>): void {
    this.#waiting = [...replies]
    this.#ends = true
    this.#pump()
  }

  /** Sends these and stays open for more, until `onClosed`. */
  begin(replies: ReadonlyArray<Wire.Reply>, onClosed: () => void): void {
    this.#waiting = [...replies]
    this.#onClosed = onClosed
    this.#pump()
  }

  /** Sends one more, as encoded, unless the peer is behind. */
  offer(reply: Uint8Array): void {
    if (this.#writable) this.#writable = this.#stream.send(reply, undefined, false)
  }

  refuse(code: ResetCode): void {
    this.#stream.reset(code)
    this.onClosed()
  }

  onMessage(message: Uint8Array, last: boolean): void {
    const request = this.#asked || !last ? undefined : Wire.decodeRequest(message)
    this.#asked = true
    if (request === undefined || request.t === "malformed") this.refuse(ResetCode.Malformed)
    else this.#onRequest(request, this)
  }

  onWritable(): void {
    this.#writable = true
    this.#pump()
  }

  onClosed(): void {
    this.#waiting = []
    const closed = this.#onClosed
    this.#onClosed = undefined
    closed?.()
  }

  #pump(): void {
    while (this.#writable) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      const last = this.#ends && this.#waiting.length === 0
      this.#writable = this.#stream.send(Wire.encode(next), undefined, last)
    }
  }
}

const recordReply = (record: AgentRecord): Wire.Reply => ({ t: "record", record })

const serve = Effect.fnUntraced(function* (options: Options) {
  const connections = yield* Connections
  const clock = yield* Clock.Clock
  const now = (): number => clock.currentTimeMillisUnsafe()
  const buckets = new Map<NodeId, TokenBucket>()
  const changes = new Map<NodeId, TokenBucket>()
  const watches = new Map<NodeId, number>()
  const watchers = new Map<Session, { readonly peer: NodeId; readonly bucket: TokenBucket }>()

  const bucketOf = (from: Map<NodeId, TokenBucket>, peer: NodeId, rate: number, burst: number): TokenBucket => {
    const known = from.get(peer)
    if (known !== undefined) return known
    const bucket = new TokenBucket(rate, burst, now())
    from.set(peer, bucket)
    return bucket
  }
  /** Tells watchers; who changes without pause is not told of each time. */
  const announce = (about: NodeId, reply: Wire.Reply): void => {
    if (!bucketOf(changes, about, options.changesPerNode, CHANGES_AT_ONCE).take(now())) return
    let encoded: Uint8Array | undefined
    for (const [session, { bucket, peer }] of watchers) {
      if (peer !== about && bucket.take(now())) session.offer((encoded ??= Wire.encode(reply)))
    }
  }
  const directory = new Directory(options, {
    onRecord: (record) => announce(record.node, recordReply(record)),
    onGone: (node) => announce(node, { t: "gone", node })
  })

  const admit = (peer: NodeId): boolean =>
    bucketOf(buckets, peer, options.requestsPerSecond, options.requestsPerSecond * 2).take(now())

  const onRequest = (peer: NodeId, request: Wire.Request, session: Session): void => {
    switch (request.t) {
      case "register": {
        const came = directory.register(peer, request.record, now())
        return session.answer([
          came._tag === "Registered" ? { t: "registered", leaseMs: came.leaseMs } : Wire.refusal(came.code, came.detail)
        ])
      }
      case "withdraw":
        directory.withdraw(peer)
        return session.answer([{ t: "withdrawn" }])
      case "find": {
        const { more, records } = directory.find(request.query, request.limit ?? Wire.MAX_RESULTS, now(), peer)
        return session.answer([...records.map(recordReply), { t: "end", more }])
      }
      case "watch": {
        const own = watches.get(peer) ?? 0
        if (watchers.size >= options.maxWatchers || own >= options.watchesPerPeer)
          return session.refuse(ResetCode.Overloaded)
        const rate = options.changesPerSecond
        watches.set(peer, own + 1)
        watchers.set(session, { peer, bucket: new TokenBucket(rate, rate * 2, now()) })
        return session.begin(directory.latest(Wire.MAX_RESULTS, now(), peer).map(recordReply), () => {
          watchers.delete(session)
          const left = (watches.get(peer) ?? 1) - 1
          if (left > 0) watches.set(peer, left)
          else watches.delete(peer)
        })
      }
    }
  }

  yield* connections.observe({
    onConnected: ({ peer }) => directory.connected(peer),
    onDisconnected: (peer) => directory.disconnected(peer, now())
  })
  yield* connections.handle(Protocol.TRACKER, (connection: Connection, stream: Stream) => {
    const { peer } = connection
    return new Session(stream, (request, session) => {
      if (admit(peer)) onRequest(peer, request, session)
      else session.refuse(ResetCode.Overloaded)
    })
  })
  yield* Effect.sync(() => {
    directory.expire(now())
    for (const all of [buckets, changes]) {
      for (const [peer, bucket] of all) if (bucket.isFull(now())) all.delete(peer)
    }
  }).pipe(Effect.repeat(Schedule.spaced(SWEEP)), Effect.forkScoped)
})

/** Serves tracker requests on the node's connections, for as long as the layer lives. */
export const layer = (options: Partial<Options> = {}): Layer.Layer<never, TransportError, Connections> =>
  Layer.effectDiscard(serve({ ...defaults, ...options }))
