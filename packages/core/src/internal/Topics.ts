/**
 * Topics: a subscriber opens one stream per topic to each peer; a publisher sends each message down the streams of that
 * topic. At most once, in order per publisher; who reads too slowly misses messages.
 *
 * Where the node has a broadcast, its messages travel by that, over many hops, and a stream is opened with the word that it
 * is for a peer without one: who has a broadcast, too, ends such a stream, and nothing comes twice.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as EffectStream from "effect/Stream"
import { type BroadcastError, type Carrier, type Heard, MAX_BROADCAST_BYTES } from "../Broadcast.ts"
import type { Connections } from "../Connections.ts"
import type { Settings } from "../Guardrails.ts"
import type { Message } from "../Node.ts"
import { NodeError } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import * as Protocol from "../Protocol.ts"
import { type Connection, ResetCode, type Stream, type StreamHandler } from "../Transport.ts"
import * as JsonCodec from "./JsonCodec.ts"

/** Longest topic, in bytes. */
export const MAX_TOPIC_BYTES = 256

const SUBSCRIBE = 1
const MESSAGE = 2
/** As `SUBSCRIBE`, of a subscriber that has a broadcast: wanted only of a publisher that has none. */
const SUBSCRIBE_BESIDE = 3
const head = {
  subscribe: Uint8Array.of(SUBSCRIBE),
  beside: Uint8Array.of(SUBSCRIBE_BESIDE),
  message: Uint8Array.of(MESSAGE)
}
const empty = new Uint8Array(0)

/** How long the end of a stream is waited for that goes on over another connection: a peer of an earlier version says none. */
const HAND_OVER_MS = 5_000

/** A stream that goes on over another connection, once its last messages are here. */
interface Leaving {
  readonly stream: Stream
  next: () => void
  readonly end: () => void
}

interface Interest {
  readonly topic: string
  readonly queues: Set<Queue.Queue<Message>>
  readonly streams: Map<NodeId, Stream>
  readonly leaving: Map<NodeId, Leaving>
}

/** What a node publishes and hears. */
export interface Topics {
  readonly publish: (topic: string, data: Schema.Json) => Effect.Effect<number, NodeError>
  readonly subscribe: (topic: string) => EffectStream.Stream<Message, NodeError>
}

const tooLong = (topic: string): NodeError | undefined =>
  topic !== "" && Buffer.byteLength(topic) <= MAX_TOPIC_BYTES
    ? undefined
    : new NodeError({ reason: { _tag: "BadQuery", detail: `a topic has 1 to ${MAX_TOPIC_BYTES} bytes` } })

/** How long a node waits before it publishes again what its broadcast had no room for, in ms. */
const RETRY_MS = 1_000

const refusedBy = (node: NodeId, error: BroadcastError, bytes: number): NodeError => {
  const { detail } = error
  switch (error.code) {
    case "TooLarge":
      return new NodeError({ reason: { _tag: "TooLarge", bytes, limit: MAX_BROADCAST_BYTES } })
    case "TooMany":
      return new NodeError({ reason: { _tag: "Overloaded", peer: node, retryAfterMs: RETRY_MS, detail } })
    case "Closed":
      return new NodeError({ reason: { _tag: "Unreachable", peer: "subscribers", detail } })
  }
}

