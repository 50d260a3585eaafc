/** What a peer says of itself on a connection: its record, as it is, whether or not it would be believed. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { Connections } from "@parley/core/Connections"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode, type TransportError } from "@parley/core/Transport"

/** How long a peer has to announce itself once it is connected, in ms: nodes do so at once, and trackers never. */
const WAIT_MS = 1_000
/** First byte of a RECORDS message that holds a record (`docs/protocol.md`). */
const RECORD = 1

/** Listens for announcements; what it gives waits for the first one. To be called before anybody is connected. */
export const listen = (
  connections: Connections["Service"]
): Effect.Effect<Effect.Effect<unknown>, TransportError, Scope.Scope> => {
  const first = Deferred.makeUnsafe<unknown>()
  return Effect.as(
    connections.handle(Protocol.RECORDS, (_connection, stream) => ({
      onMessage: (message) => {
        if (message[0] !== RECORD || message.length > AgentRecord.MAX_RECORD_BYTES + 1)
          return stream.reset(ResetCode.Malformed)
        const text = Buffer.from(message.subarray(1)).toString("utf8")
        const parsed = CanonicalJson.parse(text, { maxBytes: AgentRecord.MAX_RECORD_BYTES })
        if (parsed._tag === "Success") Deferred.doneUnsafe(first, Effect.succeed(parsed.success))
      },
      onWritable: () => {},
      onClosed: () => {}
    })),
    Effect.timeoutOrElse(Deferred.await(first), { duration: WAIT_MS, orElse: () => Effect.succeed(undefined) })
  )
}
