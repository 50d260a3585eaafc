/** A registry's live side on loopback, over a real SQLite file: sockets and event streams, and what a test needs to drive them. */
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { WebSocket } from "@effect/platform-node/NodeWS"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Admission from "@parley/registry/Admission"
import * as Authentication from "@parley/registry/Authentication"
import * as DashboardSocket from "@parley/registry/DashboardSocket"
import type { Event, Fact } from "@parley/registry/Event"
import * as EventStream from "@parley/registry/EventStream"
import * as EventsSocket from "@parley/registry/EventsSocket"
import * as EventsSse from "@parley/registry/EventsSse"
import * as HeartbeatSocket from "@parley/registry/HeartbeatSocket"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import { Presence } from "@parley/registry/Presence"
import { Auth } from "@parley/registry/Principal"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import { Unavailable } from "@parley/registry/Problem"
import { Registrar } from "@parley/registry/Registrar"
import * as Sockets from "@parley/registry/Sockets"
import { type Bytes, Store } from "@parley/registry/Store"
import * as StoreSqlite from "@parley/registry/StoreSqlite"

export interface Options {
  /** Agents that are registered. */
  readonly agents?: ReadonlyArray<string>
  readonly sockets?: Sockets.Options
  readonly ringEvents?: number
  /** Ask for AgentMesh's secret, and give the operator this token. */
  readonly secret?: string
  readonly operatorToken?: string
  /** Bytes that the store keeps. */
  readonly budget?: Partial<Bytes>
}

export interface Live {
  readonly port: number
  readonly url: string
  readonly agents: Set<string>
  readonly presence: Presence["Service"]
  readonly events: EventStream.EventStream["Service"]
  readonly store: Store["Service"]
  readonly sockets: Sockets.Sockets["Service"]
  readonly admission: Admission.Admission["Service"]
  readonly auth: Auth["Service"]
  /** Commits facts and tells them. */
  readonly commit: (facts: ReadonlyArray<Fact>) => Promise<ReadonlyArray<Event>>
  readonly close: () => Promise<void>
}

export const trace = (n: number, from = "a", payload: { readonly [key: string]: string } = {}): Fact => ({
  type: "trace",
  trace: {
    trace_id: `trace-${n}`,
    task_id: `task-${n}`,
    event_type: "completed",
    from_agent: from,
    to_agent: "b",
    payload,
    timestamp: "2026-11-21T06:00:00.000Z"
  }
})

