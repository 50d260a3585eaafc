/** Verifies: lists of agents are read in slices, and bounded, whatever somebody asks for. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Listing from "../src/internal/Listing.ts"
import { manifest, world } from "./knowledge.ts"

const many = (count: number) => {
  const { apply, knowledge, register } = world()
  for (let n = 0; n < count; n++) register(manifest(`agent-${String(n).padStart(5, "0")}`, ["a"]))
  return { apply, knowledge, list: Listing.make(knowledge) }
}

test("an answer holds so many characters, and its cursor leads to all that is left, each once", async () => {
  const { knowledge, list } = many(40)
  const long = "x".repeat(Listing.MAX_LISTED_CHARACTERS / 8)
  const found: Array<string> = []
  let pages = 0
  let cursor: string | undefined
  do {
    const ask = { cursor, wants: () => true, row: ({ id }: { readonly id: string }) => id + long }
    const { next, rows } = await Effect.runPromise(list(ask))
    expect(rows.length).toBeLessThan(9)
    found.push(...rows.map((row) => row.slice(0, -long.length)))
    cursor = next
    pages++
  } while (cursor !== undefined)
  expect([found, pages]).toEqual([knowledge.ids, 6])
  // One that is longer alone is given alone.
  const row = () => "x".repeat(Listing.MAX_LISTED_CHARACTERS + 1)
  expect((await Effect.runPromise(list({ wants: () => true, row }))).rows.length).toBe(1)
})

test("a limit that ends with the list has no next page, one before it has", async () => {
  const { list } = many(3)
  const ask = (limit: number, cursor?: string) =>
    Effect.runPromise(list({ limit, cursor, wants: ({ id }) => id !== "agent-00001", row: ({ id }) => id }))
  expect(await ask(2)).toEqual({ rows: ["agent-00000", "agent-00002"], next: undefined })
  expect(await ask(1)).toEqual({ rows: ["agent-00000"], next: "agent-00000" })
  expect(await ask(1, "agent-00000")).toEqual({ rows: ["agent-00002"], next: undefined })
})

test("others have their turn while a long list is read, and who leaves meanwhile disturbs nobody", async () => {
  const { apply, knowledge, list } = many(5 * Listing.SLICE)
  const all = [...knowledge.ids]
  let looked = 0
  const turns: Array<number> = []
  const reading = Effect.runPromise(
    list({
      wants: () => {
        looked++
        return true
      },
      row: ({ id }) => id
    })
  )
  let isOver = false
  const between = (): void => {
    if (isOver) return
    turns.push(looked)
    if (turns.length === 1) apply({ type: "agent.left", id: all[0]! })
    setImmediate(between)
  }
  setImmediate(between)
  const { next, rows } = await reading
  isOver = true
  expect([rows, next]).toEqual([all, undefined])
  // Between the first slice and the last one somebody else was asked several times.
  expect(new Set(turns).size).toBeGreaterThan(3)
})
