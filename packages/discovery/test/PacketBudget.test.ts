/** Verifies: who floods the link is not heard, however many addresses it poses as, and those who spoke for a node still are. */
import { describe, expect, test } from "bun:test"
import {
  MAX_KNOWN_SENDERS,
  MAX_PACKETS_PER_SECOND,
  MAX_PACKETS_PER_SENDER,
  PacketBudget,
  PACKETS_FOR_KNOWN
} from "../src/internal/MulticastLink.ts"

const times = (count: number, take: (at: number) => boolean): number =>
  Array.from({ length: count }, (_, at) => take(at)).filter((taken) => taken).length

const trusting = (senders: Iterable<string>): PacketBudget => {
  const budget = new PacketBudget()
  for (const sender of senders) budget.trust(sender)
  return budget
}

describe("packets taken from the link", () => {
  test("one sender has a share, and a new one each second", () => {
    const budget = new PacketBudget()
    expect(times(1_000, () => budget.take("10.0.0.9", 5_000))).toBe(MAX_PACKETS_PER_SENDER)
    expect(budget.take("10.0.0.1", 5_001)).toBe(true)
    expect(times(1_000, () => budget.take("10.0.0.9", 6_000))).toBe(MAX_PACKETS_PER_SENDER)
  })

  test("one that poses as thousands uses up what is for strangers, and not what is for those who are known", () => {
    const known = ["10.0.0.1", "10.0.0.2"]
    const budget = trusting(known)
    const flood = times(100_000, (at) => budget.take(`10.${at >> 16}.${(at >> 8) & 255}.${at & 255}x`, 1_000))
    expect(flood).toBe(MAX_PACKETS_PER_SECOND - PACKETS_FOR_KNOWN)
    expect(budget.take("10.0.0.3", 1_500)).toBe(false)
    for (const sender of known) expect(times(50, () => budget.take(sender, 1_500))).toBe(50)
    expect(budget.take("10.0.0.3", 2_000)).toBe(true)
  })

  test("one that poses as somebody known is still held to that one's share", () => {
    const budget = trusting(["10.0.0.1", "10.0.0.2"])
    expect(times(10_000, () => budget.take("10.0.0.1", 0))).toBe(MAX_PACKETS_PER_SENDER)
    expect(budget.take("10.0.0.2", 1)).toBe(true)
  })

  test("of those who spoke, the one that did so longest ago is a stranger again once there are too many", () => {
    const senders = Array.from({ length: MAX_KNOWN_SENDERS }, (_, at) => `10.1.${at >> 8}.${at & 255}`)
    const budget = trusting([...senders, senders[0]!, "10.2.0.1"])
    times(MAX_PACKETS_PER_SECOND, (at) => budget.take(`10.9.${at >> 8}.${at & 255}`, 0))
    expect(["10.2.0.1", senders[0]!, senders[2]!].map((sender) => budget.take(sender, 1))).toEqual([true, true, true])
    expect(budget.take(senders[1]!, 1)).toBe(false)
  })
})
