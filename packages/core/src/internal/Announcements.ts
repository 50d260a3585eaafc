/**
 * Announcements: tells every connected peer this node's own record, on one stream each that stays open.
 *
 * A peer that does not take what was told is told the latest record once it does; one that was told too often is told again
 * a second later.
 */
import type { AgentRecord } from "../AgentRecord.ts"
import * as CanonicalJson from "../CanonicalJson.ts"
import type { Connections } from "../Connections.ts"
import type { NodeId } from "../NodeId.ts"
import * as Protocol from "../Protocol.ts"
import { type Connection, ResetCode, type Stream as PeerStream } from "../Transport.ts"
import { head } from "./RecordsMessage.ts"

/** When a record that a peer would not take so soon is told to it again, in ms. */
const ANNOUNCE_AGAIN_MS = 1_000
/** The stream on which this node tells a peer its record. */
interface Announcing {
  readonly stream: PeerStream
  /** The peer has not taken what was sent; the record then goes once it has. */
  blocked: boolean
  stale: boolean
}

/** Tells peers this node's record. */
export interface Announcements {
  readonly announceTo: (connection: Connection) => void
  readonly disconnected: (peer: NodeId) => void
  readonly stop: () => void
}

/** Tells peers what `record` gives, whenever it is asked to. */
export const make = (connections: Connections["Service"], record: () => AgentRecord): Announcements => {
  const announcing = new Map<NodeId, Announcing>()
  const announceTo = (connection: Connection): void => {
    const open = announcing.get(connection.peer)
    if (open !== undefined) return tellRecord(open)
    const stream: PeerStream | undefined = connection.open(Protocol.RECORDS, {
      onMessage: () => {},
      onWritable: () => {
        opened.blocked = false
        if (opened.stale) tellRecord(opened)
      },
      onClosed: (code) => {
        // Another connection may have replaced this one meanwhile, with a stream of its own.
        if (announcing.get(connection.peer) === opened) announcing.delete(connection.peer)
        if (code === ResetCode.Overloaded) announceAgain(connection.peer)
      }
    })
    if (stream === undefined) return
    const opened: Announcing = { stream, blocked: false, stale: false }
    announcing.set(connection.peer, opened)
    tellRecord(opened)
  }
  const tellRecord = (to: Announcing): void => {
    to.stale = to.blocked
    if (!to.blocked) to.blocked = !to.stream.send(head.record, CanonicalJson.stringify(record()), false)
  }
  const again = new Map<NodeId, ReturnType<typeof setTimeout>>()
  const announceAgain = (peer: NodeId): void => {
    if (again.has(peer)) return
    const timer = setTimeout(() => {
      again.delete(peer)
      const connection = connections.get(peer)
      if (connection !== undefined) announceTo(connection)
    }, ANNOUNCE_AGAIN_MS)
    again.set(peer, timer)
  }

  return {
    announceTo,
    disconnected: (peer) => {
      const before = announcing.get(peer)
      announcing.delete(peer)
      // Where another connection took its place, the whole record goes over that one.
      before?.stream.reset(ResetCode.Cancelled)
    },
    stop: () => {
      for (const timer of again.values()) clearTimeout(timer)
    }
  }
}
