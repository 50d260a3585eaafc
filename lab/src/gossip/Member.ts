/** A whole node over TCP on the loopback, with its gossip, for experiments with many of them. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Capability from "@parley/core/Capability"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import * as Node from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import * as Strategy from "@parley/core/Strategy"
import type { Address } from "@parley/core/Transport"
import * as Gossip from "@parley/gossip/Gossip"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import * as Schema from "effect/Schema"

const Echo = Capability.make("lab.echo", { version: "1.0.0", input: Schema.Json, output: Schema.Json })

/** A node of an experiment. */
export interface Member {
  readonly node: Node.Node["Service"]
  readonly nodeId: NodeId
  readonly addresses: ReadonlyArray<Address>
  readonly gossip: Gossip.Member
  /** Connects to somebody, once. */
  readonly meet: (address: Address) => Promise<void>
  readonly publish: (topic: string, data: Schema.Json) => Promise<number>
  readonly subscribe: (topic: string, hear: (message: Node.Message) => void) => void
  readonly close: () => Promise<void>
}

const layer = (name: string) =>
  Node.layer({ name }).pipe(
    Layer.provide([
      TransportTcp.layer({ port: 0, host: "127.0.0.1" }),
      Gossip.layerDiscovery,
      Gossip.layerBroadcast,
      Matcher.layer,
      Strategy.layer({})
    ]),
    Layer.provideMerge(Gossip.layerGossip),
    Layer.provide(Identity.layerEphemeral)
  )

/** Starts a node that serves one capability. */
export const startMember = async (name: string): Promise<Member> => {
  const scope = Scope.makeUnsafe()
  const start = Effect.gen(function* () {
    const context = yield* Layer.build(Layer.fresh(layer(name)))
    const node = Context.get(context, Node.Node)
    yield* node.serve(Echo, (input) => Effect.succeed(input))
    const { connections, nodeId, record } = node
    const gossip = yield* Context.get(context, Gossip.Gossip).join({
      nodeId,
      record,
      addresses: connections.addresses,
      connections,
      isPrivate: false
    })
    return { node, gossip }
  })
  const { gossip, node } = await Effect.runPromise(Scope.provide(start, scope))
  return {
    node,
    nodeId: node.nodeId,
    addresses: node.connections.addresses(),
    gossip,
    meet: (address) => Effect.runPromise(Effect.asVoid(node.connections.connect({ addresses: [address] }))),
    publish: (topic, data) => Effect.runPromise(node.publish(topic, data)),
    subscribe: (topic, hear) => {
      const listen = Stream.runForEach(node.subscribe(topic), (message) => Effect.sync(() => hear(message)))
      // At once, so that what is published next is heard.
      Effect.runSync(Effect.forkIn(listen, scope, { startImmediately: true }))
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
