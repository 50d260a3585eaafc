import { describe, expect } from "bun:test"
import { skipTest } from "../../test-support/Skip.ts"
import { threeMachines } from "../src/ThreeMachines.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's machines", () => {
  skipTest(threeMachines.unavailable)(
    "reaches what its small run judges",
    async () => {
      expect(await missed("machines", threeMachines, 20_261_124)).toEqual([])
    },
    MOST_MS
  )
})
