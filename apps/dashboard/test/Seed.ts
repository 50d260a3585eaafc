/**
 * Fills a running registry through its own HTTP API: agents, the tasks they did for each other, reports, session memory, and a
 * verdict with a certificate that was truly signed. The same seed gives the same mesh.
 */
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Identity from "@parley/core/Identity"
import * as Receipt from "@parley/core/Receipt"
import type { Answer, Invited } from "@parley/core/Strategy"
import * as Certificate from "@parley/consensus/Certificate"
import { strategies } from "@parley/consensus/Consensus"
import * as Effect from "effect/Effect"

type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** Uniform in [0, 1) and repeatable (mulberry32). */
export const seeded = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Sends a request to the registry; throws what it says when it says no. */
export const request = async (
  url: string,
  method: string,
  path: string,
  body?: unknown,
  token?: string
): Promise<unknown> => {
  const response = await fetch(url + path, {
    method,
    headers: {
      "content-type": "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` })
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 300)}`)
  return text === "" ? undefined : JSON.parse(text)
}

const trades = [
  ["csv.describe", "Counts, means and spreads of each column of a table", ["data"]],
  ["csv.clean", "Repairs a table: types, blanks, duplicate rows", ["data"]],
  ["text.summarize", "Says in a few sentences what a text says", ["language"]],
  ["text.sentiment", "Tells whether a text is positive, negative or neutral", ["language"]],
  ["text.translate", "Puts a text into another language", ["language"]],
  ["image.caption", "Says what can be seen in a picture", ["vision"]],
  ["code.review", "Reads a change and says what may be wrong with it", ["code"]],
  ["code.test", "Runs a program's tests in a box and tells how they went", ["code"]],
  ["web.search", "Finds pages for a question", ["web"]],
  ["math.solve", "Solves an equation, with its steps", ["math"]]
] as const

const names =
  "ada bob carol dora emil fay gus hana ivo june karl lena milo nora otto pia quin rosa sven tara ugo vera walt xena yuri zoe".split(
    " "
  )

export interface SeededAgent {
  readonly id: string
  readonly name: string
  readonly capability: string
  /** Tasks that it takes at a time. */
  readonly most: number
}

/** Registers so many agents. */
export const agents = async (url: string, count: number, random: () => number): Promise<ReadonlyArray<SeededAgent>> => {
  const all = Array.from({ length: count }, (_, i) => {
    const trade = trades[i % trades.length]!
    const name = i < names.length ? names[i]! : `${names[i % names.length]}-${Math.floor(i / names.length)}`
    return {
      id: `agent-${name}`,
      name,
      capability: trade[0],
      trade,
      other: trades[Math.floor(random() * trades.length)]!,
      most: 1 + Math.floor(random() * 8)
    }
  })
  const register = ({ capability, id, most, name, other, trade }: (typeof all)[number]) =>
    request(url, "POST", "/agents/register", {
      agent_id: id,
      name,
      version: "1.2.0",
      description: `${trade[1]}.`,
      endpoint: "ws://127.0.0.1:9000",
      max_concurrent_tasks: most,
      tags: [...new Set([...trade[2], ...other[2]])],
      capabilities: [trade, ...(other[0] === capability ? [] : [other])].map(([capability, description]) => ({
        name: capability,
        description,
        input_schema: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
        output_schema: { type: "object" },
        avg_latency_ms: random() < 0.6 ? Math.round(40 + random() * 900) : null,
        cost_per_call_usd: random() < 0.3 ? null : random() < 0.5 ? 0 : Math.round(random() * 400) / 100_000
      }))
    })
  for (let i = 0; i < all.length; i += 64) await Promise.all(all.slice(i, i + 64).map(register))
  return all
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** One task: asked, accepted, done or failed, and reported. Its times are the registry's own. */
export const task = async (
  url: string,
  options: {
    readonly from: string
    readonly to: string
    readonly id: string
    readonly capability: string
    readonly ok: boolean
    readonly workMs: number
    readonly quality: number
  }
): Promise<void> => {
  const { capability, from, id, ok, quality, to, workMs } = options
  const trace = (event_type: string, from_agent: string, to_agent: string, payload: Json) =>
    request(url, "POST", "/traces", { task_id: id, event_type, from_agent, to_agent, payload })
  await trace("request_sent", from, to, { capability })
  await trace("accepted", to, from, { estimated_latency_ms: workMs })
  if (workMs > 0) await pause(workMs)
  await trace(ok ? "completed" : "failed", to, from, ok ? { bytes: 812 } : { error: "the input has no header" })
  await request(url, "POST", "/trust/reports", {
    agent_id: to,
    capability,
    task_id: id,
    success: ok,
    quality: ok ? quality : 0,
    latency_ms: workMs + 2
  })
}

/** So many tasks between agents, some of whom are asked far more than others, and some of whom fail more. */
export const tasks = async (
  url: string,
  all: ReadonlyArray<SeededAgent>,
  count: number,
  random: () => number,
  options: { readonly workMs?: number } = {}
): Promise<void> => {
  const works = Array.from({ length: count }, (_, i) => {
    const to = all[Math.floor(random() ** 2 * all.length)]!
    const near = Math.floor(all.indexOf(to) + 1 + random() ** 2 * (all.length - 1)) % all.length
    const from = all[near] === to ? all[(near + 1) % all.length]! : all[near]!
    const weak = all.indexOf(to) % 7 === 3
    return {
      from: from.id,
      to: to.id,
      id: `task-${(i + 0x1000).toString(16)}${Math.floor(random() * 2 ** 32).toString(16)}`,
      capability: to.capability,
      ok: random() > (weak ? 0.55 : 0.06),
      workMs: Math.floor(random() ** 3 * (options.workMs ?? 0)),
      quality: 0.7 + random() * 0.3
    }
  })
  for (let i = 0; i < works.length; i += 24) await Promise.all(works.slice(i, i + 24).map((work) => task(url, work)))
}

/** A verdict of several agents with its certificate; `dissenters` of them say something else. */
export const certificate = (
  question: Json,
  options: {
    readonly agree: Json
    readonly differ: Json
    readonly agents: number
    readonly dissenters: number
    readonly seed: number
    readonly aggregation?: string
  }
) => {
  const random = seeded(options.seed)
  const identity = () => Identity.fromSeed(Uint8Array.from({ length: 32 }, () => Math.floor(random() * 256)))
  const asker = identity()
  const executors = Array.from({ length: options.agents }, identity)
  const aggregation = Effect.runSync(strategies.aggregation(options.aggregation ?? "majority-vote"))
  const taskId = Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join("")
  const invited: ReadonlyArray<Invited> = executors.map(({ nodeId }) => ({
    node: nodeId,
    trust: Math.round(50 + random() * 45) / 100,
    score: 0.8
  }))
  const startedAt = Date.now() - 2_000
  const answers: ReadonlyArray<Answer> = executors.map((executor, i) => {
    const value = i < options.dissenters ? options.differ : options.agree
    const latencyMs = 20 + Math.floor(random() * 300)
    const receipt = Receipt.make(executor, {
      task: taskId,
      capability: "text.sentiment@2.0.0",
      caller: asker.nodeId,
      inputHash: CanonicalJson.hash(question),
      outputHash: CanonicalJson.hash(value),
      startedAt,
      finishedAt: startedAt + latencyMs
    })
    return { node: executor.nodeId, capability: "text.sentiment@2.0.0", value, latencyMs, receipt }
  })
  const tally = aggregation.tally(invited)
  for (const answer of answers) tally.answer(answer)
  const outcome = tally.outcome()
  const made = Certificate.make(asker, {
    ...outcome,
    selection: `top-${options.agents}`,
    aggregation: aggregation.name,
    capability: "text.sentiment@^2",
    task: taskId,
    input: question,
    invited,
    answers,
    outcome
  })
  if (made instanceof Certificate.CertificateError) throw made
  return { certificate: made, task: taskId, nodes: executors.map(({ nodeId }) => nodeId) }
}

/** Publishes a verdict, and gives its task. */
export const verdict = async (url: string, question: Json, options: Parameters<typeof certificate>[1]) => {
  const made = certificate(question, options)
  await request(url, "POST", "/verdicts", { certificate: made.certificate, question })
  return made
}

export const memory = async (url: string): Promise<void> => {
  const put = (session: string, key: string, value: Json) => request(url, "PUT", `/memory/${session}/${key}`, { value })
  await put("report-2026-11", "plan", { steps: ["load", "clean", "describe"], owner: "ada" })
  await put("report-2026-11", "rows", 48_812)
  await put("report-2026-11", "note", "The third column has two units in it")
  await put("translation-7", "language", "de")
}

/** Keeps agents online as AgentMesh's SDK does, and at work with so many tasks each; gives how to stop. */
export const heartbeats = async (
  url: string,
  all: ReadonlyArray<{ readonly id: string; readonly load: number }>
): Promise<() => void> => {
  const sockets = await Promise.all(
    all.map(
      ({ id, load }) =>
        new Promise<WebSocket>((resolve, reject) => {
          const socket = new WebSocket(`${url.replace("http", "ws")}/ws/heartbeat/${encodeURIComponent(id)}`)
          socket.addEventListener("error", () => reject(new Error(`no heartbeat socket for ${id}`)))
          socket.addEventListener("open", () => {
            socket.send(JSON.stringify({ type: "heartbeat" }))
            for (let i = 0; i < load; i++) socket.send(JSON.stringify({ type: "task_start", task_id: `${id}-${i}` }))
            resolve(socket)
          })
        })
    )
  )
  const timer = setInterval(() => {
    for (const socket of sockets) if (socket.readyState === 1) socket.send(JSON.stringify({ type: "heartbeat" }))
  }, 8_000)
  return () => {
    clearInterval(timer)
    for (const socket of sockets) socket.close()
  }
}
