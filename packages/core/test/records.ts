/** Agent records that a stranger signs and tells, for tests of nodes. */
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { CapabilityRecord } from "@parley/core/Capability"
import * as Protocol from "@parley/core/Protocol"
import type { Identity } from "@parley/core/Identity"
import * as Effect from "effect/Effect"
import { addressOf, knows, type Member, type Stranger } from "./mesh.ts"

let seq = Date.now()

/** What a record needs of a capability. */
export interface Described {
  readonly id: string
  readonly record: CapabilityRecord
}

/** A record of an identity that serves these. */
export const signed = (
  identity: Identity["Service"],
  capabilities: ReadonlyArray<Described>
): AgentRecord.AgentRecord =>
  AgentRecord.make(identity, {
    name: "stranger",
    seq: (seq += 1),
    issuedAt: Date.now(),
    addresses: [addressOf(identity.nodeId)],
    capabilities: capabilities.map(({ record }) => record)
  })

/** A record as the message that tells it. */
export const recordMessage = (record: AgentRecord.AgentRecord): Uint8Array =>
  Buffer.concat([Uint8Array.of(1), CanonicalJson.bytes(record)])

/** Connects a stranger to a node and tells it what the stranger serves; done when the node knows. */
export const announce = (
  stranger: Stranger,
  node: Member,
  capabilities: ReadonlyArray<Described>
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const connection = yield* stranger.connections.connect({ node: node.nodeId, addresses: [addressOf(node.nodeId)] })
    const stream = connection.open(Protocol.RECORDS, { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} })
    stream?.send(recordMessage(signed(stranger.identity, capabilities)), undefined, false)
    const last = capabilities.at(-1)
    if (last !== undefined) yield* knows(node, stranger.identity.nodeId, last.id)
  }).pipe(Effect.orDie)
