/** Verifies: what waits to be read is bounded in all and for each peer, and taken in turns. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import { MAX_WAITING_BYTES, type Source, Turns } from "../src/internal/Turns.ts"

const nodeId = (): NodeId => Identity.generate().nodeId

/** A stream of a peer, and what became of it. */
const source = (peer: NodeId = nodeId()) => {
  const seen = { paused: false, cutOff: false, heard: 0 }
  const made: Source = {
    peer,
    stream: { pause: () => void (seen.paused = true), resume: () => void (seen.paused = false) },
    hear: () => void seen.heard++,
    cutOff: () => void (seen.cutOff = true)
  }
  return { seen, source: made }
}

/** Nobody is read for an hour. */
const busy = () => new Turns({ pauseFor: () => 3_600_000, spent: () => {} })

describe("what waits to be read", () => {
  test("is of one stream of a peer: a newer one takes the place of the older", () => {
    const turns = busy()
    const [older, other] = [source(), source()]
    const newer = source(older.source.peer)
    for (const one of [older, other, newer]) turns.take(one.source, new Uint8Array(100), false)
    expect([older, other, newer].map(({ seen }) => seen.cutOff)).toEqual([true, false, false])
    expect([newer.seen.paused, newer.seen.heard, turns.bytes]).toEqual([true, 0, 200])
    turns.stop()
  })

  test("is bounded in all: whoever has the most is cut off", () => {
    const turns = busy()
    const message = new Uint8Array(1024 * 1024)
    const [large, ...small] = Array.from({ length: 30 }, () => source())
    for (let n = 0; n < 4; n++) turns.take(large!.source, message, false)
    for (const one of small) turns.take(one.source, message, false)
    expect([turns.bytes, large!.seen.cutOff]).toEqual([29 * message.length, true])
    for (const one of small) turns.take(one.source, message, false)
    expect(turns.bytes <= MAX_WAITING_BYTES).toBe(true)
    expect(small.some(({ seen }) => seen.cutOff)).toBe(true)
    turns.stop()
    expect(turns.bytes).toBe(0)
  })
})
