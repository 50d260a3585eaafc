/** Verifies: an agent that leaves loses no answer, though its process exits at once; and leaving takes no time to speak of. */
import { afterEach, describe, expect, test } from "bun:test"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Agent } from "@parley/agent"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { command } from "../../../test-support/Runtime.ts"

const children: Array<ChildProcessByStdio<Writable, Readable, null>> = []
const started: Array<Agent.Agent> = []

const start = async (options: Agent.Options = {}): Promise<Agent.Agent> => {
  const agent = await Agent.start({ mdns: false, host: "127.0.0.1", log: "None", ...options })
  started.push(agent)
  return agent
}

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL")
  await Promise.all(started.splice(0).map((agent) => agent.close()))
})

/** Asks an agent in a process of its own, tells it to leave amid that, and gives which tasks it ended and which were answered. */
const leaveAmid = async (bytes: number, inflight: number, leaveAfter: number, ...relay: ReadonlyArray<string>) => {
  const [program, ...args] = command(fileURLToPath(new URL("leaving-agent.ts", import.meta.url)))
  const child = spawn(program, [...args, String(bytes), ...relay], { stdio: ["pipe", "pipe", "inherit"] })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const to = (await lines.next()).value as string
  const asker = await start()
  const answered = new Set<number>()
  const failed: Array<string> = []
  let [issued, gone] = [0, false]
  const lane = async (): Promise<void> => {
    while (!gone) {
      const n = issued++
      try {
        const answer = await asker.call("text.long@1.0.0", { n }, { to, deadline: "10 seconds" })
        if (answer.n === n && answer.text.length === bytes) answered.add(n)
        if (answered.size === leaveAfter) child.stdin.write("leave\n")
      } catch (error) {
        failed.push(String(error))
        gone = true
      }
    }
  }
  await Promise.all(Array.from({ length: inflight }, lane))
  const ended: Array<number> = []
  for (let line = await lines.next(); line.done !== true; line = await lines.next()) ended.push(Number(line.value))
  return { ended, answered, failed }
}

describe("an agent that leaves", () => {
  for (const [name, bytes, inflight, leaveAfter] of [
    ["short", 100, 64, 5_000],
    ["long", 300_000, 64, 200],
    ["longer than a window", 3_000_000, 8, 16]
  ] as const) {
    test(`has sent all answers, ${name} ones, before its process is free to exit`, async () => {
      const { answered, ended, failed } = await leaveAmid(bytes, inflight, leaveAfter)
      expect(ended.length).toBeGreaterThan(leaveAfter - 1)
      expect({ lost: ended.filter((n) => !answered.has(n)), first: failed[0] }).toEqual({ lost: [], first: failed[0] })
    }, 30_000)
  }

  test("has sent them over a relay, too", async () => {
    const relay = ManagedRuntime.make(
      Relay.layer().pipe(
        Layer.provideMerge(Connections.layer),
        Layer.provide(TransportTcp.layer({ host: "127.0.0.1", port: 0 })),
        Layer.provide(Identity.layerEphemeral)
      )
    )
    try {
      const via = await relay.runPromise(Effect.map(Connections.Connections, (all) => all.addresses()[0]!))
      const { answered, ended, failed } = await leaveAmid(100_000, 32, 40, via)
      expect(ended.length).toBeGreaterThan(39)
      expect({ lost: ended.filter((n) => !answered.has(n)), first: failed[0] }).toEqual({ lost: [], first: failed[0] })
    } finally {
      await relay.dispose()
    }
  }, 30_000)

  test("takes no time to speak of", async () => {
    const [ada, bob] = [await start(), await start()]
    await ada.serve("text.echo@1.0.0", ({ text }) => ({ text }))
    await bob.call("text.echo@1.0.0", { text: "x" }, { to: ada.addresses[0]! })
    const before = performance.now()
    await ada.close()
    // 1 to 7 ms; the bound leaves room for a machine that is busy, and is far below every grace.
    expect(performance.now() - before).toBeLessThan(2_500)
  })
})
