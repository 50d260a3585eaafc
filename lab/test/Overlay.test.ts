import { describe, expect, test } from "bun:test"
import { overlay } from "../src/Overlay.ts"
import { missed, MOST_MS } from "./brief.ts"

describe("the lab's overlay", () => {
  test(
    "reaches what its small run judges",
    async () => {
      expect(await missed("overlay", overlay, 20_261_124)).toEqual([])
    },
    MOST_MS
  )
})
