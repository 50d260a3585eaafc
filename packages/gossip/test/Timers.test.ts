/** Verifies: a clock that tells parts of a millisecond, as real ones do, has a machine arm no timer twice. */
import { describe, expect, test } from "bun:test"
import type { Event } from "@parley/core/Machine"
import * as GossipMachine from "../src/GossipMachine.ts"

describe("the timers of a node", () => {
  test("are armed when something is due sooner, and not with every event", () => {
    let state = GossipMachine.make({
      self: "a",
      seed: 20_261_121,
      incarnation: 1,
      sign: () => new Uint8Array(64),
      verify: () => true
    })
    let armed = 0
    const step = (event: Event<GossipMachine.Message, GossipMachine.Timer, GossipMachine.Command>): void => {
      const [next, actions] = GossipMachine.machine.step(state, event)
      state = next
      for (const action of actions) if (action._tag === "After") armed++
    }
    const item = { key: "m1", version: 0, payload: new Uint8Array(8), bytes: 8 }
    step({ _tag: "Command", now: 0.3, command: { _tag: "Join", contacts: [] } })
    step({ _tag: "Command", now: 0.35, command: { _tag: "Put", item, ttlMs: 60_000, spread: false } })
    const offer = { _tag: "Offer", entries: [{ key: "m2", version: 0 }] } as const
    step({ _tag: "Message", now: 0.36, from: "b", message: offer })
    // Nobody has sent it: what is due next is due later.
    step({ _tag: "LinkUp", now: 1_501.55, peer: "b" })
    const before = armed
    expect(before).toBeGreaterThanOrEqual(2)
    for (let n = 0; n < 1_000; n++) step({ _tag: "LinkUp", now: 1_501.6 + n * 0.0003, peer: `p${n}` })
    expect(armed - before).toBeLessThanOrEqual(2)
  })
})
