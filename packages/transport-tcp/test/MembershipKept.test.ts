/** Verifies: what was known of a peer at its handshake stays known while any connection to it lives, and revocations end every one. */
import { afterEach, describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as MemberCertificate from "@parley/core/MemberCertificate"
import * as Network from "@parley/core/Network"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { until } from "../../../test-support/Until.ts"
import { makeNetwork } from "../../core/test/members.ts"
import { call, empty, start } from "./nodes.ts"

const PROTOCOL = 200
const ends: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

/** A member that keeps connections as a deployment does, and echoes. */
const member = async (network: ReturnType<typeof makeNetwork>, logger?: Logger.Logger<unknown, unknown>) => {
  const { identity, members } = network.members()
  const scope = Scope.makeUnsafe()
  ends.push(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const transport = TransportTcp.make(identity, { host: "127.0.0.1", port: 0, members })
  const connections = await Effect.runPromise(
    Effect.gen(function* () {
      const made = yield* Connections.make(transport, identity.nodeId)
      yield* Network.keep(members, made)
      yield* made.handle(PROTOCOL, (_connection, stream) => ({
        onMessage: (message, last) => void stream.send(empty, Buffer.from(message), last),
        onWritable: () => {},
        onClosed: () => {}
      }))
      return made
    }).pipe(Scope.provide(scope), Effect.provide(Logger.layer(logger === undefined ? [] : [logger])))
  )
  return { members, address: connections.addresses()[0]!, connections }
}

/** A key that acts for a member, and its node. */
const delegateOf = async (network: ReturnType<typeof makeNetwork>) => {
  const owner = network.members()
  const identity = Identity.generate()
  const to = { node: identity.nodeId, expiresAt: Date.now() + 60_000 }
  const certificate = MemberCertificate.delegate(owner.identity, owner.members.certificate, to)
  const node = await start({ members: new Network.Members({ ...network.of, certificate }) }, identity)
  ends.push(node.stop)
  return { node, member: owner.identity.nodeId }
}

test("a member that was put out is told so once, however often it looks", async () => {
  const told: Array<string> = []
  const network = makeNetwork()
  const logger = Logger.make(({ message }) => void told.push(String(message)))
  const { connections, members } = await member(network, logger)
  for (const out of [connections.nodeId, network.members().identity.nodeId])
    members.learn(JSON.stringify(network.revoke(out)))
  await until("it is told", () => told.length > 0)
  expect(told).toEqual([expect.stringContaining("has put this node out")])
})

describe("a peer that acts for a member", () => {
  test("does so still on a connection that took another one's place, and goes with its member", async () => {
    const network = makeNetwork()
    const a = await member(network)
    const { member: owner, node } = await delegateOf(network)
    const first = await node.dial(a.address)
    await until("a has it", () => a.connections.get(node.nodeId) !== undefined)
    const second = await node.dial(a.address)
    expect(await call(second, "hello")).toBe("hello")
    expect(a.members.memberOf(node.nodeId)).toBe(owner)
    a.members.learn(JSON.stringify(network.revoke(owner)))
    await until("both connections are over", () => [first, second].every((each) => each.state() === "closed"))
  })

  test("shows a delegation that was renewed from its next handshake on", async () => {
    const network = makeNetwork()
    const a = await member(network)
    const owner = network.members()
    const identity = Identity.generate()
    const actsUntil = (expiresAt: number) =>
      MemberCertificate.delegate(owner.identity, owner.members.certificate, { node: identity.nodeId, expiresAt })
    const members = new Network.Members({ ...network.of, certificate: actsUntil(Date.now() - 1) })
    const node = await start({ members }, identity)
    ends.push(node.stop)
    const refused: unknown = await node.dial(a.address).catch((error: unknown) => error)
    expect(String(refused instanceof Error ? refused.message : refused)).toContain("the delegation ended")
    members.renew(actsUntil(Date.now() + 60_000))
    expect(await call(await node.dial(a.address), "hello")).toBe("hello")
  })

  test("has nothing of a connection that it drains, once its member is out", async () => {
    const network = makeNetwork()
    const a = await member(network)
    const { member: owner, node } = await delegateOf(network)
    const connection = await node.dial(a.address)
    let echoed = 0
    const stream = connection.open(PROTOCOL, {
      onMessage: () => void echoed++,
      onWritable: () => {},
      onClosed: () => {}
    })
    stream?.send(empty, "one", false)
    await until("a answers", () => echoed === 1)
    Effect.runFork(connection.drain(60_000))
    await until("a drains it, too", () => a.connections.list().length === 0)
    stream?.send(empty, "two", false)
    await until("the stream goes on", () => echoed === 2)
    a.members.learn(JSON.stringify(network.revoke(owner)))
    await until("the connection is over", () => connection.state() === "closed", { withinMs: 3_000 })
  })
})
