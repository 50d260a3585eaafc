/** Verifies: a range finds the newest of what is served now, and strangers' ranges are forgotten beyond a number. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Guardrails from "@parley/core/Guardrails"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { Offers } from "../src/internal/Offers.ts"
import { Served } from "../src/internal/Served.ts"

const serve = (id: string): Served =>
  new Served(
    Capability.untyped(id) as Capability.Capability<never, unknown>,
    () => Effect.void,
    {},
    Guardrails.defaults,
    Context.empty()
  )

describe("what is served", () => {
  test("is found by itself and by its range, as it comes and goes", () => {
    const offers = new Offers()
    const find = (id: string): string | undefined => offers.find(id)?.capability.id
    expect(find("work.do@^1")).toBe(undefined)
    const [older, newer] = [serve("work.do@1.0.0"), serve("work.do@1.1.0")]
    expect(offers.add(older)).toBe(true)
    expect(offers.add(serve("work.do@1.0.0"))).toBe(false)
    expect(find("work.do@^1")).toBe("work.do@1.0.0")
    offers.add(newer)
    expect([find("work.do@^1"), find("work.do@1.0.0")]).toEqual(["work.do@1.1.0", "work.do@1.0.0"])
    offers.remove(newer)
    expect([find("work.do@^1"), find("work.do@1.1.0")]).toEqual(["work.do@1.0.0", undefined])
    expect(offers.ids()).toEqual(["work.do@1.0.0"])
  })
})
