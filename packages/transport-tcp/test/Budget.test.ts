/** Verifies: many connections that each stay within their own limits cannot take a node's memory together. */
import { describe, expect, test } from "bun:test"
import { ResetCode } from "@parley/core/Transport"
import * as Frame from "@parley/transport-tcp/Frame"
import { Budget, GUARANTEED_BYTES } from "../src/internal/Budget.ts"
import { data, exchange, Heard, makeEnd, makeHostile, protocol, settle } from "./sessions.ts"

const TOTAL = 8 * 1024 * 1024
const part = new Uint8Array(60_000)

/** Sends parts of a message that never ends; how many were taken before the stream was reset, `most` at most. */
const fill = (hostile: ReturnType<typeof makeHostile>, most: number): number => {
  for (let n = 0; n < most; n++) {
    const flags = n === 0 ? Frame.Flag.Open | Frame.Flag.More : Frame.Flag.More
    hostile.say(data(1, flags, part))
    const [stream] = hostile.victim.streams
    if (stream?.codes.includes(ResetCode.Overloaded) === true) return n
    expect(hostile.victim.closed).toEqual([])
  }
  return most
}

describe("what all connections hold", () => {
  test("of unfinished messages stays within the budget, and a newcomer still finds room", () => {
    const budget = new Budget(TOTAL)
    const crowd = Array.from({ length: 40 }, () => makeHostile({}, budget))
    for (const hostile of crowd) fill(hostile, 200)
    expect(budget.used).toBeLessThan(TOTAL + 40 * GUARANTEED_BYTES)
    expect(fill(makeHostile({}, budget), 3)).toBe(3)
    for (const { victim } of crowd) victim.session.close("over")
  })

  test("is given back when they close", () => {
    const budget = new Budget(TOTAL)
    const crowd = Array.from({ length: 5 }, () => makeHostile({}, budget))
    for (const hostile of crowd) fill(hostile, 3)
    expect(budget.used).toBeGreaterThan(1_000_000)
    for (const { victim } of crowd) victim.session.close("over")
    expect(budget.used).toBe(0)
  })

  test("of answers that nobody takes stays within the budget, too", async () => {
    const budget = new Budget(TOTAL)
    const codes: Array<ResetCode> = []
    for (let n = 0; n < 60; n++) {
      const end = makeEnd("inbound", {}, budget)
      const heard = new Heard()
      const stream = end.session.open(protocol, heard)!
      for (let message = 0; message < 40 && heard.codes.length === 0; message++) stream.send(part, part, false)
      codes.push(...heard.codes)
    }
    await settle()
    expect(codes.length).toBeGreaterThan(40)
    expect(codes.every((code) => code === ResetCode.TooSlow)).toBe(true)
    expect(budget.used).toBeLessThan(TOTAL)
  })

  test("is no concern of one connection alone", async () => {
    const budget = new Budget(512 * 1024 * 1024)
    const [a, b] = [makeEnd("outbound", {}, budget), makeEnd("inbound", {}, budget)]
    const stream = a.session.open(protocol, new Heard())!
    stream.send(new Uint8Array(0), new Uint8Array(16 * 1024 * 1024), true)
    await exchange(a, b)
    expect(b.streams[0]?.bytes).toBe(16 * 1024 * 1024)
    expect(budget.used).toBe(0)
  })
})
