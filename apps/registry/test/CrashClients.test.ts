/**
 * A registry that is killed (SIGKILL) again and again under its own clients: nodes that are registered by `RegistryDiscovery`, report
 * by `Client` and `Reporter`, and one that follows the events. Nobody stops for it. What was acknowledged is there once, the nodes
 * are back within 5 s with trust and history, and who follows misses nothing. `PARLEY_CRASH_ROUNDS` says how often; 2 times where absent.
 */
import { expect, test } from "bun:test"
import type { ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Connections from "@parley/core/Connections"
import { Discovery } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import { fromSeed } from "@parley/core/testing/Seeded"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Client from "@parley/registry/Client"
import * as RegistryDiscovery from "@parley/registry/RegistryDiscovery"
import * as Reporter from "@parley/registry/Reporter"
import { freePort } from "../../../test-support/Throwaway.ts"
import * as Process from "./Process.ts"

const ROUNDS = Number(process.env["PARLEY_CRASH_ROUNDS"] ?? 2)
const seed = Number(process.env["PARLEY_SEED"] ?? Date.now() % 1_000_000)
const NODES = 8
const BACK_MS = 5_000
const SETTLE_MS = 20_000
/** Pause of a client between two reports, in milliseconds: so that a hundred rounds stay below the cap of reports on one agent. */
const PAUSE_MS = 5
/** Pause of a client whose registry is away, in milliseconds. */
const AWAY_MS = 50
const PAGE = 1_000

/** Looks until something holds; fails with what it waited for. */
const until = Effect.fnUntraced(function* (what: string, ms: number, holds: Effect.Effect<boolean>) {
  const end = performance.now() + ms
  while (!(yield* holds)) {
    if (performance.now() > end)
      return yield* Effect.die(new Error(`waited ${ms} ms in vain until ${what} (seed ${seed})`))
    yield* Effect.sleep(5)
  }
})

/** A node of the mesh with everything that it uses a registry for. */
const nodeOf = Effect.fnUntraced(function* (at: string, hub: TransportMemory.Hub) {
  const now = yield* Clock.currentTimeMillis
  const identity = Identity.generate()
  const { nodeId } = identity
  const connections = yield* Connections.make(TransportMemory.make(nodeId, hub), nodeId)
  const addresses = connections.addresses()
  const capabilities = [{ name: "test.ability", version: "1.0.0" }]
  const record = AgentRecord.make(identity, { name: "node", seq: 1, issuedAt: now, addresses, capabilities })
  const context = yield* Layer.build(
    Layer.mergeAll(RegistryDiscovery.layerNoDeps(), Reporter.layer).pipe(
      Layer.provideMerge(Client.layer({ at })),
      Layer.provide(Layer.succeed(Identity.Identity, identity))
    )
  )
  const { join: enter } = Context.get(context, Discovery)
  const host = { nodeId, record: () => record, addresses: () => addresses, connections, isPrivate: false }
  const membership = yield* enter(host)
  yield* membership.advertise
  return { nodeId, client: Context.get(context, Client.Client), reporter: Context.get(context, Reporter.Reporter) }
})

/** Follows the events from the first one on, and goes on after the last one when the connection is lost. */
const follow = Effect.fnUntraced(function* (client: Client.Client["Service"]) {
  const told: Array<Client.PublicEvent> = []
  yield* Effect.suspend(() =>
    client
      .events({ cursor: told.at(-1)?.cursor ?? 0 })
      .pipe(Stream.runForEach((event) => Effect.sync(() => void told.push(event))))
  ).pipe(
    Effect.catch(() => Effect.sleep(AWAY_MS)),
    Effect.forever,
    Effect.forkScoped
  )
  return told
})

const crash = Effect.fnUntraced(function* (file: string, port: number) {
  const at = `http://127.0.0.1:${port}`
  const random = fromSeed(seed)
  const registry: { child: ChildProcess } = {
    child: yield* Effect.promise(() => Process.start(file, port, `seed ${seed}`))
  }
  yield* Effect.addFinalizer(() => Effect.promise(() => Process.kill(registry.child)))
  const hub = TransportMemory.makeHub()
  const nodes = yield* Effect.forEach(Array.from({ length: NODES }), () => nodeOf(at, hub))
  const { client } = nodes[0]!
  const told = yield* follow(client)

  /** Tasks whose report was answered with 200, by agent; tasks given to a reporter; traces that were answered with 201. */
  const acknowledged = new Map<string, Set<string>>(nodes.map(({ nodeId }) => [nodeId, new Set()]))
  const count = () => [...acknowledged.values()].reduce((sum, { size }) => sum + size, 0)
  const handed = new Set<string>()
  const traces = new Set<string>()
  let tasks = 0
  const state = { isOn: true }
  const load = Effect.fnUntraced(function* (me: number) {
    const { client, nodeId, reporter } = nodes[me]!
    while (state.isOn) {
      const other = nodes[(me + 1 + random.int(NODES - 1)) % NODES]!
      const report = (task_id: string) => ({
        ...{ agent_id: other.nodeId, capability: "test.ability", task_id, success: true, quality: 0.9, latency_ms: 5 }
      })
      const n = ++tasks
      const task = `task-${n}`
      const isReported = yield* client
        .use("report", (api) => api.trust.report({ payload: report(task) }))
        .pipe(Effect.match({ onFailure: () => false, onSuccess: () => true }))
      if (!isReported) {
        yield* Effect.sleep(AWAY_MS)
        continue
      }
      acknowledged.get(other.nodeId)!.add(task)
      const later = `later-${n}`
      handed.add(later)
      reporter.report(report(later))
      const trace = { task_id: task, event_type: "completed" as const, from_agent: nodeId, to_agent: other.nodeId }
      yield* client
        .use("trace", (api) => api.traces.add({ payload: { ...trace, payload: {} } }))
        .pipe(
          Effect.map(({ trace_id }) => traces.add(trace_id)),
          Effect.ignore
        )
      yield* Effect.sleep(PAUSE_MS)
    }
  })
  const running = yield* Effect.forEach(nodes, (_, me) => Effect.forkScoped(load(me)))

  const isBack = client
    .use("health", (api) => api.service.health())
    .pipe(
      Effect.map(({ parts }) => parts["online"] === NODES),
      Effect.orElseSucceed(() => false)
    )
  let slowest = 0
  for (let round = 0; round < ROUNDS; round++) {
    const enough = count() + 50 + random.int(150)
    yield* until(
      "enough was acknowledged",
      SETTLE_MS,
      Effect.sync(() => count() >= enough)
    )
    yield* Effect.promise(() => Process.kill(registry.child))
    const known = new Map([...acknowledged].map(([id, of]) => [id, of.size]))
    const startedAt = performance.now()
    registry.child = yield* Effect.promise(() => Process.start(file, port, `seed ${seed}, round ${round}`))
    yield* until("all nodes are back", SETTLE_MS, isBack)
    const backMs = performance.now() - startedAt
    slowest = Math.max(slowest, backMs)
    expect([seed, round, backMs <= BACK_MS, backMs > BACK_MS ? backMs : 0]).toEqual([seed, round, true, 0])
    const { records } = yield* client.use("search", (api) => api.nodes.search({ payload: { name: "test.ability" } }))
    expect(records.length).toBe(NODES)
    for (const { nodeId } of nodes) {
      const agent = yield* client.use("get", (api) => api.agents.get({ params: { id: nodeId } }))
      const past = yield* client.use("history", (api) =>
        api.agents.trustHistory({ params: { id: nodeId }, query: { limit: 1 } })
      )
      const facts = [
        agent.status,
        agent.tasks_completed >= known.get(nodeId)!,
        agent.trust_score > 0.5,
        past.history.length
      ]
      expect([seed, round, ...facts]).toEqual([seed, round, "healthy", true, true, 1])
    }
  }
  state.isOn = false
  yield* Fiber.awaitAll(running)
  for (const { reporter } of nodes) {
    const told = Effect.gen(function* () {
      const began = performance.now()
      yield* reporter.flush
      const { away, waiting } = reporter.status()
      return !away && waiting.reports === 0 && performance.now() - began < Reporter.FLUSH_MS
    })
    yield* until("all that was given to a reporter is told", SETTLE_MS, told)
  }

  const times = new Map<string, number>()
  for (let from = 1; ;) {
    const links = yield* client.use("chain", (api) => api.chain.links({ query: { from, limit: PAGE } }))
    expect([seed, links.map(({ seq }) => seq)]).toEqual([seed, links.map((_, n) => from + n)])
    for (const { report } of links) {
      const { task } = report as { readonly task: string }
      times.set(task, (times.get(task) ?? 0) + 1)
    }
    from += links.length
    if (links.length < PAGE) break
  }
  const { parts } = yield* client.use("health", (api) => api.service.health())
  yield* until(
    "all was told",
    SETTLE_MS,
    Effect.sync(() => told.at(-1)?.cursor === parts["cursor"])
  )
  const tracesTold = new Set(told.map(({ data }) => (data as { readonly trace_id?: string }).trace_id))
  const due = [...[...acknowledged.values()].flatMap((of) => [...of]), ...handed]
  return {
    rounds: ROUNDS,
    acknowledged: due.length + traces.size,
    lost: due.filter((task) => !times.has(task)).length + [...traces].filter((id) => !tracesTold.has(id)).length,
    twice: [...times.values()].filter((each) => each > 1).length,
    gaps: told.filter(({ cursor, type }, n) => type === "gap" || cursor !== n + 1).length,
    events: told.length,
    slowestMs: Math.round(slowest)
  }
})

test(
  `nodes, reporters and listeners outlive a registry that is killed (${ROUNDS} rounds)`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "parley-crash-"))
    try {
      const port = await freePort()
      const result = await crash(join(folder, "registry.db"), port).pipe(
        Effect.scoped,
        Effect.provideService(References.MinimumLogLevel, "None"),
        Effect.runPromise
      )
      // What a long run came to is worth reading.
      if (ROUNDS > 2) process.stdout.write(`${JSON.stringify({ seed, ...result })}\n`)
      expect([seed, result.lost, result.twice, result.gaps]).toEqual([seed, 0, 0, 0])
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
  60_000 + ROUNDS * 10_000
)
