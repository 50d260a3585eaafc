/** Verifies: what hosts have stored is counted within their time, and the counting itself is bounded. */
import { describe, expect, test } from "bun:test"
import { ITEM_MS, ItemShares, MAX_COUNTED, MAX_ITEMS_OF_HOST } from "../src/internal/ItemShares.ts"

const ID = Buffer.alloc(20)
const item = (at: number) => ({ id: ID, v: Buffer.from(`value ${at}`) })

describe("shares of hosts", () => {
  test("are used up one by one, renewed without limit, and free again after the items' time", () => {
    const shares = new ItemShares()
    for (let i = 0; i < MAX_ITEMS_OF_HOST; i++) {
      expect(shares.allows(item(i), "a", 0)).toBe(true)
      shares.add(item(i), "a", 0)
    }
    expect([shares.allows(item(-1), "a", 1), shares.allows(item(-1), "b", 1)]).toEqual([false, true])
    for (let i = 0; i < 3; i++) {
      expect(shares.allows(item(7), "a", 1)).toBe(true)
      shares.add(item(7), "a", 1)
    }
    // A key's item is the same under each value, and another one under another salt.
    const [k, v] = [Buffer.alloc(32, 1), Buffer.from("x")]
    shares.add({ id: ID, k, v }, "c", 0)
    shares.add({ id: ID, k, v: Buffer.from("y") }, "c", 0)
    shares.add({ id: ID, k, v, salt: Buffer.from("z") }, "c", 0)
    expect(shares.size).toBe(MAX_ITEMS_OF_HOST + 2)
    expect([shares.allows(item(-1), "a", ITEM_MS - 1), shares.allows(item(-1), "a", ITEM_MS)]).toEqual([false, true])
    // The one that was renewed is still there.
    expect(shares.size).toBe(1 + 2)
  })

  test("of many hosts are bounded: who stored longest ago is counted anew", () => {
    const shares = new ItemShares()
    const hosts = Math.ceil(MAX_COUNTED / MAX_ITEMS_OF_HOST) + 1
    const fill = (host: string): void => {
      for (let i = 0; i < MAX_ITEMS_OF_HOST; i++) shares.add(item(i), host, 0)
    }
    for (let host = 0; host < hosts; host++) fill(`host ${host}`)
    expect(shares.size).toBeLessThanOrEqual(MAX_COUNTED)
    expect(shares.allows(item(-1), "host 0", 1)).toBe(true)
    expect(shares.allows(item(-1), `host ${hosts - 1}`, 1)).toBe(false)
  })
})
