/** The port that the node listens on: whether it is free, or who has it. */
import { createServer } from "node:net"
import * as Effect from "effect/Effect"
import type { Members } from "@parley/core/Network"
import * as NodeId from "@parley/core/NodeId"
import { type Finding, of } from "./Finding.ts"
import type { Ground } from "./Ground.ts"
import * as Reach from "./Reach.ts"

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
    const { cause, node } = yield* meet(ground, at)
    if (node !== undefined && node === own)
      return { findings: [find("ok", "OwnNodeRuns", `this node runs, and listens on port ${port}`)], isFree: false }
    const who = node !== undefined ? `another node, ${node}` : (strangers[cause ?? ""] ?? "another program")
    const advice = `stop it, or choose another port: --port (0 takes any free one)`
    return { findings: [find("fail", "PortTaken", `port ${port} is taken by ${who}`, advice)], isFree: false }
  })

/** Nodes that do not say who they are. */
const strangers: { readonly [cause: string]: string } = {
  WrongNetworkKey: "a node of another network",
  NotAMember: "a node that is not in one network with this one",
  Busy: "a node that takes no more connections now"
}

/** Who proves to be there, also where that one is let in no more, or lets nobody in; else the cause (`Reach`) why nobody did. */
const meet = (
  ground: Ground,
  at: string
): Effect.Effect<{ readonly node?: NodeId.NodeId; readonly cause?: string }> => {
  const { members } = ground
  let node: NodeId.NodeId | undefined
  const admitting: Pick<Members, "admit" | "certificate"> | undefined = members && {
    certificate: members.certificate,
    admit: (peer, certificate, now) => {
      node = NodeId.fromPublicKey(peer)
      return members.admit(peer, certificate, now)
    }
  }
  const tcp = {
    listen: false,
    limits: { handshakeTimeoutMs: OWN_MS },
    ...(admitting === undefined ? {} : { members: admitting })
  }
  return Effect.flatMap(ground.connections(tcp), (connections) => connections.connect({ addresses: [at] })).pipe(
    Effect.scoped,
    Effect.match({
      onSuccess: ({ peer }) => ({ node: peer }),
      onFailure: ({ reason }) => (node === undefined ? { cause: Reach.explain(at, reason, undefined).code } : { node })
    })
  )
}
