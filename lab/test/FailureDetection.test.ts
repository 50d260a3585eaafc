import { describe, expect, test } from "bun:test"
import { failureDetection } from "../src/FailureDetection.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's detection", () => {
  test(
    "reaches what its small run judges",
    async () => {
      expect(await missed("detection", failureDetection, 5)).toEqual([])
    },
    MOST_MS
  )
})
