/** Verifies: a topic's message is believed by its publisher's signature alone, in its time, and no bytes break its reader. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import { forRounds, mutate, seeded } from "@parley/core/testing/Seeded"
import * as Envelope from "@parley/gossip/Envelope"

const ada = Identity.fromSeed(new Uint8Array(32).fill(1))
const now = 1_795_000_000_000
const fields = { epoch: now - 5_000, seq: 7, at: now, topic: "news", text: '{"n":1}' }
const sealed = Envelope.seal(ada, fields)
const opened = (bytes: Uint8Array, at = now): Envelope.Envelope | Envelope.EnvelopeRefused => Envelope.open(bytes, at)
const codeOf = (of: Envelope.Envelope | Envelope.EnvelopeRefused): string =>
  of instanceof Envelope.EnvelopeRefused ? of.code : Envelope.isGenuine(of) ? "genuine" : "forged"

describe("an envelope", () => {
  test("has the bytes that the protocol says", () => {
    expect(Buffer.from(sealed.bytes.subarray(0, 67)).toString("hex")).toBe(
      `${Buffer.from(ada.publicKey).toString("hex")}01a1ee564a7800000000000701a1ee565e00` +
        "00046e657773" +
        `000000077b226e223a317d`
    )
    expect(sealed.bytes.length).toBe(67 + 64)
  })

  test("comes back as it was sealed", () => {
    const random = seeded(20_261_121)
    forRounds(random, 200, () => {
      const text = Array.from({ length: random.int(200) }, () =>
        random.pick(["a", "é", "€", "\u{1f600}", '"', "\ufffd"])
      )
      const one = {
        epoch: now - random.int(1e6),
        seq: random.int(2 ** 31),
        at: now - random.int(1_000),
        topic: "t€",
        text: text.join("")
      }
      const back = opened(Envelope.seal(ada, one).bytes)
      expect(back).toMatchObject({ ...one, publisher: ada.nodeId })
      expect(codeOf(back)).toBe("genuine")
    })
  })

  test("that is altered anywhere is forged or none at all", () => {
    const random = seeded(20_261_122)
    forRounds(random, 500, () => {
      const altered = mutate(random, sealed.bytes)
      if (Buffer.compare(altered, sealed.bytes) === 0) return
      expect(codeOf(opened(altered))).not.toBe("genuine")
    })
  })

  test("of another time is refused: replayed, or ahead of the clock", () => {
    expect(codeOf(opened(sealed.bytes, now + Envelope.MAX_AGE_MS))).toBe("genuine")
    expect(codeOf(opened(sealed.bytes, now + Envelope.MAX_AGE_MS + 1))).toBe("Stale")
    expect(codeOf(opened(sealed.bytes, now - Envelope.CLOCK_SKEW_MS))).toBe("genuine")
    expect(codeOf(opened(sealed.bytes, now - Envelope.CLOCK_SKEW_MS - 1))).toBe("FromFuture")
    const early = Envelope.seal(ada, { ...fields, epoch: now + 2 * Envelope.CLOCK_SKEW_MS })
    expect(codeOf(opened(early.bytes))).toBe("FromFuture")
    // A publisher's clock may be set back while it publishes, by as much as clocks may differ.
    const before = (ms: number): string =>
      codeOf(opened(Envelope.seal(ada, { ...fields, at: now - 1_000, epoch: now - 1_000 + ms }).bytes))
    expect(before(Envelope.CLOCK_SKEW_MS)).toBe("genuine")
    expect(before(Envelope.CLOCK_SKEW_MS + 1)).toBe("Stale")
  })

  test("beyond its bounds is none: topic, text, and bytes at the end", () => {
    const of = (change: Partial<typeof fields>): string =>
      codeOf(opened(Envelope.seal(ada, { ...fields, ...change }).bytes))
    expect(of({ topic: "" })).toBe("Malformed")
    expect(of({ topic: "t".repeat(256) })).toBe("genuine")
    expect(of({ topic: "t".repeat(257) })).toBe("Malformed")
    expect(of({ text: "t".repeat(65_536) })).toBe("genuine")
    expect(of({ text: "t".repeat(65_537) })).toBe("Malformed")
    expect(codeOf(opened(Buffer.concat([sealed.bytes, Uint8Array.of(0)])))).toBe("Malformed")
    for (let length = 0; length < sealed.bytes.length; length++)
      expect(codeOf(opened(sealed.bytes.subarray(0, length)))).toBe("Malformed")
    const largest = Envelope.seal(ada, { ...fields, topic: "t".repeat(256), text: "t".repeat(65_536) })
    expect(largest.bytes.length).toBe(Envelope.MAX_ENVELOPE_BYTES)
  })

  test("with text that is no UTF-8 is none", () => {
    // The first three bytes of four: one replacement mark, of three bytes, would stand for them.
    const bytes = Buffer.from(Envelope.seal(ada, { ...fields, text: "abc" }).bytes)
    bytes.set([0xf0, 0x9f, 0x98], 60)
    expect(codeOf(opened(bytes))).toBe("Malformed")
  })
})
