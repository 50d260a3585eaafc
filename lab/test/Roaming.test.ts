import { describe, expect, test } from "bun:test"
import { roaming } from "../src/Roaming.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's roaming", () => {
  test(
    "reaches what its small run judges",
    async () => {
      expect(await missed("roaming", roaming, 20_261_121)).toEqual([])
    },
    MOST_MS
  )
})
