/** The port that the node listens on: whether it is free, or who has it. */
import { createServer } from "node:net"
import * as Effect from "effect/Effect"
import * as NodeId from "@parley/core/NodeId"
import { type Finding, of } from "./Finding.ts"
import type { Ground } from "./Ground.ts"

/** A free port can be listened on by the examination; one that a node has is looked at through that node. */
export interface Port {
  readonly findings: ReadonlyArray<Finding>
  /** Whether the examination listens there itself. */
  readonly isFree: boolean
}

/** How long a node of this very machine has for its handshake, in ms. */
const OWN_MS = 1_500

const bind = (port: number, host: string): Effect.Effect<string | undefined> =>
  Effect.callback<string | undefined>((resume) => {
    const server = createServer()
    server.once("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? error.message)))
    server.listen({ port, host }, () => server.close(() => resume(Effect.as(Effect.void, undefined))))
  })

/** `own`: the node of the key file, which may be running. */
export const check = (ground: Ground, port: number, own: string | undefined): Effect.Effect<Port> =>
  Effect.gen(function* () {
    const { host = "0.0.0.0", listen } = ground.options
    const find = of("port", `listening on ${host} port ${port}`)
    if (listen === false)
      return { findings: [find("ok", "NotListening", "this node accepts no connections")], isFree: false }
    const code = yield* bind(port, host)
    if (code === undefined) return { findings: [find("ok", "PortFree", `port ${port} is free`)], isFree: true }
    if (code === "EACCES") {
      const found = `this user may not listen on port ${port}`
      return { findings: [find("fail", "PortForbidden", found, "choose a port above 1023: --port")], isFree: false }
    }
    if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") {
      const found = `no interface of this machine has the address ${host}`
      return { findings: [find("fail", "NoSuchHost", found, "correct --host, or leave it out")], isFree: false }
    }
    const at = `tcp://${host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host}:${port}`
    const exit = yield* Effect.exit(
      Effect.scoped(
        Effect.flatMap(ground.connections({ listen: false, limits: { handshakeTimeoutMs: OWN_MS } }), (connections) =>
          connections.connect({ addresses: [at] })
        )
      )
    )
    if (exit._tag === "Success" && exit.value.peer === own) {
      return { findings: [find("ok", "OwnNodeRuns", `this node runs, and listens on port ${port}`)], isFree: false }
    }
    const who =
      exit._tag === "Success" ? `another node, ${NodeId.parse(exit.value.peer) ?? "unknown"}` : "another program"
    const advice = `stop it, or choose another port: --port (0 takes any free one)`
    return { findings: [find("fail", "PortTaken", `port ${port} is taken by ${who}`, advice)], isFree: false }
  })
