/**
 * Look: what a relay sees of this node: the address that its connections come from, whether it can be reached there, and how far
 * apart the two clocks are.
 *
 * A relay tries only the address that the asking connection comes from, so that nobody can have others knocked at.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode, TransportError } from "@parley/core/Transport"
import type { Connection } from "@parley/core/Transport"
import { explain } from "./internal/RelayLink.ts"
import * as Wire from "./internal/RelayWire.ts"

/** Longest wait for the relay's answer, in ms; it tries for half of that. */
export const ANSWER_MS = 5_000

/** What came of the relay's attempt to connect: not made, accepted, refused, or without an answer. */
export type Reached = Wire.Reached

/** What a relay sees. */
export interface Seen {
  /** Where this node's connection comes from, `tcp://HOST:PORT`; empty where the relay does not know. */
  readonly address: string
  readonly reached: Reached
  /** The relay's clock less ours, in ms; wrong by at most half of `roundTripMs`, where no connection was tried. */
  readonly clockOffsetMs: number
  readonly roundTripMs: number
}

/** Asks a relay what it sees, and with a port other than 0 to connect to it there. */
export const at = (relay: Connection, port: number): Effect.Effect<Seen, TransportError> =>
  Effect.flatMap(Clock.Clock, (clock) => ask(relay, port, () => clock.currentTimeMillisUnsafe()))

const ask = (relay: Connection, port: number, now: () => number): Effect.Effect<Seen, TransportError> =>
  Effect.callback<Seen, TransportError>((resume) => {
    const asked = performance.now()
    const askedAt = now()
    const end = (result: Effect.Effect<Seen, TransportError>): void => {
      clearTimeout(timer)
      resume(result)
    }
    const fail = (detail: string): void =>
      end(Effect.fail(new TransportError({ reason: { _tag: "DialFailed", address: relay.address, detail } })))
    const timer = setTimeout(() => {
      stream?.reset(ResetCode.Cancelled)
      fail(`it did not say within ${ANSWER_MS} ms what it sees`)
    }, ANSWER_MS)
    const stream = relay.open(Protocol.RELAY, {
      onMessage: (message) => {
        const answer = Wire.readSeen(message)
        const roundTripMs = performance.now() - asked
        if (typeof answer === "string") {
          const old = answer === "Malformed" ? "; it may be too old to be asked" : ""
          return fail(`the relay does not tell what it sees (${answer}): ${Wire.refusals[answer][1]}${old}`)
        }
        const { address, reached, time } = answer
        // The time is told with the answer, so after an attempt only the way back lies between it and now.
        const clockOffsetMs = reached === "not tried" ? time - (askedAt + roundTripMs / 2) : time - now()
        end(Effect.succeed({ address, reached, clockOffsetMs, roundTripMs }))
      },
      onWritable: () => {},
      onClosed: (code) => fail(explain(code))
    })
    if (stream === undefined) return fail("the connection takes no more streams")
    stream.send(Wire.look(port), undefined, true)
    return Effect.sync(() => {
      clearTimeout(timer)
      stream.reset(ResetCode.Cancelled)
    })
  })
