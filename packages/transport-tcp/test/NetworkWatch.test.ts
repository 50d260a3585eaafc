/** Verifies: a change of addresses and a sleep are noticed once each, by everybody who listens, and nothing else is. */
import { describe, expect, test } from "bun:test"
import { addressesNow, type Change, LOOK_EVERY_MS, SLEPT_MS, Watch } from "../src/internal/NetworkWatch.ts"

const world = () => {
  const state = { addresses: "lo 127.0.0.1", now: 1_000, hasHandles: true }
  const addresses = (): string => {
    if (!state.hasHandles) throw new Error("too many open files")
    return state.addresses
  }
  const watch = new Watch({ addresses, now: () => state.now })
  const look = (lateMs = 0): void => {
    state.now += LOOK_EVERY_MS + lateMs
    watch.look()
  }
  return { state, watch, look }
}

describe("the watch over the network", () => {
  test("tells of other addresses, once", () => {
    const { look, state, watch } = world()
    const told: Array<Change> = []
    const stop = watch.listen((change) => void told.push(change))
    const stopOther = watch.listen((change) => void told.push(change))
    look()
    state.addresses = "lo 127.0.0.1\nwlan0 192.0.2.7"
    look()
    look()
    expect(told).toEqual(["addresses", "addresses"])
    stopOther()
    stopOther()
    state.addresses = "lo 127.0.0.1"
    look()
    expect(told).toEqual(["addresses", "addresses", "addresses"])
    stop()
  })

  test("tells of a sleep, and not of a busy machine or of a clock that was set back", () => {
    const { look, state, watch } = world()
    const told: Array<Change> = []
    const stop = watch.listen((change) => void told.push(change))
    look(SLEPT_MS - 1)
    state.now -= 3_600_000
    look()
    expect(told).toEqual([])
    look(SLEPT_MS)
    look()
    expect(told).toEqual(["sleep"])
    stop()
  })

  test("goes on where the system has no file handle to look with, and misses nothing", () => {
    const { look, state, watch } = world()
    const told: Array<Change> = []
    state.hasHandles = false
    const stop = watch.listen((change) => void told.push(change))
    look()
    state.hasHandles = true
    look()
    expect(told).toEqual([])
    state.hasHandles = false
    state.addresses = "wlan0 192.0.2.7"
    look()
    state.hasHandles = true
    look()
    state.hasHandles = false
    look(SLEPT_MS)
    state.hasHandles = true
    look()
    look()
    expect(told).toEqual(["addresses", "sleep"])
    stop()
  })

  test("sees this machine's own addresses", () => {
    expect(addressesNow()).toContain("127.0.0.1")
  })
})
