import { describe, expect } from "bun:test"
import { skipTest } from "../../test-support/Skip.ts"
import { natMatrix } from "../src/NatMatrix.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's nat", () => {
  skipTest(natMatrix.unavailable)(
    "reaches what its small run judges",
    async () => {
      expect(await missed("nat", natMatrix, 20_261_121)).toEqual([])
    },
    MOST_MS
  )
})