/** Carries topics over the node's connections, and its broadcast where it has one, until the scope closes. */
export const make = Effect.fnUntraced(function* (
  connections: Connections["Service"],
  settings: Settings,
  carrier: Carrier | undefined,
  /** Called with the connection of a subscription that broke. */
  broken: (connection: Connection) => void
): Effect.fn.Return<Topics, never, Scope.Scope> {
  /** What this node listens to. */
  const interests = new Map<string, Interest>()
  /** Who listens to this node, by topic. */
  const subscribers = new Map<string, Set<Stream>>()
  /** The latest stream of each of them, by NodeId and topic. */
  const latest = new Map<
    string,
    { readonly connection: Connection; readonly stream: Stream; readonly leave: () => void }
  >()
  const perPeer = new Map<NodeId, number>()
  const blocked = new WeakSet<Stream>()
  /** Connections whose peer has a broadcast, too. */
  const broadcasting = new WeakSet<Connection>()

  const listen = (interest: Interest, connection: Connection): void => {
    if (interest.streams.has(connection.peer) || broadcasting.has(connection)) return
    const before = interest.leaving.get(connection.peer)
    /** What came here before the stream ended that this one follows on another connection. */
    let held: Array<Message> | undefined = before === undefined ? undefined : []
    const isLeaving = (): boolean => interest.leaving.get(connection.peer)?.stream === stream
    const stream = connection.open(Protocol.TOPICS, {
      onMessage: (message, last) => {
        if (last && isLeaving()) {
          interest.leaving.get(connection.peer)?.end()
          return void stream?.send(empty, undefined, true)
        }
        if (last && message.length === 0 && carrier !== undefined) {
          broadcasting.add(connection)
          if (interest.streams.get(connection.peer) === stream) interest.streams.delete(connection.peer)
          return void stream?.send(empty, undefined, true)
        }
        if (message[0] !== MESSAGE || message.length > settings.maxPayloadBytes) {
          return stream?.reset(ResetCode.Malformed)
        }
        const text = Buffer.from(message.buffer, message.byteOffset + 1, message.length - 1).toString("utf8")
        const data = JsonCodec.parse(text, settings.maxJsonDepth)
        if (data instanceof JsonCodec.Unfit) return stream?.reset(ResetCode.Malformed)
        const heard = { topic: interest.topic, from: connection.peer, data }
        if (held === undefined) hand(interest, heard)
        else held.push(heard)
      },
      onWritable: () => {},
      onClosed: (code) => {
        if (isLeaving()) return interest.leaving.get(connection.peer)?.end()
        // Another connection may have replaced this one meanwhile, with a stream of its own.
        if (interest.streams.get(connection.peer) === stream) interest.streams.delete(connection.peer)
        if (code === ResetCode.Disconnected && interests.get(interest.topic) === interest) broken(connection)
      }
    })
    if (stream === undefined) return
    interest.streams.set(connection.peer, stream)
    if (before !== undefined) {
      // So that a window of messages is the most that is held.
      stream.pause()
      before.next = () => {
        for (const message of held ?? []) hand(interest, message)
        held = undefined
        stream.resume()
      }
    }
    stream.send(carrier === undefined ? head.subscribe : head.beside, interest.topic, false)
  }

  /** Another connection takes over: the peer ends this stream when it has the one there, and until then it goes on. */
  const handOver = (interest: Interest, peer: NodeId): void => {
    const stream = interest.streams.get(peer)
    if (stream === undefined) return
    interest.streams.delete(peer)
    interest.leaving.get(peer)?.end()
    const leaving: Leaving = {
      stream,
      next: () => {},
      end: () => {
        clearTimeout(timer)
        if (interest.leaving.get(peer) === leaving) interest.leaving.delete(peer)
        leaving.next()
      }
    }
    const timer = setTimeout(() => {
      leaving.end()
      stream.reset(ResetCode.Cancelled)
    }, HAND_OVER_MS)
    timer.unref()
    interest.leaving.set(peer, leaving)
  }

  const hand = (interest: Interest, message: Message): void => {
    for (const queue of interest.queues) Queue.offerUnsafe(queue, message)
  }
  const hear = (queue: Queue.Queue<Message>, { from, text, topic }: Heard): void => {
    const data = JsonCodec.parse(text, settings.maxJsonDepth)
    if (!(data instanceof JsonCodec.Unfit)) Queue.offerUnsafe(queue, { topic, from, data })
  }

  const accept = (connection: Connection, stream: Stream): StreamHandler => {
    let topic: string | undefined
    let over = false
    const leave = (): void => {
      over = true
      if (topic === undefined) return
      const key = `${connection.peer} ${topic}`
      if (latest.get(key)?.stream === stream) latest.delete(key)
      const streams = subscribers.get(topic)
      streams?.delete(stream)
      if (streams?.size === 0) subscribers.delete(topic)
      const left = (perPeer.get(connection.peer) ?? 1) - 1
      if (left > 0) perPeer.set(connection.peer, left)
      else perPeer.delete(connection.peer)
      topic = undefined
    }
    return {
      onMessage: (message, last) => {
        if (last) {
          leave()
          return void stream.send(empty, undefined, true)
        }
        const beside = message[0] === SUBSCRIBE_BESIDE
        if (
          over ||
          topic !== undefined ||
          (message[0] !== SUBSCRIBE && !beside) ||
          message.length < 2 ||
          message.length > MAX_TOPIC_BYTES + 1
        ) {
          leave()
          return stream.reset(ResetCode.Malformed)
        }
        if (beside && carrier !== undefined) {
          over = true
          return void stream.send(empty, undefined, true)
        }
        const wanted = Buffer.from(message.subarray(1)).toString("utf8")
        const key = `${connection.peer} ${wanted}`
        const before = latest.get(key)
        if (before !== undefined && before.connection !== connection) {
          // It goes on here: what was handed out there arrives there, and then the end.
          before.leave()
          before.stream.send(empty, undefined, true)
        }
        const count = perPeer.get(connection.peer) ?? 0
        if (count >= settings.topics.perPeer) return stream.reset(ResetCode.Overloaded)
        perPeer.set(connection.peer, count + 1)
        topic = wanted
        latest.set(key, { connection, stream, leave })
        const streams = subscribers.get(topic) ?? new Set()
        subscribers.set(topic, streams.add(stream))
      },
      onWritable: () => blocked.delete(stream),
      onClosed: leave
    }
  }

  /** Sends a message down the streams of its topic. */
  const handOut = (topic: string, body: string): number => {
    let handed = 0
    for (const stream of subscribers.get(topic) ?? []) {
      if (blocked.has(stream)) continue
      if (!stream.send(head.message, body, false)) blocked.add(stream)
      handed += 1
    }
    return handed
  }

  yield* Effect.orDie(connections.handle(Protocol.TOPICS, accept))
  yield* connections.observe({
    onConnected: (connection) => {
      for (const interest of interests.values()) listen(interest, connection)
    },
    onDisconnected: (peer) => {
      for (const interest of interests.values()) handOver(interest, peer)
    }
  })

  return {
    publish: (topic, data) =>
      Effect.suspend(() => {
        const wrong = tooLong(topic)
        if (wrong !== undefined) return Effect.fail(wrong)
        const body = JsonCodec.stringify(data)
        if (body === undefined) {
          return Effect.fail(new NodeError({ reason: { _tag: "BadQuery", detail: "the message has no JSON form" } }))
        }
        // The message's first byte counts, too.
        const most = settings.maxPayloadBytes - 1
        const limit = carrier === undefined ? most : Math.min(most, MAX_BROADCAST_BYTES)
        const bytes = Buffer.byteLength(body)
        if (bytes > limit) return Effect.fail(new NodeError({ reason: { _tag: "TooLarge", bytes, limit } }))
        if (carrier !== undefined) {
          return carrier.publish(topic, body).pipe(
            Effect.mapError((error) => refusedBy(connections.nodeId, error, bytes)),
            Effect.map((handed) => handed + handOut(topic, body))
          )
        }
        const handed = handOut(topic, body)
        const own = interests.get(topic)
        if (own !== undefined) hand(own, { topic, from: connections.nodeId, data })
        return Effect.succeed(handed)
      }),
    subscribe: (topic) =>
      EffectStream.unwrap(
        Effect.gen(function* () {
          const wrong = tooLong(topic)
          if (wrong !== undefined) return yield* wrong
          const queue = yield* Queue.sliding<Message>(settings.topics.pending)
          yield* Effect.acquireRelease(
            Effect.sync(() => {
              const interest = interests.get(topic) ?? {
                topic,
                queues: new Set(),
                streams: new Map(),
                leaving: new Map()
              }
              interests.set(topic, interest)
              interest.queues.add(queue)
              for (const connection of connections.list()) listen(interest, connection)
              return interest
            }),
            (interest) =>
              Effect.sync(() => {
                interest.queues.delete(queue)
                if (interest.queues.size > 0) return
                interests.delete(topic)
                for (const stream of interest.streams.values()) stream.reset(ResetCode.Cancelled)
                for (const { end, stream } of [...interest.leaving.values()]) {
                  end()
                  stream.reset(ResetCode.Cancelled)
                }
              })
          )
          if (carrier !== undefined) {
            // The topic's streams serve all its readers; what is broadcast comes to each by itself.
            yield* carrier.subscribe(topic, (heard) => hear(queue, heard))
          }
          return EffectStream.fromQueue(queue)
        })
      )
  }
})
