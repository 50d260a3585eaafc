/**
 * Discovery within one process: nodes advertise on a board that they share. For tests, examples and simulations, and for
 * programs that run several agents at once.
 *
 * Searches end at once; changes are heard at once. The board holds one record per node, that node's own.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as AgentRecord from "./AgentRecord.ts"
import { counted, Discovery, DiscoveryError, type Found, type Host, type Membership } from "./Discovery.ts"
import * as Feed from "./Feed.ts"
import type { NodeId } from "./NodeId.ts"

/** How this discovery is named in messages. */
export const SOURCE = "memory"

/** The place where nodes of one process advertise. */
export interface Board {
  /** The records now advertised, expired ones included, in the order in which the nodes came. */
  readonly records: () => Iterable<AgentRecord.AgentRecord>
  /** Advertises for a member, in place of what it said before; a record below the one that stands is refused. */
  readonly put: (member: Member, record: AgentRecord.AgentRecord, now: number) => AgentRecord.RecordRefused | undefined
  /** Takes down what this member has advertised, if it still stands. */
  readonly remove: (member: Member) => void
  /** Comings and goings. */
  readonly changes: Stream.Stream<Found>
}

/** One node's seat at a board. A node that joins again has a new seat, and its old one no longer speaks for it. */
export interface Member {
  readonly node: NodeId
}

const foundOf = (record: AgentRecord.AgentRecord): Found => ({
  source: SOURCE,
  node: record.node,
  addresses: record.addresses,
  record
})

/** An empty board. */
export const makeBoard = (): Board => {
  const entries = new Map<NodeId, { readonly member: Member; readonly record: AgentRecord.AgentRecord }>()
  const feed = Feed.make<Found>(() => [...entries.values()].map(({ record }) => foundOf(record)))
  const drop = (member: Member): void => {
    if (entries.get(member.node)?.member !== member) return
    entries.delete(member.node)
    feed.publish({ source: SOURCE, node: member.node, addresses: [], gone: true })
  }
  return {
    records: () => [...entries.values()].map(({ record }) => record),
    put: (member, record, now) => {
      const known = entries.get(member.node)?.record
      const verified = AgentRecord.verify(record, { now, expect: member.node, known })
      if (verified instanceof AgentRecord.RecordRefused) return verified
      entries.set(member.node, { member, record: verified })
      if (AgentRecord.isTombstone(verified)) drop(member)
      else if (verified !== known) feed.publish(foundOf(verified))
      return undefined
    },
    remove: drop,
    changes: feed.stream
  }
}

const join = Effect.fn("DiscoveryMemory.join")(function* (board: Board, host: Host) {
  const member: Member = { node: host.nodeId }
  const left = Feed.make<never>()
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      left.end()
      board.remove(member)
    })
  )
  const membership: Membership = {
    advertise: Effect.gen(function* () {
      const refused = board.put(member, host.record(), yield* Clock.currentTimeMillis)
      if (refused === undefined) return
      return yield* new DiscoveryError({ source: SOURCE, code: "Refused", detail: refused.message })
    }),
    find: (query, report) =>
      counted(
        SOURCE,
        report,
        Stream.unwrap(
          Effect.map(Clock.currentTimeMillis, (now) =>
            Stream.fromIterable(
              [...board.records()]
                .filter((record) => record.expiresAt > now && (query.node === undefined || query.node === record.node))
                .map(foundOf)
            )
          )
        )
      ),
    changes: board.changes.pipe(
      Stream.filter((found) => found.node !== host.nodeId),
      Stream.merge(left.stream, { haltStrategy: "either" })
    )
  }
  return membership
})

/** Discovery on a given board. */
export const make = (board: Board): Discovery["Service"] =>
  Discovery.of({ name: SOURCE, join: (host) => join(board, host) })

/** Discovery on a given board. */
export const layer = (board: Board): Layer.Layer<Discovery> => Layer.succeed(Discovery, make(board))