/** Serves; `close` ends everything. */
export const live = async (options: Options = {}): Promise<Live> => {
  const directory = mkdtempSync(join(tmpdir(), "parley-live-"))
  const scope = Scope.makeUnsafe()
  const agents = new Set(options.agents ?? ["a"])
  const server = createServer()
  const ledger = Layer.effect(
    Registrar,
    Effect.gen(function* () {
      const store = yield* Store
      const events = yield* EventStream.EventStream
      const write = (fact: Fact) =>
        store
          .append([], (missed) => {
            events.publish(missed)
            return { facts: [fact], claims: [] }
          })
          .pipe(
            Effect.map((committed) => events.publish(committed)),
            Effect.mapError((error) => new Unavailable({ detail: error.message }))
          )
      let count = 0
      return Registrar.of({
        knows: (agent) => agents.has(agent),
        trace: (trace) => {
          const trace_id = trace.trace_id ?? `made-${++count}`
          return Effect.as(
            write({ type: "trace", trace: { ...trace, trace_id, timestamp: new Date().toISOString() } }),
            trace_id
          )
        },
        taskStarted: (id, task) => write({ type: "task.started", id, task }),
        taskEnded: (id, task, elapsedMs) =>
          write({ type: "task.ended", id, task, ...(elapsedMs === undefined ? {} : { elapsedMs }) })
      })
    })
  )
  const parts = Layer.mergeAll(
    Authentication.layer({
      open: options.secret === undefined && options.operatorToken === undefined,
      audiences: () => ["http://127.0.0.1"],
      hasAgent: (agent) => agents.has(agent),
      ...(options.secret === undefined ? {} : { agentSecret: Redacted.make(options.secret) }),
      ...(options.operatorToken === undefined ? {} : { operatorToken: Redacted.make(options.operatorToken) })
    }),
    ledger,
    PresenceMemory.layer,
    Layer.effect(Sockets.Sockets, Sockets.make(options.sockets))
  ).pipe(
    Layer.provideMerge(
      Layer.effect(
        EventStream.EventStream,
        EventStream.make(options.ringEvents === undefined ? {} : { ringEvents: options.ringEvents })
      )
    ),
    Layer.provideMerge(Layer.mergeAll(Admission.layer, LimitsMemory.layer)),
    Layer.provideMerge(StoreSqlite.layer(join(directory, "registry.db"), { budget: options.budget ?? {} }))
  )
  const routes = Layer.mergeAll(EventsSocket.layer, DashboardSocket.layer, HeartbeatSocket.layer, EventsSse.layer)
  const context = await Effect.runPromise(
    Layer.buildWithScope(
      HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(parts),
        Layer.provide(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: 0 }))
      ),
      scope
    )
  )
  const store = Context.get(context, Store)
  const events = Context.get(context, EventStream.EventStream)
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  return {
    port,
    url: `127.0.0.1:${port}`,
    agents,
    presence: Context.get(context, Presence),
    events,
    store,
    sockets: Context.get(context, Sockets.Sockets),
    admission: Context.get(context, Admission.Admission),
    auth: Context.get(context, Auth),
    commit: async (facts) => {
      const committed = await Effect.runPromise(
        store.append([], (missed) => {
          events.publish(missed)
          return { facts, claims: [] }
        })
      )
      events.publish(committed)
      return committed
    },
    close: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      server.closeAllConnections()
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

/** Fails with what was waited for when it does not come. */
export const within = <A>(what: string, promise: Promise<A>, ms = 15_000): Promise<A> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${ms} ms in vain for ${what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Resolves when a condition holds, looked at every few milliseconds. */
export const until = (what: string, holds: () => boolean, ms = 15_000): Promise<void> =>
  new Promise((resolve, reject) => {
    const end = performance.now() + ms
    const look = (): void => {
      if (holds()) return resolve()
      if (performance.now() > end) return reject(new Error(`Waited ${ms} ms in vain until ${what}`))
      setTimeout(look, 5)
    }
    look()
  })

/** A client: what it got, and how it ended. */
export interface Client {
  readonly ws: WebSocket
  readonly got: Array<string>
  readonly send: (frame: unknown) => void
  /** The next frame that was not taken yet. */
  readonly next: () => Promise<string>
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  readonly close: () => void
}

/** Opens a socket; rejects with the HTTP status where the server refuses. */
export const open = (
  url: string,
  headers: { readonly [name: string]: string } = {},
  protocol = "ws"
): Promise<Client> =>
  new Promise((resolve, reject) => {
    const ws = new WebSocket(`${protocol}://${url}`, { headers })
    const got: Array<string> = []
    let taken = 0
    let wake: (() => void) | undefined
    const closed = new Promise<{ readonly code: number; readonly reason: string }>((done) => {
      ws.on("close", (code, reason) => {
        done({ code, reason: reason.toString() })
        wake?.()
      })
    })
    ws.on("message", (data) => {
      got.push(String(data))
      wake?.()
    })
    ws.on("error", (error) => reject(error))
    ws.on("unexpected-response", (_, response) => {
      reject(new Error(`HTTP ${response.statusCode}`))
      response.destroy()
    })
    const next = (): Promise<string> =>
      within(
        `a frame after ${JSON.stringify(got.slice(-2))}`,
        new Promise((give, fail) => {
          const look = (): void => {
            if (taken < got.length) {
              wake = undefined
              return give(got[taken++]!)
            }
            if (ws.readyState === 3) return fail(new Error("The socket is closed"))
            wake = look
          }
          look()
        })
      )
    ws.on("open", () =>
      resolve({
        ws,
        got,
        send: (frame) => ws.send(typeof frame === "string" ? frame : JSON.stringify(frame)),
        next,
        get closed() {
          return within("the socket to close", closed)
        },
        close: () => ws.close()
      })
    )
  })
