/** Verifies: however messages come, each subscriber hears each once and those of one publisher in order; and what waits is bounded. */
import { describe, expect, test } from "bun:test"
import type { Heard } from "@parley/core/Broadcast"
import * as Identity from "@parley/core/Identity"
import { forRounds, seeded } from "@parley/core/testing/Seeded"
import type { Envelope } from "@parley/gossip/Envelope"
import { GAP_MS, MAX_SEQUENCES, MAX_WAITING, MAX_WAITING_BYTES, Ordering, SETTLE_MS } from "../src/internal/Ordering.ts"

const publishers = [Identity.generate().nodeId, Identity.generate().nodeId]
const message = (seq: number, more: Partial<Envelope> = {}): Envelope => ({
  publisher: publishers[0]!,
  epoch: 1_000,
  at: 0,
  seq,
  topic: "t",
  text: String(seq),
  bytes: new Uint8Array(0),
  ...more
})
const make = () => {
  const heard: Array<Heard> = []
  const ordering = new Ordering((one) => void heard.push(one))
  return {
    heard,
    ordering,
    seqs: () => heard.map(({ seq }) => seq),
    /** To a listener who was there before the publisher, unless told otherwise. */
    take: (envelope: Envelope, now: number, since = 0) => ordering.take(envelope, now, since)
  }
}

describe("messages of one publisher", () => {
  test("are handed on in order and once, in whatever order and how often they come", () => {
    const random = seeded(20_261_123)
    forRounds(random, 300, () => {
      const { heard, ordering, take } = make()
      const first = random.pick([0, 0, 5])
      const since = first === 0 ? random.pick([0, 2_000]) : 2_000
      const bag = publishers.flatMap((publisher) =>
        ["t", "u"].flatMap((topic) =>
          Array.from({ length: 20 }, (_, n) => message(first + n, { publisher, topic })).flatMap((one) =>
            random.int(3) === 0 ? [one, one] : [one]
          )
        )
      )
      for (let i = bag.length - 1; i > 0; i--) {
        const j = random.int(i + 1)
        ;[bag[i], bag[j]] = [bag[j]!, bag[i]!]
      }
      for (const one of bag) take(one, 0, since)
      ordering.tick(SETTLE_MS)
      const expected = Array.from({ length: 20 }, (_, n) => first + n)
      for (const publisher of publishers)
        for (const topic of ["t", "u"])
          expect(heard.filter((one) => one.from === publisher && one.topic === topic).map(({ seq }) => seq)).toEqual(
            expected
          )
      expect(ordering.waitingBytes).toBe(0)
    })
  })

  test("wait for what is missing, and pass it over when it does not come", () => {
    const { ordering, seqs, take } = make()
    for (const seq of [0, 2, 3, 6]) take(message(seq), 100)
    expect(seqs()).toEqual([0])
    ordering.tick(100 + GAP_MS - 1)
    expect(seqs()).toEqual([0])
    ordering.tick(100 + GAP_MS)
    expect(seqs()).toEqual([0, 2, 3])
    // What comes too late is not handed on out of its order.
    take(message(1), 100 + GAP_MS)
    take(message(4), 100 + GAP_MS)
    expect(seqs()).toEqual([0, 2, 3, 4])
    ordering.tick(100 + 2 * GAP_MS)
    expect(seqs()).toEqual([0, 2, 3, 4, 6])
  })

  test("are all waited for where the publisher began after its listener, or began anew", () => {
    const { ordering, seqs, take } = make()
    take(message(2), 100, 1_000)
    ordering.tick(100 + SETTLE_MS)
    expect(seqs()).toEqual([])
    for (const seq of [1, 0]) take(message(seq), 50 + GAP_MS, 1_000)
    expect(seqs()).toEqual([0, 1, 2])
    take(message(1, { epoch: 2_000 }), 6_000, 1_000)
    ordering.tick(6_000 + SETTLE_MS)
    take(message(0, { epoch: 2_000 }), 6_000 + SETTLE_MS, 1_000)
    expect(seqs()).toEqual([0, 1, 2, 0, 1])
  })

  test("of a publisher that was there before its listener are heard from the first that comes, or those it overtook", () => {
    const { ordering, seqs, take } = make()
    take(message(7), 100, 1_001)
    take(message(6), 100 + SETTLE_MS - 1, 1_001)
    expect(seqs()).toEqual([])
    ordering.tick(100 + SETTLE_MS)
    expect(seqs()).toEqual([6, 7])
    take(message(5), 100 + SETTLE_MS, 1_001)
    expect(seqs()).toEqual([6, 7])
  })

  test("of an epoch that is over are not heard, and a new epoch begins anew", () => {
    const { ordering, seqs, take } = make()
    for (const seq of [0, 1, 3]) take(message(seq), 0)
    take(message(0, { epoch: 2_000 }), 0)
    // What waited is handed on before it.
    expect(seqs()).toEqual([0, 1, 3, 0])
    take(message(4), 0)
    take(message(0), 0)
    expect(seqs()).toEqual([0, 1, 3, 0])
    take(message(1, { epoch: 2_000 }), 0)
    expect(seqs()).toEqual([0, 1, 3, 0, 1])
    ordering.tick(2 * GAP_MS)
    expect(seqs()).toEqual([0, 1, 3, 0, 1])
  })
})

describe("what waits", () => {
  test("is bounded for a publisher: past it the gap is passed over", () => {
    const { seqs, take } = make()
    take(message(0), 0)
    for (let seq = 2; seq < MAX_WAITING + 2; seq++) take(message(seq), 0)
    expect(seqs()).toEqual([0])
    take(message(MAX_WAITING + 10), 0)
    expect(seqs().length).toBe(MAX_WAITING + 1)
  })

  test("is bounded in all", () => {
    const { ordering, take } = make()
    const text = "x".repeat(65_536)
    const nodes = Array.from({ length: 20 }, () => Identity.generate().nodeId)
    for (const publisher of nodes)
      for (let n = 0; n < 40; n++) {
        take(message(2 * n + 2, { publisher, text }), 0)
        expect(ordering.waitingBytes <= MAX_WAITING_BYTES).toBe(true)
      }
    ordering.forget("t")
    expect([ordering.waitingBytes, ordering.size]).toEqual([0, 0])
  })

  test("and who is remembered is bounded", () => {
    const { ordering, take } = make()
    for (let n = 0; n < MAX_SEQUENCES + 100; n++) take(message(1, { topic: `t${n}` }), 0)
    expect(ordering.size).toBe(MAX_SEQUENCES)
    ordering.tick(1_000_000)
    expect(ordering.waitingBytes).toBe(0)
  })
})
