/** The wire of tasks as a test speaks it by itself: a peer that is no node, what it asks, and what comes back as it came. */
import * as Protocol from "@parley/core/Protocol"
import type { Connection, ResetCode, Stream, StreamHandler } from "@parley/core/Transport"
import * as Envelope from "../src/internal/Envelope.ts"
import { TaskId } from "../src/internal/TaskId.ts"

/** Hears nothing. */
export const ignore: StreamHandler = { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }

/** A plain request for a call. */
export const requestOf = (change: Partial<Envelope.Request> = {}): Envelope.Request => ({
  task: new TaskId(1, 2, 3, 4),
  capability: "work.do@1.0.0",
  deadlineMs: 60_000,
  hops: 1,
  receipt: false,
  stream: false,
  batches: false,
  bytes: false,
  raw: false,
  budget: undefined,
  trace: undefined,
  ...change
})

/** It and its body, in one message. */
export const requestMessage = (body: string, change: Partial<Envelope.Request> = {}): Uint8Array =>
  Buffer.concat([Envelope.encodeRequest(requestOf(change)), Buffer.from(body)])

/** What came back for one task. */
export interface Reader {
  readonly connection: Connection
  /** The numbers that its chunks say. */
  readonly numbers: () => ReadonlyArray<number>
  readonly accepted: () => boolean
  readonly ended: () => boolean
  /** Codes of rejections. */
  readonly rejected: () => ReadonlyArray<string>
  readonly closed: ReadonlyArray<ResetCode>
}

/** Opens a stream of tasks, sends this, and reads what comes back. */
export const read = (connection: Connection, head: Uint8Array, body?: string): Reader => {
  const messages: Array<Uint8Array> = []
  const closed: Array<ResetCode> = []
  const bodies = (kind: number): ReadonlyArray<string> =>
    messages.filter((message) => message[0] === kind).map(Envelope.bodyOf)
  const stream: Stream | undefined = connection.open(Protocol.CALL, {
    onMessage: (message) => void messages.push(Uint8Array.from(message)),
    onWritable: () => {},
    onClosed: (code) => void closed.push(code)
  })
  stream?.send(Uint8Array.from(head), body, true)
  return {
    connection,
    numbers: () => bodies(Envelope.Kind.Chunk).map((text) => JSON.parse(text) as number),
    accepted: () => bodies(Envelope.Kind.Accepted).length === 1,
    ended: () => bodies(Envelope.Kind.End).length === 1,
    rejected: () => bodies(Envelope.Kind.Rejected).map((text) => (JSON.parse(text) as { readonly code: string }).code),
    closed
  }
}
