/** Verifies: what is remembered of strangers' texts is right, and bounded in number and length. */
import { expect, test } from "bun:test"
import { MAX_TEXT_LENGTH, MAX_TEXTS, remembered } from "../src/internal/Remembered.ts"

test("a function is asked once for a text, until there are too many, and always for a long one", () => {
  const asked: Array<string> = []
  const lengthOf = remembered((text) => {
    asked.push(text)
    return text.length > 2
  })
  expect([lengthOf("abc"), lengthOf("a"), lengthOf("abc"), lengthOf("a")]).toEqual([true, false, true, false])
  expect(asked).toEqual(["abc", "a"])
  const long = "x".repeat(MAX_TEXT_LENGTH + 1)
  for (let i = 0; i < 3; i++) expect(lengthOf(long)).toBe(true)
  expect(asked.length).toBe(5)
  for (let i = 0; i < MAX_TEXTS; i++) lengthOf(`text ${i}`)
  asked.length = 0
  expect([lengthOf("abc"), lengthOf(`text ${MAX_TEXTS - 1}`)]).toEqual([true, true])
  expect(asked).toEqual(["abc"])
})
