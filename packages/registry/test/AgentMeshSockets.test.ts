/** Verifies: task sockets, ours and the caller of others', hold AgentMesh's protocol and their bounds. */
import { describe, expect, test } from "bun:test"
import { createServer, type AddressInfo } from "node:net"
import { connect } from "node:net"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Caller from "@parley/registry/AgentMeshCaller"
import * as Endpoint from "@parley/registry/AgentMeshEndpoint"
import type { AgentMeshError } from "@parley/registry/AgentMeshError"
import * as Listener from "@parley/registry/AgentMeshListener"
import { decodeRequest, MAX_FRAME_BYTES, type TaskRequest } from "@parley/registry/AgentMeshWire"
import { answer, dial } from "../src/internal/WebSocketHandshake.ts"
import type { WebSocketLink } from "../src/internal/WebSocketLink.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(effect).pipe(Effect.timeout("25 seconds")))

const completed = (output: { readonly [key: string]: string | number }): Listener.Outcome => ({
  _tag: "Completed",
  output
})

/** A client that waits for each frame. */
const guest = (port: number, headers: { readonly [name: string]: string } = {}) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const link = await dial(
        { host: "127.0.0.1", port, secure: false, path: "/", addresses: ["127.0.0.1"], headers },
        8 * MAX_FRAME_BYTES,
        AbortSignal.timeout(20_000)
      )
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
        closed: Effect.promise(() => closed.promise),
        next: Effect.map(Effect.promise(next), (frame) => JSON.parse(frame) as never as Frame)
      }
    }),
    ({ link }) => Effect.sync(() => link.destroy())
  )
interface Frame {
  readonly result?: {
    readonly status: string
    readonly task_id: string
    readonly counter_proposal: unknown
    readonly reason: unknown
  }
  readonly params?: {
    readonly status: string
    readonly task_id: string
    readonly output: unknown
    readonly error: unknown
  }
  readonly error?: { readonly code: number; readonly message: string }
}
const ask = (params: object): string =>
  JSON.stringify({ method: "task.request", params: { capability: "add", requester_id: "ada", ...params } })

/** Another agent's task socket, which does whatever the test says. */
const stranger = (onFrame: (frame: TaskRequest, link: WebSocketLink) => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      let connections = 0
      const links = new Set<WebSocketLink>()
      const server = createServer((socket) => {
        connections += 1
        void answer(socket, 8 * MAX_FRAME_BYTES, 5_000).then((link) => {
          if (link === undefined) return
          links.add(link)
          link.listen({
            onMessage: (text) => {
              const request = decodeRequest(text)
              if (!("_tag" in request)) onFrame(request, link)
            },
            onClosed: () => links.delete(link)
          })
        })
      })
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
      return { server, links, connections: () => connections, port: (server.address() as AddressInfo).port }
    }),
    ({ links, server }) =>
      Effect.sync(() => {
        for (const link of links) link.destroy()
        server.close()
      })
  )
const say = (link: WebSocketLink, request: TaskRequest, status: string, more: object = {}) =>
  link.send(JSON.stringify({ result: { task_id: request.task_id, responder_id: "bob", status, ...more } }))
const end = (link: WebSocketLink, request: TaskRequest, more: object = {}) =>
  link.send(
    JSON.stringify({
      method: "task.result",
      params: { task_id: request.task_id, executor_id: "bob", status: "completed", output: { n: 1 }, ...more }
    })
  )
const callerOf = Caller.make({ requester: "ada", resolve: Endpoint.resolver("loopback") })
const callee = (port: number, places = 3): Caller.Callee => ({ id: "bob", endpoint: `ws://localhost:${port}`, places })
const order = (more: Partial<Caller.Order> = {}): Caller.Order => ({
  capability: "add",
  input: { a: 1 },
  deadlineMs: 3_000,
  ...more
})
const codeOf = (effect: Effect.Effect<unknown, AgentMeshError>) => Effect.map(Effect.flip(effect), ({ code }) => code)

