import { describe, expect } from "bun:test"
import { skipTest } from "../../test-support/Skip.ts"
import { doctor } from "../src/Doctor.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's doctor", () => {
  skipTest(doctor.unavailable)(
    "reaches what its small run judges",
    async () => {
      expect(await missed("doctor", doctor, 20_261_123)).toEqual([])
    },
    MOST_MS
  )
})
