import { describe, expect, test } from "bun:test"
import { whole } from "../src/Whole.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's whole", () => {
  test(
    "reaches what its small run judges",
    async () => {
      expect(await missed("whole", whole, 20_261_125)).toEqual([])
    },
    MOST_MS
  )
})
