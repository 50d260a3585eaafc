/** Verifies: a node that stops has handed over what it sent, and neither a silent peer nor one that does not read holds it up for long. */
import { describe, expect, test } from "bun:test"
import type { Stream } from "@parley/core/Transport"
import { empty, start, until } from "./nodes.ts"

const LONG = 3_000_000
const BYTES = new Uint8Array(LONG).fill(120)

/** A node that answers at length, and a caller that reads or does not. */
const amidAnswers = async (reads: boolean, count: number) => {
  const answering: Array<Stream> = []
  const node = await start({}, undefined, (_, stream) => {
    answering.push(stream)
    return { onMessage: () => void stream.send(empty, BYTES, true), onWritable: () => {}, onClosed: () => {} }
  })
  const caller = await start({ listen: false })
  const connection = await caller.dial(node.address)
  let got = 0
  for (let i = 0; i < count; i++) {
    const stream = connection.open(200, {
      onMessage: (message) => void (got += message.length),
      onWritable: () => {},
      onClosed: () => {}
    })
    if (!reads) stream?.pause()
    stream?.send(empty, "ask", true)
  }
  await until("all are asked", () => answering.length === count)
  const before = performance.now()
  await node.stop()
  const took = performance.now() - before
  await until("the caller hears of it", () => caller.closed.length === 1)
  await caller.stop()
  return { got, took }
}

describe("a node that stops", () => {
  test("has sent all that it was to send, though it waited for windows", async () => {
    expect((await amidAnswers(true, 8)).got).toBe(8 * LONG)
  })

  test("waits for a peer that takes nothing, but not for long", async () => {
    const { took } = await amidAnswers(false, 2)
    expect(took).toBeGreaterThan(900)
    expect(took).toBeLessThan(3_000)
  })
})
