import { describe, expect, test } from "bun:test"
import { hostile } from "../src/Hostile.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's hostile", () => {
  test(
    "reaches what its small run judges",
    async () => {
      expect(await missed("hostile", hostile, 20_261_121)).toEqual([])
    },
    MOST_MS
  )
})
