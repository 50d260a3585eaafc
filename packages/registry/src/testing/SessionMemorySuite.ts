/**
 * The laws of SessionMemory, for every implementation.
 *
 * ```ts
 * suite({ describe, test, expect }, { name: "redis", open })
 * ```
 */
import { seeded } from "@parley/core/testing/Seeded"
import type { TestApi } from "@parley/core/testing/TestApi"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import { MAX_KEY_LENGTH, MAX_KEYS, MAX_VALUE_BYTES } from "../SessionMemory.ts"
import type { StoreError } from "../Store.ts"
import * as SessionMemoryBoundsSuite from "./SessionMemoryBoundsSuite.ts"
import { type Harness, lawsOf } from "./SessionMemoryHarness.ts"

/** Declares the laws for one implementation. */
export const suite = (api: TestApi, harness: Harness): void => {
  const { describe, expect, test } = api
  const law = lawsOf(test, harness)
  const fails = <A>(effect: Effect.Effect<A, StoreError>) =>
    Effect.match(effect, { onFailure: ({ code }) => code, onSuccess: () => "it succeeded" })

  describe(`SessionMemory laws: ${harness.name}`, () => {
    law("what is set is got, listed, replaced, removed and cleared", (memory) =>
      Effect.gen(function* () {
        expect(yield* memory.get("s", "k")).toBe(undefined)
        expect(yield* memory.all("s")).toEqual({})
        expect(yield* memory.sessions({ limit: 10 })).toEqual([])
        expect(yield* memory.set("s", "k", { a: [1, null] })).toBe(undefined)
        expect(yield* memory.set("s", "other", null)).toBe(undefined)
        expect(yield* memory.set("t", "k", "t")).toBe(undefined)
        expect(yield* memory.get("s", "k")).toEqual({ a: [1, null] })
        expect(yield* memory.get("s", "other")).toBe(null)
        yield* memory.set("s", "k", false)
        expect(yield* memory.all("s")).toEqual({ k: false, other: null })
        expect(yield* memory.sessions({ limit: 10 })).toEqual(["s", "t"])
        yield* memory.remove("s", "k")
        yield* memory.remove("s", "never there")
        expect(yield* memory.all("s")).toEqual({ other: null })
        yield* memory.clear("s")
        yield* memory.clear("never there")
        expect(yield* memory.all("s")).toEqual({})
        expect(yield* memory.get("t", "k")).toBe("t")
        expect(yield* memory.sessions({ limit: 10 })).toEqual(["t"])
        yield* memory.remove("t", "k")
        expect(yield* memory.sessions({ limit: 10 })).toEqual([])
      })
    )

    law("random sets, removals and clearings come to the same as in maps", (memory) =>
      Effect.gen(function* () {
        const random = seeded(51)
        const model = new Map<string, Map<string, Schema.Json>>()
        const names = ["a", "b", "c\u0000", "c\\0000", "🦜"]
        for (let round = 0; round < 150; round++) {
          const [session, name] = [random.pick(names), random.pick(names)]
          const held = model.get(session) ?? new Map<string, Schema.Json>()
          const what = random.int(10)
          if (what < 7) {
            const value = { round, text: random.pick(names), more: [random.next()] }
            yield* memory.set(session, name, value)
            model.set(session, held.set(name, value))
          } else if (what < 9) {
            yield* memory.remove(session, name)
            held.delete(name)
            if (held.size === 0) model.delete(session)
          } else {
            yield* memory.clear(session)
            model.delete(session)
          }
          expect([session, yield* memory.all(session)]).toEqual([session, Object.fromEntries(model.get(session) ?? [])])
        }
        expect((yield* memory.sessions({ limit: 100 })).toSorted()).toEqual([...model.keys()].toSorted())
      })
    )

    law("any JSON and any text comes back as it was", (memory) =>
      Effect.gen(function* () {
        const odd = [
          "\u0000",
          "\ud800",
          "\udc00",
          "\\u0000",
          "\\0000",
          "\\",
          "\"'`$1?*:{}",
          "🦜",
          "\u2028",
          "e\u0301",
          "é",
          " ",
          "x".repeat(MAX_KEY_LENGTH)
        ]
        const value = { ...Object.fromEntries(odd.map((text) => [text, [text]])), numbers: [0, 1e-320, 0.1], empty: {} }
        for (const text of odd) {
          yield* memory.set(text, text, value)
          expect(yield* memory.get(text, text)).toEqual(value)
          expect(yield* memory.all(text)).toEqual({ [text]: value })
        }
        expect((yield* memory.sessions({ limit: 100 })).toSorted()).toEqual(odd.toSorted())
      })
    )

    law("sessions are walked page by page", (memory) =>
      Effect.gen(function* () {
        const names = Array.from({ length: 23 }, (_, n) => `session ${String(n).padStart(2, "0")}`)
        for (const name of names.toReversed()) yield* memory.set(name, "k", 1)
        const seen: Array<string> = []
        for (let after: string | undefined; ;) {
          const page = yield* memory.sessions({ limit: 5, ...(after === undefined ? {} : { after }) })
          seen.push(...page)
          after = page.at(-1)
          if (after === undefined) break
        }
        expect(seen).toEqual(names)
      })
    )

    law("a value ends with its time to live, and leaves no trace; one set anew lives on", (memory) =>
      Effect.gen(function* () {
        const started = performance.now()
        yield* memory.set("brief", "k", "brief", { ttlMs: 300 })
        yield* memory.set("both", "brief", "brief", { ttlMs: 150 })
        yield* memory.set("both", "long", "long")
        yield* memory.set("anew", "k", "brief", { ttlMs: 150 })
        yield* memory.set("anew", "k", "long", { ttlMs: 60_000 })
        const early = yield* memory.sessions({ limit: 10 })
        // Where the machine was slow, it may be gone already.
        if (performance.now() - started < 250) expect(early).toEqual(["anew", "both", "brief"])
        const gone = memory.sessions({ limit: 10 }).pipe(
          Effect.repeat({
            schedule: Schedule.spaced(20),
            until: (sessions) => !sessions.includes("brief"),
            times: 200
          })
        )
        expect(yield* gone).toEqual(["anew", "both"])
        expect(yield* memory.get("brief", "k")).toBe(undefined)
        expect(yield* memory.get("both", "brief")).toBe(undefined)
        expect(yield* memory.all("both")).toEqual({ long: "long" })
        expect(yield* memory.get("anew", "k")).toBe("long")
      })
    )

    law("a session is full at its bound, and what it holds can still be replaced", (memory) =>
      Effect.gen(function* () {
        yield* Effect.forEach(Array.from({ length: MAX_KEYS }), (_, n) => memory.set("s", `k${n}`, n), {
          concurrency: 8,
          discard: true
        })
        const full = { _tag: "Full" as const, of: "session" as const, what: "keys" as const, limit: MAX_KEYS }
        expect(yield* memory.set("s", "one more", 1)).toEqual(full)
        expect(yield* memory.get("s", "one more")).toBe(undefined)
        expect(yield* memory.set("s", "k7", "new")).toBe(undefined)
        expect(yield* memory.get("s", "k7")).toBe("new")
        expect(yield* memory.set("other", "one more", 1)).toBe(undefined)
        yield* memory.remove("s", "k3")
        expect(yield* memory.set("s", "one more", 1)).toBe(undefined)
        expect(Object.keys(yield* memory.all("s")).length).toBe(MAX_KEYS)
      })
    )

    law("what is larger than a value, or longer than a key may be, is refused", (memory) =>
      Effect.gen(function* () {
        const largest = "x".repeat(MAX_VALUE_BYTES - 2)
        expect(yield* memory.set("s", "k", largest)).toBe(undefined)
        expect(yield* memory.get("s", "k")).toBe(largest)
        for (const set of [
          memory.set("s", "k", `${largest}x`),
          memory.set("s", "k", "é".repeat(MAX_VALUE_BYTES / 2)),
          memory.set("s", "k".repeat(MAX_KEY_LENGTH + 1), 1),
          memory.set("s".repeat(MAX_KEY_LENGTH + 1), "k", 1)
        ])
          expect(yield* fails(set)).toBe("Failed")
        expect(yield* memory.all("s")).toEqual({ k: largest })
      })
    )

    if (!harness.isShared) return

    law("instances share it, and together keep its bounds", (memory, place) =>
      Effect.gen(function* () {
        const other = yield* place.open()
        yield* memory.set("s", "k", 1)
        expect(yield* other.all("s")).toEqual({ k: 1 })
        const sets = Array.from({ length: MAX_KEYS + 20 }, (_, n) =>
          (n % 2 === 0 ? memory : other).set("s", `k${n}`, n)
        )
        const answers = yield* Effect.all(sets, { concurrency: 16 })
        // One key stood there already.
        expect(answers.filter((answer) => answer !== undefined).length).toBe(21)
        expect(Object.keys(yield* other.all("s")).length).toBe(MAX_KEYS)
        yield* other.clear("s")
        expect(yield* memory.all("s")).toEqual({})
      })
    )
  })

  SessionMemoryBoundsSuite.suite(api, harness)
}
