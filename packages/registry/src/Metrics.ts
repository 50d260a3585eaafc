/**
 * Metrics: what Prometheus scrapes at `/metrics`: gauges of what there is, counters of what was done.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import { EventStream } from "./EventStream.ts"
import { Ledger } from "./Ledger.ts"
import { Presence } from "./Presence.ts"
import { Sockets } from "./Sockets.ts"
import { World } from "./World.ts"

/** Requests that were answered, by method and status class. */
export class Answered extends Context.Service<Answered, { readonly count: (method: string, status: number) => void }>()(
  "@parley/registry/Metrics/Answered"
) {}

/** Methods that are told apart; all others are one, since a stranger chooses them. */
const methods = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])

/** Counts requests, and shows everything at `/metrics`. */
export const layer: Layer.Layer<
  Answered,
  never,
  HttpRouter.HttpRouter | EventStream | Ledger | Presence | Sockets | World
> = Layer.effect(
  Answered,
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const events = yield* EventStream
    const ledger = yield* Ledger
    const presence = yield* Presence
    const router = yield* HttpRouter.HttpRouter
    const sockets = yield* Sockets
    const world = yield* World
    const startedAt = clock.currentTimeMillisUnsafe()
    const requests = new Map<string, number>()

    const gauge = (name: string, description: string, read: () => number) => {
      const metric = Metric.gauge(name, { description })
      return Effect.suspend(() => Metric.update(metric, read()))
    }
    /** A counter that is read from a count: what was added since it was read last. */
    const counter = (
      name: string,
      description: string,
      read: () => number,
      tags: { readonly [tag: string]: string } = {}
    ) => {
      const metric = Metric.withAttributes(Metric.counter(name, { description, incremental: true }), tags)
      let last = 0
      return Effect.suspend(() => {
        const now = read()
        const more = now - last
        last = now
        return Metric.update(metric, more)
      })
    }
    const figures = [
      gauge("parley_registry_agents", "Agents registered", () => world.size),
      gauge("parley_registry_agents_online", "Agents with a lease", () => presence.online()),
      gauge("parley_registry_circuits_open", "Circuits that are not closed", () => world.circuits.open),
      gauge("parley_registry_log_cursor", "The last event taken in", () => world.cursor),
      gauge("parley_registry_evidence_links", "Links of the evidence chain", () => world.link.seq),
      gauge("parley_registry_commands_waiting", "Commands that wait to be written", () => ledger.counts().waiting),
      gauge("parley_registry_sockets", "Sockets and event streams open", () => sockets.open()),
      gauge("parley_registry_events_ring", "Events held for subscribers", () => events.counts().ring),
      gauge("parley_registry_ready", "1 while the store takes commits", () => (ledger.isReady() ? 1 : 0)),
      gauge("parley_registry_uptime_seconds", "Seconds since the start", () =>
        Math.round((clock.currentTimeMillisUnsafe() - startedAt) / 1_000)
      ),
      counter("parley_registry_commits_total", "Commits", () => ledger.counts().commits),
      counter("parley_registry_facts_total", "Facts committed by this instance", () => ledger.counts().facts),
      gauge("parley_registry_tasks_completed", "Tasks reported as done", () => world.completed),
      gauge("parley_registry_tasks_failed", "Tasks reported as failed", () => world.failed)
    ]
    const perKey = new Map<string, Effect.Effect<void>>()
    const answered = Effect.suspend(() => {
      for (const key of requests.keys()) {
        if (perKey.has(key)) continue
        const [method = "", status = ""] = key.split(" ")
        perKey.set(
          key,
          counter("parley_registry_requests_total", "Requests answered", () => requests.get(key)!, { method, status })
        )
      }
      return Effect.all([...perKey.values()], { discard: true })
    })

    yield* router.add(
      "GET",
      "/metrics",
      Effect.gen(function* () {
        yield* Effect.all(figures, { discard: true })
        yield* answered
        const text = yield* PrometheusMetrics.format()
        return HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      })
    )
    return Answered.of({
      count: (method, status) => {
        const key = `${methods.has(method) ? method : "other"} ${Math.floor(status / 100)}xx`
        requests.set(key, (requests.get(key) ?? 0) + 1)
      }
    })
  })
)
