/** Verifies: whatever a proven peer sends, a session neither throws nor holds more than it says. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import { fromSeed } from "@parley/core/testing/Seeded"
import {
  MAX_STREAMS,
  type Owner,
  ResetCode,
  type Stream,
  type StreamHandler,
  WINDOW_BYTES
} from "@parley/core/Transport"
import { MAX_PARTIAL_BYTES, UnixSession } from "../src/plugins/UnixSession.ts"

const peer = Identity.generate().nodeId

/** A session without a socket, and what it sent and told. */
const make = (handler: (stream: Stream) => StreamHandler | undefined) => {
  const sent: Array<Uint8Array> = []
  const closed: Array<string> = []
  const owner = {
    nodeId: peer,
    onStream: (_connection, _protocol, stream) => handler(stream),
    onClosed: (_connection, why) => void closed.push(why)
  } satisfies Pick<Owner, "nodeId" | "onStream" | "onClosed"> as Owner
  const socket = { congested: false, send: (record: Uint8Array) => void sent.push(record), end: () => {} }
  const session = new UnixSession({ socket, owner, peer, address: "unix:///x", direction: "inbound" })
  return { session, sent, closed }
}
const frame = (kind: number, id: number, ...bytes: ReadonlyArray<number>): Buffer => {
  const head = Buffer.alloc(5)
  head[0] = kind
  head.writeUInt32BE(id, 1)
  return Buffer.concat([head, Buffer.from(bytes)])
}
const quiet = (): StreamHandler => ({ onMessage: () => {}, onWritable: () => {}, onClosed: () => {} })

describe("UnixSession", () => {
  test("100,000 random frames: closed at the first that breaks the rules, and within its bounds until then", () => {
    const seed = 11
    const below = fromSeed(seed).int
    let { closed, session } = make(() => (below(9) === 0 ? undefined : quiet()))
    let opened = 1
    let sessions = 1
    for (let n = 0; n < 100_000; n++) {
      const kind = below(50) === 0 ? below(256) : 1 + below(5)
      // Mostly ids that may be, so that streams live and get data.
      const id =
        kind === 1 && below(100) > 0 ? (opened += 2) : below(300) === 0 ? below(2 ** 32) : 1 + 2 * below(opened)
      session.onRecord(
        below(500) === 0
          ? Buffer.from(Array.from({ length: below(12) }, () => below(256)))
          : frame(kind, id, ...Array.from({ length: kind === 3 ? 4 : below(40) }, () => below(kind === 3 ? 2 : 256)))
      )
      const isClosed = session.state() === "closed"
      expect({ seed, n, told: closed.length }).toEqual({ seed, n, told: isClosed ? 1 : 0 })
      if (session.streams() > MAX_STREAMS || session.partialBytes > MAX_PARTIAL_BYTES || session.partialBytes < 0) {
        throw new Error(`seed ${seed}, frame ${n}: ${session.streams()} streams, ${session.partialBytes} bytes held`)
      }
      if (!isClosed) continue
      if (session.streams() !== 0 || session.partialBytes !== 0) throw new Error(`seed ${seed}, frame ${n}: not let go`)
      ;({ closed, session } = make(() => (below(9) === 0 ? undefined : quiet())))
      opened = 1
      sessions++
    }
    expect(sessions > 100).toBe(true)
  }, 60_000)

  test("credit that was never owed, another's stream number, and a number used twice end the session", () => {
    for (const frames of [
      [frame(1, 1, 200), frame(3, 1, 0, 0, 0, 1)],
      [frame(1, 2, 200)],
      [frame(1, 3, 200), frame(1, 1, 200)],
      [frame(1, 1, 200), frame(1, 1, 200)],
      [frame(1, 1)],
      [frame(9, 1)],
      [Buffer.alloc(4)]
    ]) {
      const { closed, session } = make(() => quiet())
      for (const each of frames) session.onRecord(each)
      expect([frames.length, session.state(), closed]).toEqual([
        frames.length,
        "closed",
        ["the peer broke the protocol"]
      ])
    }
  })

  test("an unfinished message that is paused stops at one window", () => {
    const { sent, session } = make((stream) => {
      stream.pause()
      return quiet()
    })
    session.onRecord(frame(1, 1, 200))
    const chunk = Buffer.concat([frame(2, 1, 0), Buffer.alloc(WINDOW_BYTES / 8)])
    for (let n = 0; n < 8; n++) session.onRecord(chunk)
    expect([session.state(), session.partialBytes, sent.length]).toEqual(["open", WINDOW_BYTES, 0])
    session.onRecord(chunk)
    expect(session.state()).toBe("closed")
  })

  test("more streams than allowed are reset, one by one", () => {
    const { sent, session } = make(() => quiet())
    for (let n = 0; n <= MAX_STREAMS; n++) session.onRecord(frame(1, 1 + 2 * n, 200))
    expect([session.state(), session.streams()]).toEqual(["open", MAX_STREAMS])
    expect(sent.map((record) => [...record])).toEqual([[...frame(4, 1 + 2 * MAX_STREAMS, ResetCode.Overloaded)]])
  })
})
