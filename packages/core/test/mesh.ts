/**
 * A mesh of nodes within this process, for tests: memory transport, one board, the strategies of `@parley/consensus` left out.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Broadcast from "@parley/core/Broadcast"
import * as Connections from "@parley/core/Connections"
import * as Discovery from "@parley/core/Discovery"
import * as DiscoveryMemory from "@parley/core/DiscoveryMemory"
import * as Guardrails from "@parley/core/Guardrails"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import * as Node from "@parley/core/Node"
import type { NodeError, NodeErrorReason } from "@parley/core/NodeError"
import type { NodeId } from "@parley/core/NodeId"
import * as Strategy from "@parley/core/Strategy"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Trust from "@parley/core/Trust"

/** What a node of the mesh may differ in. */
export interface MeshOptions {
  readonly guardrails?: Partial<Guardrails.Settings>
  readonly strategies?: Strategy.Registered
  readonly trust?: Trust.Trust["Service"]
  /** Finds nobody through discovery, and is found by nobody that way. */
  readonly alone?: boolean
  /** A discovery in place of the board. */
  readonly discovery?: Discovery.Discovery["Service"]
  /** How its topics travel beyond connected peers. */
  readonly broadcast?: Broadcast.Broadcast["Service"]
}

/** A peer that is no node: it connects, and sends what a test makes it send. */
export interface Stranger {
  readonly identity: Identity.Identity["Service"]
  readonly connections: Connections.Connections["Service"]
}

/** A node of the mesh. */
export type Member = Node.Node["Service"]

/** Where a node of a mesh is reached. */
export const addressOf = (node: NodeId): string => `mem://${node}`

/** A place where nodes meet; each `node` is a new agent that lives as long as the scope. */
export const makeMesh = () => {
  const hub = TransportMemory.makeHub()
  const board = DiscoveryMemory.makeBoard()
  return {
    board,
    hub,
    node: (name: string, options: MeshOptions = {}): Effect.Effect<Member, never, Scope.Scope> =>
      Layer.build(
        Layer.fresh(
          Node.layer({ name }).pipe(
            Layer.provide([
              TransportMemory.layerHub(hub),
              Layer.succeed(
                Discovery.Discovery,
                options.discovery ?? DiscoveryMemory.make(options.alone === true ? DiscoveryMemory.makeBoard() : board)
              ),
              Matcher.layer,
              Strategy.layer(options.strategies ?? {}),
              Guardrails.layer(options.guardrails ?? {}),
              Layer.succeed(Trust.Trust, options.trust ?? Trust.make()),
              options.broadcast === undefined ? Layer.empty : Layer.succeed(Broadcast.Broadcast, options.broadcast)
            ]),
            Layer.provide(Identity.layerEphemeral)
          )
        )
      ).pipe(
        Effect.flatMap((context) => Node.Node.use((node) => Effect.succeed(node)).pipe(Effect.provide(context))),
        Effect.orDie
      ),
    stranger: (): Effect.Effect<Stranger, never, Scope.Scope> =>
      Effect.gen(function* () {
        const identity = Identity.generate()
        const connections = yield* Connections.make(TransportMemory.make(identity.nodeId, hub), identity.nodeId)
        return { identity, connections }
      }).pipe(Effect.orDie)
  }
}

/** Two nodes: the one who serves, with these guardrails, and the one who asks. */
export const pair = Effect.fnUntraced(function* (guardrails: Partial<Guardrails.Settings> = {}) {
  const mesh = makeMesh()
  return { mesh, ada: yield* mesh.node("ada", { guardrails }), bob: yield* mesh.node("bob") }
})

/** Connects a node or a stranger to a node. */
export const meet = (one: Pick<Member, "connections">, other: Member) =>
  one.connections.connect({ node: other.nodeId, addresses: [addressOf(other.nodeId)] })

/** Runs a test's effect with a scope of its own. */
export const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(effect))

/** Why an effect failed. */
export const reasonOf = <A, R>(effect: Effect.Effect<A, NodeError, R>): Effect.Effect<NodeErrorReason, A, R> =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

/** Something that happens once, and that others wait for. */
export const makeSignal = () => {
  const deferred = Deferred.makeUnsafe<void>()
  return {
    wait: Deferred.await(deferred),
    happened: () => Deferred.isDoneUnsafe(deferred),
    tell: () => void Deferred.doneUnsafe(deferred, Effect.void)
  }
}

/** A handler that never ends, and tells when it began and when it was interrupted. */
export const makeEndless = () => {
  const began = makeSignal()
  const interrupted = makeSignal()
  const run: Effect.Effect<never> = Effect.suspend(() => {
    began.tell()
    return Effect.onInterrupt(Effect.never, () => Effect.sync(interrupted.tell))
  })
  return { began, interrupted, run }
}

/** How long a wait lasts before it says what did not come, in ms: it judges nothing but whether that comes. */
const PATIENCE_MS = 15_000

/** Waits until a condition holds, looking at it again as often as other fibres and events have had their turn. */
export const until = (what: string, condition: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const began = performance.now()
    while (!(yield* condition)) {
      if (performance.now() - began > PATIENCE_MS) return yield* Effect.die(new Error(`still not so: ${what}`))
      yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
    }
  })

/** Waits until a node knows that a connected peer serves a capability. */
export const knows = (member: Member, node: NodeId, id: string): Effect.Effect<void> =>
  until(
    `${member.name} knows ${id}`,
    Effect.map(member.peers, (peers) => peers.some((peer) => peer.node === node && peer.capabilities.includes(id)))
  )

/** Waits until a node has nothing more to do for others. */
export const idle = (member: Member): Effect.Effect<void> =>
  until(
    `${member.name} is idle`,
    Effect.map(member.status, ({ serving }) => serving.every(({ running, waiting }) => running + waiting === 0))
  )
