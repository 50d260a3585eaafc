/** Verifies: a list of verdicts is read in small parts, and one answer holds so much of it and no more. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { MAX_LISTED_CHARACTERS, newest } from "@parley/registry/VerdictsHandlers"

/** So many verdicts of some length each, and how many were read at most at once. */
const log = (count: number, length: number) => {
  const question = "x".repeat(length)
  const all = Array.from({ length: count }, (_, n) => ({
    cursor: count - n,
    at: 0,
    task: `t${count - n}`,
    capability: "a",
    publishedBy: "asker",
    question,
    certificate: null
  }))
  let most = 0
  const read = ({ before = Infinity, limit }: { readonly before?: number; readonly limit: number }) =>
    Effect.sync(() => {
      most = Math.max(most, limit)
      return all.filter(({ cursor }) => cursor < before).slice(0, limit)
    })
  return { read, most: () => most }
}
const tasks = (rows: ReadonlyArray<string>) => rows.map((row) => (JSON.parse(row) as { readonly task: string }).task)

test("large certificates come in several answers, each verdict once, and few are held at a time", async () => {
  const { most, read } = log(20, MAX_LISTED_CHARACTERS / 8)
  const found: Array<string> = []
  let pages = 0
  let before: number | undefined
  do {
    const { next, rows } = await Effect.runPromise(newest(read, { limit: 1_000, before }))
    expect(rows.join(",").length).toBeLessThan(MAX_LISTED_CHARACTERS + 10)
    found.push(...tasks(rows))
    before = next
    pages++
  } while (before !== undefined)
  expect(found).toEqual(Array.from({ length: 20 }, (_, n) => `t${20 - n}`))
  expect([pages, most()]).toEqual([3, 8])
  // One that is larger alone is given alone.
  const { next, rows } = await Effect.runPromise(newest(log(2, MAX_LISTED_CHARACTERS).read, { limit: 5 }))
  expect([tasks(rows), next]).toEqual([["t2"], 2])
})

test("a limit ends a page, the last page has no next one", async () => {
  const { read } = log(20, 1)
  const first = await Effect.runPromise(newest(read, { limit: 12 }))
  expect([first.rows.length, first.next]).toEqual([12, 9])
  const last = await Effect.runPromise(newest(read, { limit: 12, before: first.next }))
  expect([tasks(last.rows), last.next]).toEqual([["t8", "t7", "t6", "t5", "t4", "t3", "t2", "t1"], undefined])
})
