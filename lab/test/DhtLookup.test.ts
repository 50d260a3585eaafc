import { describe, expect, test } from "bun:test"
import { dhtLookup } from "../src/DhtLookup.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's dht", () => {
  test(
    "reaches what its small run judges",
    async () => {
      expect(await missed("dht", dhtLookup, 20_261_123)).toEqual([])
    },
    MOST_MS
  )
})
