/** Verifies: topics and tasks go on while a relayed connection gives way to a direct one, with no message lost, repeated or out of order. */
import { expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Agent } from "@parley/agent"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { untilValue } from "../../../test-support/Until.ts"

test("a relayed connection gives way to a direct one under topics and tasks", async () => {
  const scope = Scope.makeUnsafe()
  const relay = Relay.layer().pipe(
    Layer.provideMerge(Connections.layer),
    Layer.provide(TransportTcp.layer({ host: "127.0.0.1", port: 0 })),
    Layer.provide(Identity.layerEphemeral)
  )
  const context = await Effect.runPromise(Scope.provide(Layer.build(relay), scope))
  const relays = Effect.runSync(
    Effect.provide(
      Connections.Connections.useSync((connections) => connections.addresses()),
      context
    )
  )
  const terms = { mdns: false, gossip: false, host: "127.0.0.1", log: "None" } as const
  const bob = await Agent.start({ ...terms, relays })
  try {
    await bob.serve("text.upper@1.0.0", async (text: string) => text.toUpperCase())
    const isRelayed = (address: string): boolean => address.startsWith("relay:")
    const addresses = await untilValue(
      "a slot at the relay",
      () => bob.addresses,
      (all) => all.some(isRelayed)
    )
    const address = addresses.find(isRelayed)!
    const ada = await Agent.start(terms)
    try {
      await Effect.runPromise(ada.node.connections.connect({ node: bob.nodeId, addresses: [address] }))
      const heard: Array<number> = []
      const stop = new AbortController()
      const listening = (async () => {
        for await (const { data } of ada.subscribe("count", { signal: stop.signal })) heard.push(Number(data))
      })().catch(() => undefined)
      const relayed = new Set<boolean>()
      let sent = 0
      let after = 0
      while (after < 30) {
        await bob.publish("count", sent++)
        if (sent % 10 === 0) expect(await ada.call("text.upper", "x")).toBe("X")
        const peer = sent % 10 !== 0 ? undefined : (await ada.peers()).find(({ node }) => node === bob.nodeId)
        if (peer !== undefined && heard.length > 0) relayed.add(peer.relayed)
        if (peer?.relayed === false) after++
        if (sent > 100_000) throw new Error(`it did not become direct; ${heard.length} messages came`)
      }
      await untilValue(
        "the last message",
        () => heard.at(-1),
        (last) => last === sent - 1
      )
      stop.abort()
      await listening
      expect(relayed.has(false)).toBe(true)
      expect(heard).toEqual(Array.from({ length: heard.length }, (_, index) => heard[0]! + index))
    } finally {
      await ada.close()
    }
  } finally {
    await bob.close()
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}, 30_000)
