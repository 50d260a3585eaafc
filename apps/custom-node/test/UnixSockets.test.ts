/** Verifies: what the laws do not say of Unix sockets: who may open them, strangers, altered records, left-over files. */
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { once } from "node:events"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import { fromSeed } from "@parley/core/testing/Seeded"
import type { Connection, Owner, Stream, StreamHandler, TransportError } from "@parley/core/Transport"
import * as UnixTransport from "../src/plugins/UnixTransport.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "parley-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const run = <A, E>(body: Effect.Effect<A, E, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(body))

/** A node that echoes, and records what its transport tells. */
const party = Effect.fnUntraced(function* (path: string, identity = Identity.generate()) {
  const refused: Array<TransportError> = []
  const closed: Array<string> = []
  const connections: Array<Connection> = []
  let wake = (): void => {}
  const echo = (stream: Stream): StreamHandler => ({
    onMessage: (message, last) => void stream.send(message, undefined, last),
    onWritable: () => {},
    onClosed: () => {}
  })
  const owner: Owner = {
    nodeId: identity.nodeId,
    onConnection: (connection) => (connections.push(connection), wake()),
    onStream: (_connection, _protocol, stream) => echo(stream),
    onClosed: (_connection, why) => (closed.push(why), wake()),
    onRefused: (_address, error) => (refused.push(error), wake()),
    onAddresses: () => {},
    connect: () => Effect.die("not in these tests"),
    handle: () => Effect.void
  }
  const transport = UnixTransport.make(identity, { folder: path })
  const addresses = yield* transport.listen(owner)
  const until = (holds: () => boolean) =>
    Effect.callback<void>((resume) => {
      wake = () => (holds() ? resume(Effect.void) : undefined)
      wake()
    }).pipe(Effect.timeout("20 seconds"))
  return { address: addresses[0]!, closed, connections, identity, refused, transport, until }
})
type Party = Effect.Success<ReturnType<typeof party>>
const pathOf = (address: string): string => decodeURI(address.slice("unix://".length))

/** Sends one message and gives the answer. */
const ask = (connection: Connection, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const stream = connection.open(200, {
      onMessage: (message) => resolve(new TextDecoder().decode(message)),
      onWritable: () => {},
      onClosed: (code) => reject(new Error(`closed with ${code}`))
    })
    stream?.send(new TextEncoder().encode(text), undefined, true)
  })

/** A socket that stands between two nodes and may change what passes to the listener. */
const between = (path: string, to: Party, change: (chunk: Buffer, sofar: number) => Buffer) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer((near: Socket) => {
        const far = connect(pathOf(to.address))
        let sofar = 0
        near.on("data", (chunk: Buffer) => {
          far.write(change(Buffer.from(chunk), sofar))
          sofar += chunk.length
        })
        far.on("data", (chunk: Buffer) => void near.write(chunk))
        for (const [one, other] of [
          [near, far],
          [far, near]
        ] as const) {
          one.on("error", () => other.destroy())
          one.on("close", () => other.destroy())
        }
      })
      server.listen(join(path, "between.sock"))
      await once(server, "listening")
      return server
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(Effect.as(`unix://${encodeURI(join(path, "between.sock"))}`))

