/**
 * Broadcast within one process: nodes that share a board hear each other at once. For tests, examples and simulations, and
 * for programs that run several agents.
 */
import { Buffer } from "node:buffer"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Broadcast, BroadcastError, type Carrier, type Heard, MAX_BROADCAST_BYTES } from "./Broadcast.ts"

type Hear = (heard: Heard) => void

/** The place where nodes of one process hear each other. */
export interface Board {
  readonly members: Set<Map<string, Set<Hear>>>
}

/** An empty board. */
export const makeBoard = (): Board => ({ members: new Set() })

/** Broadcast on a given board. */
export const make = (board: Board): Broadcast["Service"] =>
  Broadcast.of({
    name: "memory",
    join: ({ nodeId }) =>
      Effect.gen(function* () {
        const topics = new Map<string, Set<Hear>>()
        const counts = new Map<string, number>()
        yield* Effect.acquireRelease(
          Effect.sync(() => board.members.add(topics)),
          () => Effect.sync(() => board.members.delete(topics))
        )
        const carrier: Carrier = {
          publish: (topic, text) =>
            Effect.suspend(() => {
              const bytes = Buffer.byteLength(text)
              if (!board.members.has(topics))
                return Effect.fail(new BroadcastError({ code: "Closed", detail: "the node has left" }))
              if (bytes > MAX_BROADCAST_BYTES) {
                const detail = `the message has ${bytes} bytes, at most ${MAX_BROADCAST_BYTES} are broadcast: send less`
                return Effect.fail(new BroadcastError({ code: "TooLarge", detail }))
              }
              const seq = counts.get(topic) ?? 0
              counts.set(topic, seq + 1)
              const heard = { topic, from: nodeId, seq, text }
              for (const member of [...board.members]) for (const hear of [...(member.get(topic) ?? [])]) hear(heard)
              return Effect.succeed(board.members.size - 1)
            }),
          subscribe: (topic, hear) =>
            Effect.asVoid(
              Effect.acquireRelease(
                Effect.sync(() => {
                  const own: Hear = (heard) => hear(heard)
                  topics.set(topic, (topics.get(topic) ?? new Set()).add(own))
                  return own
                }),
                (own) =>
                  Effect.sync(() => {
                    const hears = topics.get(topic)
                    hears?.delete(own)
                    if (hears?.size === 0) topics.delete(topic)
                  })
              )
            ),
          meet: () => {},
          isDown: () => false
        }
        return carrier
      })
  })

/** Broadcast on a given board. */
export const layer = (board: Board): Layer.Layer<Broadcast> => Layer.succeed(Broadcast, make(board))
