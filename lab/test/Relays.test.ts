import { describe, expect, test } from "bun:test"
import { relays } from "../src/Relays.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's relays", () => {
  test(
    "reaches what its small run judges",
    async () => {
      expect(await missed("relays", relays, 20_261_122)).toEqual([])
    },
    MOST_MS
  )
})
