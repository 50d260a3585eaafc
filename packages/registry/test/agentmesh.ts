/**
 * A registry for tests of AgentMesh's contract, and a client that adds nothing of its own.
 *
 * `PARLEY_AGENTMESH_REGISTRY` runs the contract's rows against a registry that is there already, such as AgentMesh's own: where ours
 * answers otherwise on purpose, a row says both.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import * as Server from "@parley/registry/Server"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import { dial } from "../src/internal/WebSocketHandshake.ts"
import type { WebSocketLink } from "../src/internal/WebSocketLink.ts"

/** AgentMesh's own registry, where the tests run against that. */
export const theirs: string | undefined = process.env["PARLEY_AGENTMESH_REGISTRY"]

/** A registry of ours on a free port, without a file. */
export const serving = (options: Server.Options = {}): Effect.Effect<Server.Running, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const stores = yield* Layer.build(
      Layer.mergeAll(
        Layer.fresh(StoreSqlite.layer(":memory:")),
        Layer.fresh(PresenceMemory.layer),
        Layer.fresh(LimitsMemory.layer)
      )
    )
    return yield* Effect.provideContext(Server.make({ port: 0, ...options }), stores)
  })

/** What came back. */
export interface Answer {
  readonly status: number
  readonly body: unknown
  readonly type: string
}

/** A registry, as a client sees it. */
export const client = (url: string, token?: string) => {
  const send = (method: string, path: string, body?: unknown): Effect.Effect<Answer> =>
    Effect.promise(async () => {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` })
        },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
      })
      const text = await response.text()
      let parsed: unknown = text
      try {
        parsed = JSON.parse(text)
      } catch {
        // It is shown as it came.
      }
      return { status: response.status, body: parsed, type: response.headers.get("content-type") ?? "" }
    })
  return {
    get: (path: string) => send("GET", path),
    post: (path: string, body?: unknown) => send("POST", path, body),
    put: (path: string, body?: unknown) => send("PUT", path, body),
    del: (path: string) => send("DELETE", path),
    /** A socket that gives frame after frame. */
    socket: (path: string) =>
      Effect.acquireRelease(
        Effect.tryPromise({
          try: async () => {
            const { hostname, port } = new URL(url)
            const target = {
              host: hostname,
              port: Number(port),
              secure: false,
              path,
              addresses: [hostname === "localhost" ? "127.0.0.1" : hostname],
              headers: token === undefined ? {} : { authorization: `Bearer ${token}` }
            }
            return talk(await dial(target, 1_048_576, AbortSignal.timeout(20_000)))
          },
          catch: (fault) => fault as { readonly status?: number }
        }),
        ({ link }) => Effect.sync(() => link.destroy())
      )
  }
}
/** A registry, as a client sees it. */
export type Client = ReturnType<typeof client>

const talk = (link: WebSocketLink) => {
  const frames: Array<string> = []
  const waiting: Array<(frame: string) => void> = []
  const closed = Promise.withResolvers<number>()
  link.listen({
    onMessage: (frame) => {
      const wake = waiting.shift()
      if (wake === undefined) frames.push(frame)
      else wake(frame)
    },
    onClosed: (code) => closed.resolve(code)
  })
  const next = (): Promise<string> => {
    const frame = frames.shift()
    return frame === undefined ? new Promise((wake) => waiting.push(wake)) : Promise.resolve(frame)
  }
  return {
    link,
    send: (message: unknown) => link.send(typeof message === "string" ? message : JSON.stringify(message)),
    next: Effect.map(Effect.promise(next), (frame) => JSON.parse(frame) as unknown),
    closed: Effect.promise(() => closed.promise)
  }
}

/** Looks again until it is so: for what a registry does after it has answered somebody else. */
export const until = <A>(look: Effect.Effect<A>, holds: (value: A) => boolean, what: string): Effect.Effect<A> =>
  Effect.gen(function* () {
    let last: A | undefined
    for (const began = performance.now(); performance.now() - began < 15_000;) {
      last = yield* look
      if (holds(last)) return last
      yield* Effect.sleep("20 millis")
    }
    return yield* Effect.die(new Error(`${what} did not come; last: ${JSON.stringify(last)}`))
  })

/** An answer's body. */
export interface Row {
  readonly [key: string]: unknown
}

/** What AgentMesh answers, and what ours does. */
export const unlike = <A>(agentMesh: A, ours: A): A => (theirs === undefined ? ours : agentMesh)

/** Times as AgentMesh writes them. */
export const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$/

const run8 = Math.random().toString(16).slice(2, 10)
let last = 0
/** An id that nobody has. */
export const freshId = (): string => `agent-${run8}-${(last += 1)}`

/** A capability's description. */
export const described = (name: string, more: object = {}) => ({ name, description: `Does ${name}`, ...more })

/** A manifest of somebody new. */
export const manifest = (more: object = {}) => ({
  agent_id: freshId(),
  name: "Ada",
  endpoint: "ws://localhost:9000",
  capabilities: [described("add_numbers")],
  ...more
})

/** A registry for the rows of one file, ours or theirs, and what they often do with it. */
export const contract = () => {
  const scope = Scope.makeUnsafe()
  let url = theirs ?? ""
  const api = () => client(url)
  const registered = (more: object = {}) =>
    Effect.gen(function* () {
      const made = manifest(more)
      const { body, status } = yield* api().post("/agents/register", made)
      if (status !== 200) return yield* Effect.die(new Error(`${made.agent_id} was not registered: ${status}`))
      return { id: made.agent_id, made, record: body as Row }
    })
  /** Registered, and there: a heartbeat runs. */
  const present = (more: object = {}) =>
    Effect.gen(function* () {
      const agent = yield* registered(more)
      const heartbeat = yield* api().socket(`/ws/heartbeat/${agent.id}`)
      heartbeat.send({ type: "heartbeat" })
      yield* heartbeat.next
      return { ...agent, heartbeat }
    })
  return {
    open: async (): Promise<void> => {
      if (theirs === undefined) url = (await Effect.runPromise(Scope.provide(serving(), scope))).url
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
    run: <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
      Effect.runPromise(Effect.scoped(effect).pipe(Effect.timeout("25 seconds"))),
    get api() {
      return api()
    },
    registered,
    present,
    record: (id: string) => Effect.map(api().get(`/agents/${id}`), ({ body }) => body as Row)
  }
}
