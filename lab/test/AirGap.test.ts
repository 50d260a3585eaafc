import { describe, expect } from "bun:test"
import { skipTest } from "../../test-support/Skip.ts"
import { airGap } from "../src/AirGap.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's airgap", () => {
  skipTest(airGap.unavailable)(
    "reaches what its small run judges",
    async () => {
      expect(await missed("airgap", airGap, 20_261_121)).toEqual([])
    },
    MOST_MS
  )
})
