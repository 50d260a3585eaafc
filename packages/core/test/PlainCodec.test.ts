/** Verifies: copying plain values comes to what effect's own codec comes to, both ways, whatever the value. */
import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as PlainCodec from "../src/internal/PlainCodec.ts"
import { forRounds, seeded, type Seeded } from "../src/testing/Seeded.ts"

const schemas = [
  Schema.Struct({ text: Schema.String, n: Schema.Finite }),
  Schema.Struct({
    b: Schema.optionalKey(Schema.Boolean),
    text: Schema.optionalKey(Schema.String),
    kind: Schema.Literals(["x", 0, true]),
    n: Schema.NullOr(Schema.Finite)
  }),
  Schema.Struct({ inner: Schema.Struct({ n: Schema.Finite }), list: Schema.Array(Schema.String) }),
  Schema.Array(Schema.Struct({ toString: Schema.optionalKey(Schema.String), n: Schema.Finite })),
  Schema.String,
  Schema.Finite
].map((schema) => Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>))

const values: ReadonlyArray<(random: Seeded) => unknown> = [
  () => "x",
  () => "",
  () => 0,
  () => -0,
  () => Number.NaN,
  () => Number.POSITIVE_INFINITY,
  (random) => random.int(1_000) / 7,
  () => true,
  () => null,
  () => undefined,
  () => 1n,
  () => Symbol.iterator,
  () => new Date(0),
  () => () => {},
  () => new Map(),
  () => new String("x"),
  () => ["a", "b"],
  () => Array.from({ length: 2 }),
  () => [{ n: 1 }]
]
const names = ["text", "n", "b", "kind", "inner", "list", "toString", "extra"]

const objectOf = (random: Seeded, depth: number): unknown => {
  const prototypes = [Object.prototype, Object.prototype, Object.prototype, null, { n: 1, text: "inherited" }]
  const made: Record<string, unknown> = Object.create(random.pick(prototypes)) as Record<string, unknown>
  for (let left = random.int(7); left > 0; left--) made[random.pick(names)] = valueOf(random, depth - 1)
  if (random.int(8) === 0) Object.defineProperty(made, "__proto__", { value: { n: 2 }, enumerable: true })
  if (random.int(8) === 0) Object.defineProperty(made, "n", { get: () => 3, enumerable: false, configurable: true })
  return random.int(8) === 0 ? new Proxy(made, {}) : made
}

const fitting = (random: Seeded): unknown => ({
  ...(random.int(2) === 0 ? { extra: 1 } : {}),
  n: valueOf(random, 0),
  kind: random.pick(["x", 0, -0, true, "y"]),
  text: "t",
  inner: { n: random.int(9), more: 1 },
  list: Array.from({ length: random.int(3) }, () => "e"),
  toString: "own"
})

const valueOf = (random: Seeded, depth: number): unknown => {
  const kind = depth > 0 ? random.int(5) : 4
  if (kind < 2) return objectOf(random, depth)
  if (kind === 2) return fitting(random)
  if (kind === 3) return Array.from({ length: random.int(3) }, () => valueOf(random, depth - 1))
  return random.pick(values)(random)
}

describe("plain values", () => {
  test("are copied as effect's codec decodes and encodes them", () => {
    const random = seeded(0x9a1)
    let taken = 0
    let left = 0
    forRounds(random, 20_000, () => {
      const schema = random.pick(schemas)
      const copy = PlainCodec.of(schema.ast)
      if (copy === undefined) throw new Error("no copier of a plain schema")
      const value = valueOf(random, 3)
      const copied = copy(value)
      for (const run of [Schema.decodeUnknownResult(schema), Schema.encodeUnknownResult(schema)]) {
        const truth = run(value)
        if (copied === PlainCodec.doubt) continue
        expect(Result.isSuccess(truth)).toBe(true)
        if (!Result.isSuccess(truth)) continue
        expect(copied).toEqual(truth.success)
        expect(Object.is(copied, -0)).toBe(Object.is(truth.success, -0))
        expect(JSON.stringify(copied)).toBe(JSON.stringify(truth.success))
      }
      if (copied === PlainCodec.doubt) left += 1
      else taken += 1
    })
    expect(taken).toBeGreaterThan(1_000)
    expect(left).toBeGreaterThan(4_000)
  }, 60_000)

  test("are those of schemas without transformations and checks", () => {
    const others: ReadonlyArray<Schema.Codec<unknown, unknown>> = [
      Schema.Finite.check(Schema.isInt()),
      Schema.Date,
      Schema.Unknown,
      Schema.Int,
      Schema.Struct({}),
      Schema.Struct({ ["__proto__"]: Schema.String }),
      Schema.Struct({ n: Schema.optional(Schema.Finite) }),
      Schema.Struct({ n: Schema.FiniteFromString }),
      Schema.Struct({ n: Schema.String }).check(Schema.makeFilter(() => true)),
      Schema.Record(Schema.String, Schema.String),
      Schema.Tuple([Schema.String]),
      Schema.Array(Schema.String).check(Schema.isMinLength(1))
    ] as ReadonlyArray<Schema.Codec<unknown, unknown>>
    for (const schema of others) expect(PlainCodec.of(Schema.toCodecJson(schema).ast)).toBeUndefined()
  })
})
