/**
 * A registry that is killed (SIGKILL) under load, again and again, and started on the same file: what was acknowledged is there, agents are back
 * with trust and history within 5 s, and a subscriber goes on without a gap. `PARLEY_CRASH_ROUNDS` says how often; 5 times where
 * absent.
 */
import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fromSeed } from "@parley/core/testing/Seeded"
import { freePort } from "../../../test-support/Throwaway.ts"
import * as Process from "./Process.ts"

const ROUNDS = Number(process.env["PARLEY_CRASH_ROUNDS"] ?? 5)
const seed = Number(process.env["PARLEY_SEED"] ?? Date.now() % 1_000_000)
const AGENTS = 8
const CLIENTS = 16
const BACK_MS = 5_000

const answerOf = async (url: string, method: string, body?: unknown) => {
  const response = await fetch(url, {
    method,
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
  })
  return { status: response.status, body: (await response.json()) as { readonly [key: string]: unknown } }
}

interface Told {
  readonly cursor: number
  readonly type: string
}

/** Follows the events, and comes back with the last cursor when the connection breaks. */
const follow = (url: string) => {
  const told: Array<Told> = []
  const abort = new AbortController()
  const run = async (): Promise<void> => {
    while (!abort.signal.aborted) {
      try {
        const from = told.at(-1)?.cursor ?? 0
        const response = await fetch(`${url}/events?cursor=${from}`, { signal: abort.signal })
        const decoder = new TextDecoder()
        let rest = ""
        for await (const chunk of response.body!) {
          const parts = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split("\n")
          rest = parts.pop()!
          for (const part of parts) if (part.startsWith("data: ")) told.push(JSON.parse(part.slice(6)) as Told)
        }
      } catch {
        // It is down; the next try begins where this one ended.
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }
  const ended = run()
  return {
    told,
    end: () => {
      abort.abort()
      return ended
    }
  }
}

test(
  `nothing acknowledged is lost when a registry is killed under load (${ROUNDS} rounds)`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "parley-crash-"))
    const file = join(folder, "registry.db")
    const random = fromSeed(seed)
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    /** Reports that were answered with 200, by agent. */
    const acknowledged = Array.from({ length: AGENTS }, () => 0)
    let sent = 0
    let child = await Process.start(file, port, `seed ${seed}`)
    for (let i = 0; i < AGENTS; i++) {
      await answerOf(`${url}/agents/register`, "POST", { agent_id: `agent-${i}`, name: "a", endpoint: "ws://a" })
    }
    const listener = follow(url)
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const before = acknowledged.reduce((sum, count) => sum + count, 0)
        const until = before + 50 + random.int(300)
        const state = { isUp: true }
        const enough = Promise.withResolvers<void>()
        const clients = Array.from({ length: CLIENTS }, async () => {
          while (state.isUp) {
            const agent = sent++ % AGENTS
            const task_id = `task-${seed}-${sent}`
            const report = { agent_id: `agent-${agent}`, capability: "x", task_id, success: true, quality: 0.9 }
            const answer = await answerOf(`${url}/trust/reports`, "POST", report).catch(() => undefined)
            if (answer?.status !== 200) continue
            acknowledged[agent]!++
            if (acknowledged.reduce((sum, count) => sum + count, 0) >= until) enough.resolve()
          }
        })
        await enough.promise
        await Process.kill(child)
        state.isUp = false
        await Promise.all(clients)

        const downAt = performance.now()
        child = await Process.start(file, port, `seed ${seed}`)
        for (let i = 0; i < AGENTS; i++) {
          const { body } = await answerOf(`${url}/agents/agent-${i}`, "GET")
          const counted = body["tasks_completed"] as number
          expect([seed, round, i, counted >= acknowledged[i]!]).toEqual([seed, round, i, true])
          // What was in flight at the kill may have been written without an answer: no more than there were clients.
          expect([seed, round, i, counted - acknowledged[i]! <= CLIENTS * (round + 1)]).toEqual([seed, round, i, true])
          expect((body["trust_score"] as number) > 0.5).toBe(true)
          const history = await answerOf(`${url}/agents/agent-${i}/trust_history?limit=1`, "GET")
          expect((history.body["history"] as ReadonlyArray<unknown>).length).toBe(1)
        }
        expect([seed, round, performance.now() - downAt < BACK_MS]).toEqual([seed, round, true])
      }
      const { body } = await answerOf(`${url}/health`, "GET")
      const { cursor } = body["parts"] as { readonly cursor: number }
      const head = await answerOf(`${url}/chain/head`, "GET")
      const all = acknowledged.reduce((sum, count) => sum + count, 0)
      expect((head.body["seq"] as number) >= all).toBe(true)
      while ((listener.told.at(-1)?.cursor ?? 0) < cursor) await new Promise((resolve) => setTimeout(resolve, 20))
      const cursors = listener.told.map((event) => event.cursor)
      expect([seed, cursors.filter((each, i) => each !== i + 1).slice(0, 5)]).toEqual([seed, []])
    } finally {
      await listener.end()
      await Process.kill(child)
      rmSync(folder, { recursive: true })
    }
  },
  60_000 + ROUNDS * 5_000
)
