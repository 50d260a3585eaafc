import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Evaluator from "@parley/registry/Evaluator"

const run = (evaluator: Evaluator.Evaluator, output: Schema.Json, input: Schema.Json = {}) =>
  Effect.runPromise(evaluator({ capability: "text.summarize", input, output }))
/** The quality, or `abstained`. */
const judged = async (evaluator: Evaluator.Evaluator, output: Schema.Json, input?: Schema.Json) => {
  const judgement = await run(evaluator, output, input)
  expect(judgement.why).not.toBe("")
  return judgement._tag === "Score" ? judgement.quality : "abstained"
}

describe("simple evaluators", () => {
  test("nonEmpty: something was answered, or nothing", async () => {
    for (const output of ["x", 0, false, [0], { a: { b: "x" } }])
      expect(await judged(Evaluator.nonEmpty, output)).toBe(1)
    for (const output of [null, "", " \n", [], {}, [[], ""], { a: { b: null } }]) {
      expect(await judged(Evaluator.nonEmpty, output)).toBe(0)
    }
    let deep: Schema.Json = "x"
    for (let i = 0; i < 100_000; i++) deep = [deep]
    expect(await judged(Evaluator.nonEmpty, deep)).toBe("abstained")
  })

  test("exitCode: as the output says; without one it abstains", async () => {
    expect(await judged(Evaluator.exitCode, { exit_code: 0 })).toBe(1)
    expect(await judged(Evaluator.exitCode, { exitCode: 3, stdout: "" })).toBe(0)
    for (const output of [{}, null, "0", [0], { exit_code: "0" }, { exit_code: 0.5 }, { exit_code: null }]) {
      expect(await judged(Evaluator.exitCode, output)).toBe("abstained")
    }
  })

  test("recomputed: equal as canonical JSON, or not; what cannot be computed again is not judged", async () => {
    const double = Evaluator.recomputed((input) => Effect.succeed({ twice: Number(input) * 2, of: input }))
    expect(await judged(double, { of: 21, twice: 42 }, 21)).toBe(1)
    expect(await judged(double, { of: 21, twice: 43 }, 21)).toBe(0)
    expect(await judged(double, { of: 21, twice: "42" }, 21)).toBe(0)
    expect(
      await judged(
        Evaluator.recomputed(() => Effect.fail("away")),
        {}
      )
    ).toBe("abstained")
    expect(
      await judged(
        Evaluator.recomputed(() => Effect.die("broken")),
        {}
      )
    ).toBe("abstained")
    const throws = Evaluator.recomputed(() => {
      throw new Error("thrown")
    })
    expect(await judged(throws, {})).toBe("abstained")
    expect(
      await judged(
        Evaluator.recomputed(() => Effect.succeed(Number.NaN)),
        {}
      )
    ).toBe("abstained")
  })

  test("least: the worst of those that judge", async () => {
    const of =
      (quality: number): Evaluator.Evaluator =>
      () =>
        Effect.succeed(Evaluator.score(quality, "so"))
    expect(await judged(Evaluator.least(of(0.9), Evaluator.none, of(0.4), of(0.7)), {})).toBe(0.4)
    expect(await judged(Evaluator.least(Evaluator.none), {})).toBe("abstained")
    expect(await judged(Evaluator.least(), {})).toBe("abstained")
  })

  test("a quality out of bounds is none", () => {
    for (const quality of [-0.1, 1.1, Number.NaN, Infinity])
      expect(Evaluator.score(quality, "so")._tag).toBe("Abstained")
    expect(Evaluator.score(1, "x".repeat(1_000)).why.length).toBe(Evaluator.MAX_WHY_LENGTH)
  })
})

describe("the choice by capability", () => {
  test("takes the first rule that fits", async () => {
    const named =
      (why: string): Evaluator.Evaluator =>
      () =>
        Effect.succeed(Evaluator.score(1, why))
    const chosen = Evaluator.byCapability([
      ["text.summarize", named("exact")],
      ["text.*", named("text")],
      ["*.run", named("run")],
      ["a*b*c", named("abc")]
    ])
    const whyOf = async (capability: string) =>
      (await Effect.runPromise(chosen({ capability, input: null, output: null }))).why
    expect(await Promise.all(["text.summarize", "text.x", "code.run", "text.run", "a-b-c", "abc"].map(whyOf))).toEqual([
      "exact",
      "text",
      "run",
      "text",
      "abc",
      "abc"
    ])
    for (const none of ["code", "textx", "ab", "acb", "run"]) expect(await whyOf(none)).toContain("nothing judges")
    expect(Evaluator.fits("a*a", "a")).toBe(false)
    expect(Evaluator.fits(`${"*a".repeat(30)}b`, "a".repeat(100_000))).toBe(false)
  })

  test("gives up on what takes too long or breaks", async () => {
    const at = (evaluator: Evaluator.Evaluator) => Evaluator.byCapability([["*", evaluator]], 50)
    expect(
      (
        await run(
          at(() => Effect.never),
          {}
        )
      ).why
    ).toContain("longer than 50 ms")
    expect(
      (
        await run(
          at(() => Effect.die("broken")),
          {}
        )
      ).why
    ).toContain("broke")
    const throws: Evaluator.Evaluator = () => {
      throw new Error("thrown")
    }
    expect((await run(at(throws), {}))._tag).toBe("Abstained")
  })

  test("as a quality: nothing to report where it abstained", async () => {
    const of = (evaluator: Evaluator.Evaluator) => Effect.runPromise(Evaluator.qualityOf(evaluator)("a", null, "x"))
    expect(await of(Evaluator.nonEmpty)).toBe(1)
    expect(await of(Evaluator.none)).toBe(undefined)
  })
})
