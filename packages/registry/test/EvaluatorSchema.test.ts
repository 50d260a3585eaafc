import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as EvaluatorSchema from "@parley/registry/EvaluatorSchema"

const judgementOf = (schema: Schema.Json, output: Schema.Json) =>
  Effect.runPromise(EvaluatorSchema.jsonSchema(schema)({ capability: "a", input: null, output }))
const judged = async (schema: Schema.Json, output: Schema.Json) => {
  const judgement = await judgementOf(schema, output)
  return judgement._tag === "Score" ? judgement.quality : "abstained"
}

const summary = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  $id: "https://agents.example/summary",
  type: "object",
  required: ["text", "words"],
  properties: {
    text: { type: "string", minLength: 1 },
    words: { $ref: "#/$defs/count" },
    tags: {
      type: "array",
      prefixItems: [{ const: "a" }],
      items: { type: "string", pattern: "^[a-z-]+$" },
      uniqueItems: true
    }
  },
  additionalProperties: false,
  $defs: { count: { type: "integer", minimum: 0 } }
}

describe("an output", () => {
  test("fits its schema, or does not, and is told where", async () => {
    expect(await judged(summary, { text: "x", words: 1, tags: ["a", "b-c"] })).toBe(1)
    for (const output of [
      {},
      null,
      { text: "", words: 1 },
      { text: "x", words: -1 },
      { text: "x", words: 1, more: 1 },
      { text: "x", words: 1, tags: ["b"] },
      { text: "x", words: 1, tags: ["a", "B"] },
      { text: "x", words: 1, tags: ["a", "c", "c"] }
    ]) {
      expect([output, await judged(summary, output)]).toEqual([output, 0])
    }
    expect((await judgementOf(summary, { text: "x", words: "1" })).why).toContain("/words must be integer")
    expect(await judged(true, {})).toBe(1)
    expect(await judged(false, {})).toBe(0)
  })

  test("is held against the capability's own schema where no other one is given", async () => {
    const own = EvaluatorSchema.jsonSchema()
    const judge = (task: { output: Schema.Json; outputSchema?: Schema.Json }) =>
      Effect.runPromise(own({ capability: "a", input: null, ...task }))
    expect((await judge({ output: 1, outputSchema: { type: "number" } }))._tag).toBe("Score")
    expect((await judge({ output: 1 })).why).toContain("no output schema")
    // The same $id twice, and more schemas than are kept.
    for (let i = 0; i < EvaluatorSchema.MAX_COMPILED + 10; i++) {
      const judgement = await judge({ output: i, outputSchema: { $id: "urn:a", const: i } })
      expect(judgement).toEqual({ _tag: "Score", quality: 1, why: "the output fits its schema" })
    }
  })

  test("too large or too deep is not judged", async () => {
    expect(await judged({}, "x".repeat(EvaluatorSchema.MAX_OUTPUT_BYTES))).toBe("abstained")
    expect(await judged({}, Array<number>(EvaluatorSchema.MAX_OUTPUT_NODES).fill(1))).toBe("abstained")
    expect(await judged({ uniqueItems: true }, Array<number>(EvaluatorSchema.MAX_UNIQUE_NODES).fill(1))).toBe(
      "abstained"
    )
    let deep: Schema.Json = 1
    for (let i = 0; i < 1_000; i++) deep = [deep]
    expect(await judged({}, deep)).toBe("abstained")
    expect(await judged(deep, {})).toBe("abstained")
  })
})

describe("a schema that a stranger wrote", () => {
  test("leads nowhere outside, nor in circles, nor to nothing", async () => {
    for (const schema of [
      { $ref: "http://169.254.169.254/schema.json" },
      { $ref: "file:///etc/passwd" },
      { $ref: "other.json#/x" },
      { $ref: "#/nowhere" },
      { $ref: "#/__proto__" },
      { $ref: "#" },
      { properties: { a: { $ref: "#" } } },
      { $defs: { a: { allOf: [{ $ref: "#/$defs/b" }] }, b: { allOf: [{ $ref: "#/$defs/a" }] } }, $ref: "#/$defs/a" },
      { properties: { a: { $dynamicRef: "#x" } } },
      { properties: { a: { $id: "http://evil.example/" } } }
    ]) {
      const judgement = await judgementOf(schema as Schema.Json, {})
      expect([schema, judgement._tag]).toEqual([schema, "Abstained"])
    }
  })

  test("that grows when it is written out is not used", async () => {
    const $defs: { [name: string]: Schema.Json } = { d20: { type: "string" } }
    for (let i = 0; i < 20; i++)
      $defs[`d${i}`] = { anyOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] }
    const started = performance.now()
    expect((await judgementOf({ $defs, $ref: "#/$defs/d0" }, 1)).why).toContain("4096 parts")
    expect(performance.now() - started).toBeLessThan(5_000)
    expect(await judged({ enum: Array<string>(70_000).fill("x") }, "x")).toBe("abstained")
  })

  test("with patterns that may take for ever is not used, and others only on texts that they are quick on", async () => {
    for (const pattern of [
      "^(a+)+$",
      "^(a|a)*$",
      "(a*)*b",
      "^(([a-z])+.)+[A-Z]([a-z])+$",
      "(?=a)b",
      "(a)\\1",
      "^(a|aa)+$",
      "x{0,9999}{0,9999}",
      "(x+x+)+y",
      "a".repeat(300),
      "("
    ]) {
      const started = performance.now()
      expect([pattern, await judged({ pattern }, `${"a".repeat(40)}!`)]).toEqual([pattern, "abstained"])
      expect(performance.now() - started).toBeLessThan(5_000)
    }
    expect(await judged({ patternProperties: { "^(a+)+$": {} } }, { a: 1 })).toBe("abstained")
    // Polynomial: quick on short texts, not tried on long ones.
    const email = { pattern: "^[^@]+@[^@]+\\.[a-z]+$" }
    expect(await judged(email, "ada@example.com")).toBe(1)
    expect(await judged(email, "nobody")).toBe(0)
    expect(await judged(email, "@".repeat(50_000))).toBe("abstained")
    const optional = { pattern: `^${"a?".repeat(30)}${"a".repeat(30)}$` }
    expect(await judged(optional, "a".repeat(30))).toBe("abstained")
    for (const [pattern, text] of [
      ["^\\d{4}-\\d{2}-\\d{2}$", "2026-11-21"],
      ["^(?:de|en|fr)$", "en"],
      ["^https?://", "https://x"],
      ["^[0-9a-f]{64}$", "a".repeat(64)],
      ["\\p{L}", "ä"]
    ] as const) {
      expect([pattern, await judged({ pattern }, text)]).toEqual([pattern, 1])
      expect([pattern, await judged({ pattern }, "")]).toEqual([pattern, 0])
    }
  })

  test("that is none is not used", async () => {
    for (const schema of [[], "x", 5, null, { type: "nothing" }, { minimum: "5" }, { properties: 5 }]) {
      expect([schema, await judged(schema as Schema.Json, {})]).toEqual([schema, "abstained"])
    }
  })
})
