/**
 * Ends of `Idle.ts`, each in a process of its own: `IdleEnd.ts hold` is a whole node, `IdleEnd.ts call ADDRESS` another one that
 * calls it, and `IdleEnd.ts crowd ADDRESS` has the other ends of the idle connections, each of an identity of its own.
 */
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Layers from "@parley/agent/Layers"
import { Node } from "@parley/core/Node"
import { Echo } from "./EchoCapability.ts"
import { Load } from "./Load.ts"
import { lasting } from "./Lasting.ts"
import { obey } from "./Obey.ts"
import { payloadOf } from "./Path.ts"
import * as Sessions from "./Sessions.ts"

const BYTES = 128
/** Connections that a crowd opens at once. */
const AT_ONCE = 32

/** What all come from one address for; what a node has for others is as it is. */
const limits = {
  maxConnections: 8_192,
  maxConnectionsPerAddress: 8_192,
  handshakesAtOnce: 8_192,
  handshakesPerSecond: 8_192
}

/** The first line. */
export interface IdleReady {
  readonly address: string
}

export type IdleOrder =
  /** Answered by a `Run`; for the calling node. */
  | { readonly _tag: "Run"; readonly inflight: number; readonly seconds: number }
  /** Opens so many more; for a crowd. */
  | { readonly _tag: "Open"; readonly count: number }
  /** Answered by how many connections stand. */
  | { readonly _tag: "Count" }

const [role, to = ""] = process.argv.slice(2)

/** What keeps the crowd's ends. */
const kept: Array<unknown> = []

const start = async (): Promise<{ readonly address: string; readonly node: Node["Service"] | undefined }> => {
  if (role === "crowd") return { address: "", node: undefined }
  const runtime = ManagedRuntime.make(Layers.layer({ host: "127.0.0.1", mdns: false, limits }))
  const node = await runtime.runPromise(
    Effect.gen(function* () {
      const node = yield* Node
      if (role === "hold") yield* lasting(node.serve(Echo, (input) => Effect.sync(() => input)))
      else yield* node.connections.connect({ addresses: [to] })
      return node
    })
  )
  return { address: node.connections.addresses()[0] ?? "", node }
}

const { address, node } = await start()
const input = payloadOf(BYTES)

const open = async (): Promise<void> => {
  const one = await Sessions.sessions({ listen: false })
  kept.push(await Sessions.connect(one, to))
}

await obey<IdleOrder>({ address } satisfies IdleReady, async (order) => {
  switch (order._tag) {
    case "Run": {
      const load = new Load(order.seconds)
      const lane = Effect.gen(function* () {
        let sentAt = performance.now()
        while (!load.over) {
          yield* node!.call(Echo, input)
          sentAt = load.answered(sentAt)
        }
      })
      await Effect.runPromise(
        Effect.forEach(Array.from({ length: order.inflight }), () => lane, { concurrency: "unbounded", discard: true })
      )
      return load.run()
    }
    case "Open": {
      for (let left = order.count; left > 0; left -= AT_ONCE) {
        await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, open))
      }
      return kept.length
    }
    case "Count":
      return node!.connections.list().length
  }
})
