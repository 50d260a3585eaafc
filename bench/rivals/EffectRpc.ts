/**
 * `effect/rpc` over one TCP connection: one procedure with schemas at both ends, which Effect's schema compiler makes fast, as
 * lines of JSON, which carried more calls a second than Effect's binary form. Tracing is off, and handlers do not wait for
 * each other.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Schema from "effect/Schema"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import { SocketServer } from "effect/socket/SocketServer"
import "effect/schema/SchemaJITCompiler/enable"
import type { Load } from "../src/Load.ts"
import { type Path, payloadOf } from "../src/Path.ts"

const Shape = Schema.Struct({ text: Schema.String, n: Schema.Finite })
const Echoes = RpcGroup.make(Rpc.make("Echo", { payload: Shape, success: Shape }))

const serialization = RpcSerialization.layerNdjson
const scope = Scope.makeUnsafe()

const server = RpcServer.layer(Echoes, { disableTracing: true, concurrency: "unbounded" }).pipe(
  Layer.provide(Echoes.toLayer({ Echo: (payload) => Effect.succeed(payload) })),
  Layer.provide(RpcServer.layerProtocolSocketServer),
  Layer.provide(serialization),
  Layer.provideMerge(NodeSocketServer.layer({ host: "127.0.0.1", port: 0, noDelay: true }))
)

const clientOf = (host: string, port: number) =>
  RpcClient.layerProtocolSocket().pipe(
    Layer.provide(serialization),
    Layer.provide(NodeSocket.layerNet({ host, port, noDelay: true }))
  )

const path: Path = {
  answer: () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const services = yield* Layer.buildWithScope(server, scope)
        const { address } = Context.get(services, SocketServer)
        if (address._tag === "UnixPathAddress") throw new Error("the server has no port")
        return `tcp://127.0.0.1:${address.port}`
      })
    ),
  ask: async (address, bytes) => {
    const { hostname, port } = new URL(address)
    const client = await Effect.runPromise(
      Layer.buildWithScope(clientOf(hostname, Number(port)), scope).pipe(
        Effect.flatMap((protocol) => Effect.provideContext(RpcClient.make(Echoes, { disableTracing: true }), protocol)),
        Scope.provide(scope)
      )
    )
    const payload = payloadOf(bytes)
    const lane = (load: Load) =>
      Effect.gen(function* () {
        let sentAt = performance.now()
        while (!load.over) {
          const { n, text } = yield* client.Echo(payload)
          if (n !== payload.n || text.length !== payload.text.length)
            throw new Error("the answer is not what was asked")
          sentAt = load.answered(sentAt)
        }
      })
    return {
      run: (inflight: number, load: Load) =>
        Effect.runPromise(
          Effect.forEach(Array.from({ length: inflight }), () => lane(load), {
            concurrency: "unbounded",
            discard: true
          })
        )
    }
  }
}

export default path
