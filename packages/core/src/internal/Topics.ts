/**
 * Topics: a subscriber opens one stream per topic to each peer; a publisher sends each message down the streams of that
 * topic. At most once, in order per publisher; who reads too slowly misses messages.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as EffectStream from "effect/Stream"
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
const head = { subscribe: Uint8Array.of(SUBSCRIBE), message: Uint8Array.of(MESSAGE) }

interface Interest {
  readonly topic: string
  readonly queues: Set<Queue.Queue<Message>>
  readonly streams: Map<NodeId, Stream>
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

/** Carries topics over the node's connections until the scope closes. */
export const make = Effect.fnUntraced(function* (
  connections: Connections["Service"],
  settings: Settings
): Effect.fn.Return<Topics, never, Scope.Scope> {
  /** What this node listens to. */
  const interests = new Map<string, Interest>()
  /** Who listens to this node, by topic. */
  const subscribers = new Map<string, Set<Stream>>()
  const perPeer = new Map<NodeId, number>()
  const blocked = new WeakSet<Stream>()

  const listen = (interest: Interest, connection: Connection): void => {
    if (interest.streams.has(connection.peer)) return
    const stream = connection.open(Protocol.TOPICS, {
      onMessage: (message) => {
        if (message[0] !== MESSAGE || message.length > settings.maxPayloadBytes) {
          return stream?.reset(ResetCode.Malformed)
        }
        const text = Buffer.from(message.buffer, message.byteOffset + 1, message.length - 1).toString("utf8")
        const data = JsonCodec.parse(text, settings.maxJsonDepth)
        if (data instanceof JsonCodec.Unfit) return stream?.reset(ResetCode.Malformed)
        hand(interest, { topic: interest.topic, from: connection.peer, data })
      },
      onWritable: () => {},
      onClosed: () => {
        // Another connection may have replaced this one meanwhile, with a stream of its own.
        if (interest.streams.get(connection.peer) === stream) interest.streams.delete(connection.peer)
      }
    })
    if (stream === undefined) return
    interest.streams.set(connection.peer, stream)
    stream.send(head.subscribe, interest.topic, false)
  }

  const hand = (interest: Interest, message: Message): void => {
    for (const queue of interest.queues) Queue.offerUnsafe(queue, message)
  }

  const accept = (connection: Connection, stream: Stream): StreamHandler => {
    let topic: string | undefined
    const leave = (): void => {
      if (topic === undefined) return
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
          return void stream.send(new Uint8Array(0), undefined, true)
        }
        if (
          topic !== undefined ||
          message[0] !== SUBSCRIBE ||
          message.length < 2 ||
          message.length > MAX_TOPIC_BYTES + 1
        ) {
          leave()
          return stream.reset(ResetCode.Malformed)
        }
        const count = perPeer.get(connection.peer) ?? 0
        if (count >= settings.topics.perPeer) return stream.reset(ResetCode.Overloaded)
        perPeer.set(connection.peer, count + 1)
        topic = Buffer.from(message.subarray(1)).toString("utf8")
        const streams = subscribers.get(topic) ?? new Set()
        subscribers.set(topic, streams.add(stream))
      },
      onWritable: () => blocked.delete(stream),
      onClosed: leave
    }
  }

  yield* Effect.orDie(connections.handle(Protocol.TOPICS, accept))
  yield* connections.observe({
    onConnected: (connection) => {
      for (const interest of interests.values()) listen(interest, connection)
    },
    onDisconnected: (peer) => {
      for (const interest of interests.values()) interest.streams.delete(peer)
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
        const limit = settings.maxPayloadBytes - 1
        const bytes = Buffer.byteLength(body)
        if (bytes > limit) return Effect.fail(new NodeError({ reason: { _tag: "TooLarge", bytes, limit } }))
        let handed = 0
        for (const stream of subscribers.get(topic) ?? []) {
          if (blocked.has(stream)) continue
          if (!stream.send(head.message, body, false)) blocked.add(stream)
          handed += 1
        }
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
              const interest = interests.get(topic) ?? { topic, queues: new Set(), streams: new Map() }
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
              })
          )
          return EffectStream.fromQueue(queue)
        })
      )
  }
})
