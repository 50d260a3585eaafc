import { describe, expect, test } from "bun:test"
import { realGossip } from "../src/RealGossip.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's gossip", () => {
  test(
    "reaches what its small run judges",
    async () => {
      expect(await missed("gossip", realGossip, 20_261_123)).toEqual([])
    },
    MOST_MS
  )
})
