import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import * as Result from "effect/Result"
import { skipTest } from "../../../test-support/Skip.ts"
import * as CanonicalJson from "../src/CanonicalJson.ts"
import { forRounds, mutate, seeded } from "../src/testing/Seeded.ts"
import { absent, read } from "./vectors.ts"

const reasonOf = (input: string | Uint8Array, bounds?: CanonicalJson.Bounds): string => {
  const result = CanonicalJson.parse(input, bounds)
  return Result.isFailure(result) ? result.failure.reason._tag : "read"
}

describe("CanonicalJson", () => {
  skipTest(absent("jcs"))("gives the published canonical texts (RFC 8785)", () => {
    const vectors = read<Array<{ name: string; input: string; output: string }>>("jcs")
    expect(vectors.length).toBe(6)
    for (const { input, name, output } of vectors) {
      expect([name, CanonicalJson.stringify(JSON.parse(input))]).toEqual([name, output])
      expect(Buffer.from(CanonicalJson.bytes(JSON.parse(input))).equals(Buffer.from(output))).toBe(true)
      expect(CanonicalJson.hash(JSON.parse(input))).toBe(createHash("sha256").update(output).digest("hex"))
    }
  })

  test("is the text of what JSON.stringify would send", () => {
    const value = { b: undefined, a: [undefined, -0, new Date(0)], c: { toJSON: () => 1 } }
    expect(CanonicalJson.stringify(value)).toBe('{"a":[null,0,"1970-01-01T00:00:00.000Z"],"c":1}')
    expect(CanonicalJson.stringify(value)).toBe(CanonicalJson.stringify(JSON.parse(JSON.stringify(value))))
  })

  test("refuses with a typed error what JSON cannot express", () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    for (const value of [NaN, [Infinity], 1n, "\ud800", { "\udc00": 1 }, undefined, () => 1, cycle]) {
      let thrown: unknown
      try {
        CanonicalJson.stringify(value)
      } catch (cause) {
        thrown = cause
      }
      expect(thrown).toBeInstanceOf(CanonicalJson.JsonError)
      expect((thrown as CanonicalJson.JsonError).reason._tag).toBe("NotJson")
    }
  })

  test("bounds the bytes, not the characters", () => {
    expect(reasonOf('"aaaa"', { maxBytes: 6 })).toBe("read")
    expect(reasonOf('"aaaaa"', { maxBytes: 6 })).toBe("TooLarge")
    expect(reasonOf('"éé"', { maxBytes: 6 })).toBe("read")
    expect(reasonOf('"€€"', { maxBytes: 6 })).toBe("TooLarge")
    expect(reasonOf(Buffer.from('"€€"'), { maxBytes: 6 })).toBe("TooLarge")
    expect(reasonOf(" ".repeat(CanonicalJson.MAX_BYTES) + "1")).toBe("TooLarge")
  })

  test("bounds the depth before it builds anything", () => {
    const nest = (n: number) => "[".repeat(n) + "]".repeat(n)
    expect(reasonOf(nest(CanonicalJson.MAX_DEPTH))).toBe("read")
    expect(reasonOf(nest(CanonicalJson.MAX_DEPTH + 1))).toBe("TooDeep")
    expect(reasonOf('{"a":'.repeat(500_000), { maxBytes: 1e7 })).toBe("TooDeep")
    // Brackets inside strings do not count, however the string is escaped.
    expect(reasonOf(JSON.stringify("[".repeat(200)))).toBe("read")
    expect(reasonOf(JSON.stringify(['\\"' + "[".repeat(200), "\\"]))).toBe("read")
    expect(reasonOf('"' + "[".repeat(200))).toBe("Malformed")
    expect(CanonicalJson.isWithinDepth({ a: [1] }, 2)).toBe(true)
    expect(CanonicalJson.isWithinDepth({ a: [1] }, 1)).toBe(false)
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    expect(CanonicalJson.isWithinDepth(cycle)).toBe(false)
  })

  test("refuses __proto__ as a key, however it is spelled, and takes it as a value", () => {
    expect(reasonOf('{"__proto__":{"admin":true}}')).toBe("Malformed")
    expect(reasonOf('[{"a":{"\\u005f_proto\\u005F_":1}}]')).toBe("Malformed")
    expect(reasonOf('{"\\u005f\\u005f\\u0070\\u0072oto__":1}')).toBe("Malformed")
    expect(reasonOf('{"a":"__proto__","constructor":1}')).toBe("read")
  })

  test("refuses bytes that are not UTF-8 and text that is not JSON", () => {
    expect(reasonOf(Uint8Array.of(0x22, 0xff, 0x22))).toBe("Malformed")
    expect(reasonOf(Uint8Array.of(0xef, 0xbb, 0xbf, 0x31))).toBe("Malformed")
    for (const text of ["", "{", "nul", "01", "{a:1}", "[1,]", "1 2", "]"]) expect(reasonOf(text)).toBe("Malformed")
  })

  test("reads what JSON.parse reads, and survives 100,000 damaged texts", () => {
    const random = seeded(3)
    const original = Buffer.from(
      JSON.stringify({ a: [1, 2.5, 'x\\"y€'], b: { c: null, d: [true, [[]]] }, e: "\u0001" })
    )
    let readable = 0
    forRounds(random, 100_000, () => {
      const bytes = mutate(random, original)
      const result = CanonicalJson.parse(bytes)
      if (Result.isFailure(result)) return
      const text = Buffer.from(bytes).toString()
      expect(JSON.stringify(result.success)).toBe(JSON.stringify(JSON.parse(text)))
      readable++
    })
    expect(readable).toBeGreaterThan(1_000)
  }, 60_000)
})