describe("UnixTransport", () => {
  test("folder and socket are this user's alone, and the socket goes with the node", () =>
    run(
      Effect.gen(function* () {
        const path = yield* folder
        chmodSync(path, 0o755)
        const socket = yield* Effect.scoped(
          Effect.gen(function* () {
            const { address } = yield* party(path)
            expect(statSync(pathOf(address)).mode & 0o777).toBe(0o600)
            expect(statSync(path).mode & 0o777).toBe(0o700)
            return pathOf(address)
          })
        )
        expect(existsSync(socket)).toBe(false)
      })
    ))

  test("a socket left behind is replaced; one in use, and a path that is too long, say so", () =>
    run(
      Effect.gen(function* () {
        const path = yield* folder
        const identity = Identity.generate()
        writeFileSync(join(path, `${identity.nodeId.slice(-16)}.sock`), "")
        yield* party(path, identity)
        const twice = yield* Effect.flip(party(path, identity))
        expect(twice.message).toContain("another process listens there")
        const long = yield* Effect.flip(party(join(path, "x".repeat(100))))
        expect(long.message).toContain(`at most ${UnixTransport.MAX_PATH_BYTES}`)
      })
    ))

  test("dials nothing outside its folder", () =>
    run(
      Effect.gen(function* () {
        const [here, there] = [yield* party(yield* folder), yield* party(yield* folder)]
        for (const address of [
          there.address,
          "unix:///run/other.sock",
          "unix://%",
          "unix:x",
          `${here.address}/../../x`
        ]) {
          const error = yield* Effect.flip(here.transport.dial(address, undefined))
          expect([address, error.reason._tag]).toEqual([address, "DialFailed"])
        }
        expect(there.refused).toEqual([])
      })
    ))

  test("whoever cannot prove a key is refused, and others are served on", () =>
    run(
      Effect.gen(function* () {
        const seed = 7
        const random = fromSeed(seed)
        const path = yield* folder
        const [a, b] = [yield* party(path), yield* party(path)]
        for (let n = 0; n < 40; n++) {
          const socket = connect(pathOf(b.address))
          socket.on("error", () => {})
          socket.end(random.bytes(1 + random.int(400)))
        }
        yield* b.until(() => b.refused.length === 40)
        const near = yield* a.transport.dial(b.address, b.identity.nodeId)
        expect(yield* Effect.promise(() => ask(near, "still there?"))).toBe("still there?")
        expect({ seed, connections: b.connections.length }).toEqual({ seed, connections: 1 })
      })
    ))

  test(
    "one flipped bit ends the session, at whatever byte, and nothing altered is delivered",
    () =>
      run(
        Effect.gen(function* () {
          const path = yield* folder
          const b = yield* party(path)
          const a = yield* party(path)
          let at = -1
          const address = yield* between(path, b, (chunk, sofar) => {
            if (at >= sofar && at < sofar + chunk.length) chunk[at - sofar]! ^= 1
            return chunk
          })
          const talk = Effect.gen(function* () {
            const near = yield* a.transport.dial(address, b.identity.nodeId)
            return yield* Effect.tryPromise(() => ask(near, "a word in confidence"))
          })
          expect(yield* talk).toBe("a word in confidence")
          // Hello, proof, the frame that opens a stream, and its message.
          for (at = 0; at < 64 + 84 + 26 + 46; at += 3) {
            const exit = yield* Effect.exit(Effect.timeout(talk, "300 millis"))
            expect([at, Exit.isFailure(exit)]).toEqual([at, true])
          }
        })
      ),
    30_000
  )

  test("nobody passes for another: a key that is shown and not held proves nothing, at either end", () =>
    run(
      Effect.gen(function* () {
        const path = yield* folder
        const [b, own] = [yield* party(path), Identity.generate()]
        const { nodeId, publicKey } = Identity.generate()
        const evil = yield* party(path, { nodeId, publicKey, sign: (message: Uint8Array) => own.sign(message) })
        const refusal = yield* Effect.flip(b.transport.dial(evil.address, nodeId))
        expect(refusal.message).toContain("BadIdentitySignature")
        // The dialler has done its part when it has sent its proof; what it then asks is not answered.
        const near = yield* evil.transport.dial(b.address, b.identity.nodeId)
        yield* Effect.flip(Effect.tryPromise(() => ask(near, "it is me")))
        yield* b.until(() => b.refused.length === 1)
        expect(b.refused[0]?.message).toContain("BadIdentitySignature")
        expect(b.connections.length).toBe(0)
      })
    ))

  test("a record that comes twice ends the session", () =>
    run(
      Effect.gen(function* () {
        const path = yield* folder
        const b = yield* party(path)
        const a = yield* party(path)
        const address = yield* between(path, b, (chunk, sofar) =>
          sofar > 64 + 84 ? Buffer.concat([chunk, chunk]) : chunk
        )
        const near = yield* a.transport.dial(address, b.identity.nodeId)
        yield* b.until(() => b.connections.length === 1)
        yield* Effect.exit(Effect.tryPromise(() => ask(near, "once")))
        yield* Effect.exit(Effect.tryPromise(() => ask(near, "twice")))
        yield* b.until(() => b.closed.length === 1)
        expect(b.closed).toEqual(["a record was altered on the way"])
      })
    ))
})
