/** Verifies: the parts about connections measure what they say, and the counting proxy counts flights. */
import { describe, expect, test } from "bun:test"
import { connect, createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { current } from "../../test-support/Runtime.ts"
import { CountingProxy } from "../src/CountingProxy.ts"
import type { Goal } from "../src/Part.ts"
import { bench } from "./Bench.ts"

/** The goals of a part that was run for a few seconds. */
const goalsOf = async (...args: ReadonlyArray<string>): Promise<ReadonlyMap<string, Goal>> => {
  const { code, err, out } = await bench(...args, "--brief", "--json")
  expect(err).not.toContain("rror")
  expect(code).toBe(0)
  const { goals } = JSON.parse(out) as { readonly goals: ReadonlyArray<Goal> }
  return new Map(goals.map((goal) => [goal.id, goal]))
}

describe("the counting proxy", () => {
  test("sees what goes each way, and how often the direction changes", async () => {
    const server = createServer((socket) => socket.on("data", (chunk: Uint8Array) => void socket.write(chunk)))
    const port = await new Promise<number>((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
    )
    const proxy = new CountingProxy(port, 5)
    const socket = connect({ port: await proxy.listen(), host: "127.0.0.1" })
    try {
      const answered = () => new Promise<void>((resolve) => socket.once("data", () => resolve()))
      for (const text of ["one", "three"]) {
        socket.write(text)
        await answered()
      }
      expect(proxy.passed.length).toBe(1)
      expect(proxy.passed[0]!.flights.map(({ bytes, from }) => `${from} ${bytes}`)).toEqual([
        "client 3",
        "server 3",
        "client 5",
        "server 5"
      ])
      // The first answer had to wait for the question to come through.
      expect(proxy.passed[0]!.flights[1]!.atMs).toBeGreaterThanOrEqual(4)
    } finally {
      socket.destroy()
      proxy.close()
      server.close()
    }
  })
})

describe("bench", () => {
  test("dial counts three round trips", async () => {
    const goals = await goalsOf("dial", "--runtime", current)
    expect([...goals.keys()]).toEqual(["dial-p50", "dial-round-trips", "dial-accepts"])
    expect(goals.get("dial-round-trips")!.measured).toBe(3)
    expect(goals.get("dial-p50")!.measured).toBeGreaterThan(0)
    expect(goals.get("dial-accepts")!.measured).toBeGreaterThan(0)
  }, 120_000)

  test("idle has as many connections as it says", async () => {
    const goals = await goalsOf("idle", "--runtime", current)
    expect(goals.get(`idle-memory-${current}`)!.what).toContain("100 idle connections")
    expect(goals.get(`idle-memory-${current}`)!.measured).not.toBeNull()
    expect(goals.get(`idle-calls-${current}`)!.measured).toBeGreaterThan(0)
  }, 120_000)

  test("every circuit of relay answers, and a quota holds", async () => {
    const goals = await goalsOf("relay", "--runtime", current)
    expect(goals.get("relay-circuits")!.measured).toBe(100)
    expect(goals.get("relay-quota")!.met).toBe(true)
    expect(goals.get(`relay-pair-${current}`)!.measured).toBeGreaterThan(0)
  }, 120_000)

  test("start sees a call taken", async () => {
    const goals = await goalsOf("start")
    expect([...goals.keys()]).toEqual(["start-help", "start-serving"])
    for (const { measured } of goals.values()) expect(measured).toBeGreaterThan(0)
  }, 120_000)

  test("says what is wrong with options of these parts", async () => {
    for (const [args, words] of [
      [["dial", "--pairs", "0"], '--pairs is a whole number from 1, not "0"'],
      [["idle", "--connections", "many"], '--connections is a whole number from 1, not "many"'],
      [["relay", "--runtime", "node"], '--runtime knows bun, deno, not "node"'],
      [["start", "--rounds", "0.5"], '--rounds is a whole number from 1, not "0.5"']
    ] as const) {
      const { code, err } = await bench(...args)
      expect(err).toContain(words)
      expect(code).toBe(2)
    }
  }, 60_000)
})