describe("the task socket", () => {
  test("accepts, runs and answers; what is no object is wrapped; a failure is one", () =>
    run(
      Effect.gen(function* () {
        const tasks: Array<string> = []
        const { port } = yield* Listener.make({
          agentId: "bob",
          onStart: (task) => tasks.push(`start ${task}`),
          onEnd: (task, elapsed) => tasks.push(`end ${task} ${typeof elapsed}`),
          run: (request, accept) =>
            Effect.sync((): Listener.Outcome => {
              accept({ _tag: "Accepted", estimateMs: 12.4 })
              return request.input_data["fail"] === true
                ? { _tag: "Failed", error: "no" }
                : { _tag: "Completed", output: request.input_data["out"] ?? {} }
            })
        })
        const { link, next } = yield* guest(port)
        link.send(ask({ task_id: "t1", input_data: { out: [1, 2] } }))
        expect(yield* next).toEqual({
          result: {
            task_id: "t1",
            responder_id: "bob",
            status: "accepted",
            estimated_latency_ms: 12,
            counter_proposal: null,
            reason: null
          }
        } as never)
        const { params } = yield* next
        expect(params).toMatchObject({ task_id: "t1", status: "completed", output: { result: [1, 2] }, error: null })
        link.send(ask({ task_id: "t2", input_data: { fail: true } }))
        yield* next
        expect((yield* next).params).toMatchObject({ task_id: "t2", status: "failed", output: {}, error: "no" })
        expect(tasks).toEqual(["start t1", "end t1 number", "start t2", "end t2 undefined"])
      })
    ))

  test("runs several tasks of one connection at once; one too many is countered with AgentMesh's words", () =>
    run(
      Effect.gen(function* () {
        const go = yield* Deferred.make<void>()
        const { port } = yield* Listener.make({
          agentId: "bob",
          tasks: 2,
          latencyMs: () => 700,
          run: (request, accept) =>
            Effect.suspend(() => {
              accept({ _tag: "Accepted", estimateMs: 5 })
              return Effect.as(Deferred.await(go), completed({ task: request.task_id }))
            })
        })
        const { link, next } = yield* guest(port)
        for (const task of ["t1", "t2", "t3"]) link.send(ask({ task_id: task, deadline_ms: 1_000 }))
        expect((yield* next).result).toMatchObject({ task_id: "t1", status: "accepted" })
        expect((yield* next).result).toMatchObject({ task_id: "t2", status: "accepted" })
        expect((yield* next).result).toMatchObject({
          task_id: "t3",
          status: "countered",
          counter_proposal: { deadline_ms: 1_700, reason: "queue_full", queue_depth: 2 }
        })
        yield* Deferred.succeed(go, undefined)
        const ended = [yield* next, yield* next].map(({ params }) => params?.task_id)
        expect(ended.sort()).toEqual(["t1", "t2"])
      })
    ))

  test("answers frames it cannot read, serves on, and closes on whoever sends nothing else", () =>
    run(
      Effect.gen(function* () {
        const { port } = yield* Listener.make({
          agentId: "bob",
          run: () => Effect.succeed({ _tag: "Rejected", reason: "Capability 'add' not available" })
        })
        const { closed, link, next } = yield* guest(port)
        link.send("{")
        expect((yield* next).error?.code).toBe(-32700)
        link.send(JSON.stringify({ method: "task.cancel" }))
        expect((yield* next).error?.code).toBe(-32601)
        link.send(ask({ priority: 9 }))
        expect((yield* next).error?.code).toBe(-32602)
        link.send(ask({ task_id: "t1" }))
        expect((yield* next).result).toMatchObject({ status: "rejected", reason: "Capability 'add' not available" })
        for (let at = 3; at < Listener.MAX_MALFORMED; at++) link.send("[]")
        expect(yield* closed).toBe(1008)
      })
    ))

  test("closes on a frame beyond the bound, and others are served on", () =>
    run(
      Effect.gen(function* () {
        const { port } = yield* Listener.make({ agentId: "bob", run: () => Effect.succeed(completed({ n: 1 })) })
        const large = yield* guest(port)
        const other = yield* guest(port)
        large.link.send(ask({ context: "x".repeat(MAX_FRAME_BYTES) }))
        expect(yield* large.closed).toBe(1009)
        other.link.send(ask({ task_id: "t1" }))
        expect((yield* other.next).result?.status).toBe("accepted")
      })
    ))

  test("an output that no frame holds is a failure that says so", () =>
    run(
      Effect.gen(function* () {
        const { port } = yield* Listener.make({
          agentId: "bob",
          run: () => Effect.succeed(completed({ text: "x".repeat(MAX_FRAME_BYTES) }))
        })
        const { link, next } = yield* guest(port)
        link.send(ask({}))
        yield* next
        const { params } = yield* next
        expect(params?.status).toBe("failed")
        expect(String(params?.error)).toContain(`${MAX_FRAME_BYTES} bytes`)
      })
    ))

  test("stops the tasks of whoever goes, and lets running ones end when it closes", () =>
    run(
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const stopped = yield* Deferred.make<void>()
        const { port, running } = yield* Listener.make({
          agentId: "bob",
          run: () =>
            Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
              Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
            )
        })
        const { link } = yield* guest(port)
        link.send(ask({}))
        yield* Deferred.await(begun)
        expect(running()).toBe(1)
        link.destroy()
        yield* Deferred.await(stopped)
      })
    ))

  test("turns away pages in a browser, and whoever speaks no WebSocket", () =>
    run(
      Effect.gen(function* () {
        const { port } = yield* Listener.make({ agentId: "bob", run: () => Effect.succeed(completed({ n: 1 })) })
        const statusOf = (head: string) =>
          Effect.callback<string>((resume) => {
            const socket = connect(port, "127.0.0.1", () => socket.write(head))
            let seen = ""
            socket.on("data", (bytes) => (seen += bytes.toString("latin1")))
            socket.on("close", () => resume(Effect.succeed(seen.split("\r\n")[0] ?? "")))
          })
        const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        const get = "GET / HTTP/1.1\r\nHost: x\r\n"
        expect(yield* statusOf(`${get}\r\n`)).toBe("HTTP/1.1 426 Upgrade Required")
        expect(yield* statusOf(`${get}${upgrade}\r\n`)).toBe("HTTP/1.1 400 Bad Request")
        expect(yield* statusOf(`${get}${upgrade}${key}Origin: https://evil.example\r\n\r\n`)).toBe(
          "HTTP/1.1 403 Forbidden"
        )
        expect(yield* statusOf(`POST / HTTP/1.1\r\n${upgrade}${key}\r\n`)).toBe("HTTP/1.1 405 Method Not Allowed")
        expect(yield* statusOf("\u0016\u0003\u0001\r\n\r\n")).toBe("HTTP/1.1 400 Bad Request")
        expect(yield* statusOf(`${get}X: ${"y".repeat(20_000)}\r\n\r\n`)).toBe(
          "HTTP/1.1 431 Request Header Fields Too Large"
        )
      })
    ))
})

