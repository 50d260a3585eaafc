import { afterAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { current } from "../../test-support/Runtime.ts"
import { slopeOf } from "../src/Slope.ts"
import { Ledger } from "../src/SoakLedger.ts"
import { bench } from "./Bench.ts"

const directory = mkdtempSync(join(tmpdir(), "parley-soak-test-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let files = 0
const fileOf = (...numbers: ReadonlyArray<number>): string => {
  const file = join(directory, String(files++))
  writeFileSync(file, new Uint8Array(new Uint32Array(numbers).buffer))
  return file
}

describe("a soak's books", () => {
  const nothing = {
    begun: 0,
    twiceAtOne: 0,
    twiceUnforced: 0,
    afterDeath: 0,
    unfounded: 0,
    answeredTwice: 0,
    twice: []
  }

  test("agree where each task was begun once, by whoever answered it", () => {
    const ledger = new Ledger(100, 3)
    ledger.answers(fileOf(100, 0, 102, 1))
    // Numbers of other asking nodes are not looked at.
    expect(ledger.agent(fileOf(100, 7, 4_000_000_000), 0, "left")).toBe(1)
    expect(ledger.agent(fileOf(101, 102), 1, "lives")).toBe(2)
    expect(ledger.account()).toEqual({ ...nothing, begun: 3 })
  })

  test("tell a task that was done twice from one that a death left to another agent", () => {
    const ledger = new Ledger(0, 4)
    ledger.answers(fileOf(0, 1, 1, 0, 1, 0, 2, 1, 3, 1))
    ledger.agent(fileOf(0, 2), 0, "killed")
    ledger.agent(fileOf(0, 1, 1, 2), 1, "lives")
    ledger.agent(fileOf(2), 2, "left")
    expect(ledger.account()).toEqual({
      begun: 7,
      twiceAtOne: 1,
      twiceUnforced: 1,
      afterDeath: 2,
      // Agent 0 never began task 1, and agent 1 never began task 3.
      unfounded: 2,
      answeredTwice: 1,
      twice: [
        { n: 1, agents: [1, 1] },
        { n: 2, agents: [1, 2] }
      ]
    })
  })

  test("read a log of any length, and leave out what was not written to its end", () => {
    const count = 600_000
    const file = fileOf(...[])
    const bytes = new Uint8Array(Uint32Array.from({ length: count }, (_, n) => n).buffer)
    writeFileSync(file, bytes.subarray(0, bytes.length - 2))
    const ledger = new Ledger(0, count)
    expect(ledger.agent(file, 0, "killed")).toBe(count - 1)
    expect(ledger.agent(join(directory, "missing"), 1, "killed")).toBe(0)
    expect(ledger.account()).toEqual({ ...nothing, begun: count - 1 })
  })
})

describe("slopes", () => {
  test("are those of the line, whatever a few points say", () => {
    const line = Array.from({ length: 20 }, (_, x) => [x, 3 * x + 5] as const)
    expect(slopeOf(line)).toBe(3)
    expect(slopeOf([...line, [20, 1_000], [21, -1_000]])).toBe(3)
    expect(slopeOf([[1, 1]])).toBeNaN()
  })
})

describe("bench soak", () => {
  test("loses no call and does none twice, while agents join, leave and are killed", async () => {
    const { code, err, out } = await bench("soak", "--brief", "--json", "--runtime", current, "--seed", "1")
    const { doubled, events, leftOpen, lost, totals, unexplained } = JSON.parse(out || "{}")
    expect({ lost, doubled, leftOpen, unexplained, err, code }).toMatchObject({
      lost: 0,
      doubled: 0,
      leftOpen: 0,
      unexplained: [],
      code: 0
    })
    expect(totals.answered).toBeGreaterThan(1_000)
    // How many turns there are depends on what else the machine does; callers of a visit are always killed.
    expect(events.killed + events.left).toBeGreaterThan(0)
    expect(events.visits).toBeGreaterThan(0)
  }, 240_000)
})