describe("the caller", () => {
  test("negotiates, gives the result, tells each step, and uses its connection again", () =>
    run(
      Effect.gen(function* () {
        const { connections, port } = yield* stranger((request, link) => {
          say(link, request, "accepted", { estimated_latency_ms: 5 })
          end(link, request, { output: request.input_data })
        })
        const caller = yield* callerOf
        const events: Array<string> = []
        const one = order({ onEvent: (event) => events.push(event) })
        expect((yield* caller.call(callee(port), one)).output).toEqual({ a: 1 })
        yield* caller.call(callee(port), one)
        expect(events).toEqual(["request_sent", "accepted", "completed", "request_sent", "accepted", "completed"])
        expect(connections()).toBe(1)
      })
    ))

  test("takes up a counter within 1.5 times the deadline, with a new task id, and no other", () =>
    run(
      Effect.gen(function* () {
        const seen: Array<TaskRequest> = []
        const { port } = yield* stranger((request, link) => {
          seen.push(request)
          if (seen.length === 1) {
            say(link, request, "countered", {
              counter_proposal: { deadline_ms: 1_500, reason: "queue_full", queue_depth: 3 }
            })
          } else if (seen.length === 2) {
            say(link, request, "accepted")
            end(link, request)
          } else say(link, request, "countered", { counter_proposal: { deadline_ms: 1_501 } })
        })
        const caller = yield* callerOf
        yield* caller.call(callee(port), order({ deadlineMs: 1_000 }))
        expect(seen.map(({ deadline_ms }) => deadline_ms)).toEqual([1_000, 1_500])
        expect(new Set(seen.map(({ task_id }) => task_id)).size).toBe(2)
        const error = yield* Effect.flip(caller.call(callee(port), order({ deadlineMs: 1_000 })))
        expect([error.code, error.deadlineMs]).toEqual(["Countered", 1_501])
        expect(seen.length).toBe(3)
      })
    ))

  test("an agent that counters without end is given up; without terms twice the deadline is meant", () =>
    run(
      Effect.gen(function* () {
        let asked = 0
        const { port } = yield* stranger((request, link) => {
          asked += 1
          say(link, request, "countered", {
            counter_proposal: request.context === "bare" ? null : { deadline_ms: 100 }
          })
        })
        const caller = yield* callerOf
        expect(yield* codeOf(caller.call(callee(port), order({ deadlineMs: 2_000 })))).toBe("Countered")
        expect(asked).toBe(1 + Caller.PAUSES_MS.length)
        const bare = yield* Effect.flip(caller.call(callee(port), order({ context: "bare" })))
        expect(bare.deadlineMs).toBe(6_000)
      })
    ))

  test("tells rejected, failed, late, malformed and closed apart", () =>
    run(
      Effect.gen(function* () {
        const { port } = yield* stranger((request, link) => {
          switch (request.context) {
            case "rejected":
              return say(link, request, "rejected", { reason: "not today" })
            case "failed":
              return void (say(link, request, "accepted"), end(link, request, { status: "failed", error: "boom" }))
            case "late":
              return say(link, request, "accepted")
            case "mute":
              return undefined
            case "nonsense":
              return link.send("nonsense")
            case "early":
              return end(link, request)
            case "other":
              return say(link, { ...request, task_id: "task-other" }, "accepted")
            default:
              return void (say(link, request, "accepted"), link.close(1011, "sorry"))
          }
        })
        const caller = yield* callerOf
        // Only those that do not answer in time are not waited for.
        const deadlineOf = (context: string) => (["late", "mute"].includes(context) ? 150 : 10_000)
        const code = (context: string) =>
          codeOf(caller.call(callee(port), order({ context, deadlineMs: deadlineOf(context) })))
        expect(yield* code("rejected")).toBe("Rejected")
        expect(yield* code("failed")).toBe("Failed")
        expect(yield* code("late")).toBe("Late")
        expect(yield* code("mute")).toBe("Late")
        expect(yield* code("nonsense")).toBe("Malformed")
        expect(yield* code("early")).toBe("Malformed")
        expect(yield* code("other")).toBe("Malformed")
        expect(yield* code("closed")).toBe("Closed")
        const large = order({ input: { text: "x".repeat(MAX_FRAME_BYTES) } })
        expect(yield* codeOf(caller.call(callee(port), large))).toBe("TooLarge")
      })
    ))

  test("gives an agent no more tasks at once than it takes; each has a connection of its own", () =>
    run(
      Effect.gen(function* () {
        const taken: Array<() => void> = []
        const full = yield* Deferred.make<void>()
        const { connections, port } = yield* stranger((request, link) => {
          say(link, request, "accepted")
          if (taken.push(() => end(link, request)) === 2) Deferred.doneUnsafe(full, Effect.void)
          if (taken.length > 2) end(link, request)
        })
        const caller = yield* callerOf
        const all = yield* Effect.forkChild(
          Effect.forEach([1, 2, 3], () => caller.call(callee(port, 2), order()), { concurrency: "unbounded" })
        )
        yield* Deferred.await(full)
        expect(taken.length).toBe(2)
        for (const finish of [...taken]) finish()
        yield* Fiber.join(all)
        expect(connections()).toBe(2)
      })
    ))

  test("dials again where an idle connection was closed meanwhile", () =>
    run(
      Effect.gen(function* () {
        let closes = true
        const { connections, port } = yield* stranger((request, link) => {
          if (!closes && request.context === "again" && connections() === 1) return link.destroy()
          say(link, request, "accepted")
          end(link, request)
        })
        const caller = yield* callerOf
        yield* caller.call(callee(port), order())
        closes = false
        yield* caller.call(callee(port), order({ context: "again" }))
        expect(connections()).toBe(2)
      })
    ))

  test("says that nobody answers, and dials nothing that the registry may not name", () =>
    run(
      Effect.gen(function* () {
        const { port, server } = yield* stranger(() => undefined)
        yield* Effect.promise(() => new Promise<void>((done) => server.close(() => done())))
        const caller = yield* callerOf
        expect(yield* codeOf(caller.call(callee(port), order()))).toBe("Unreachable")
        const distant = yield* Caller.make({ requester: "ada", resolve: Endpoint.resolver("public") })
        expect(yield* codeOf(distant.call(callee(port), order()))).toBe("Forbidden")
      })
    ))
})

describe("endpoints", () => {
  const allowed = (reach: Endpoint.Reach, endpoint: string) =>
    Effect.map(Effect.result(Endpoint.resolver(reach)("bob", endpoint)), ({ _tag }) => _tag === "Success")

  test("may be as near as the registry, and no nearer", () =>
    run(
      Effect.gen(function* () {
        const near = {
          public: "ws://203.0.113.9.example",
          private: "ws://192.168.1.20:9000",
          loopback: "ws://localhost:9000"
        }
        expect(yield* allowed("loopback", near.loopback)).toBe(true)
        expect(yield* allowed("loopback", near.private)).toBe(true)
        expect(yield* allowed("private", near.private)).toBe(true)
        expect(yield* allowed("private", near.loopback)).toBe(false)
        expect(yield* allowed("public", near.private)).toBe(false)
        expect(yield* allowed("public", "ws://[::1]:9000")).toBe(false)
        expect(yield* allowed("public", "wss://1.1.1.1/tasks?x=1")).toBe(true)
        expect(yield* Endpoint.reachOfUrl("http://localhost:8000")).toBe("loopback")
        expect(yield* Endpoint.reachOfUrl("http://[fd12::1]:8000")).toBe("private")
        expect(yield* Endpoint.reachOfUrl("http://8.8.8.8")).toBe("public")
      })
    ))

  test("that lead where no agent is are refused at any registry", () =>
    run(
      Effect.gen(function* () {
        for (const endpoint of [
          "http://127.0.0.1:9000",
          "file:///etc/passwd",
          "ws://169.254.169.254/latest/meta-data",
          "ws://[fe80::1]:9000",
          "ws://[fd00:ec2::254]:80",
          "ws://0.0.0.0:9000",
          "ws://224.0.0.1:9000",
          "ws://user:secret@127.0.0.1:9000",
          "ws://127.0.0.1:22",
          "ws://127.0.0.1:6379",
          "ws://[::ffff:169.254.169.254]:9000",
          "ws://2852039166:9000",
          "ws://",
          "",
          `ws://127.0.0.1:9000/${"x".repeat(600)}`
        ]) {
          expect([endpoint, yield* allowed("loopback", endpoint)]).toEqual([endpoint, false])
        }
      })
    ))
})
