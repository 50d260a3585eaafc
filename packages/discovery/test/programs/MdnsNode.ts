/**
 * A node that is found by mDNS, in a process of its own. Says in lines of JSON what it hears; obeys lines on its input:
 * `publish ADDRESS`, `bury`, `find [NODE]`. Ends, with a goodbye, when its input does.
 */
import { createInterface } from "node:readline"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Connections from "@parley/core/Connections"
import { Discovery, type Host } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import { NodeId } from "@parley/core/NodeId"
import type { Query } from "@parley/core/Query"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Mdns from "../../src/Mdns.ts"

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

const now = (): number => Date.now()

const program = Effect.gen(function* () {
  const identity = Identity.generate()
  const connections = yield* Connections.make(TransportMemory.make(identity.nodeId), identity.nodeId)
  let seq = 0
  const make = (addresses: ReadonlyArray<string>) =>
    AgentRecord.make(identity, { name: "", seq: ++seq, issuedAt: now(), addresses, capabilities: [] })
  let record = make([])
  const host: Host = {
    nodeId: identity.nodeId,
    record: () => record,
    addresses: () => record.addresses,
    connections,
    isPrivate: false
  }
  const discovery = Context.get(yield* Layer.build(Mdns.layer), Discovery)
  const startedAt = now()
  const membership = yield* discovery.join(host)
  yield* Effect.forkScoped(
    Stream.runForEach(membership.changes, (found) =>
      Effect.sync(() => say({ event: "heard", ...found, at: now(), afterMs: now() - startedAt }))
    )
  )
  say({ event: "joined", node: identity.nodeId, at: now(), afterMs: now() - startedAt })
  const lines = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
  yield* Stream.runForEach(lines, (line) =>
    Effect.gen(function* () {
      const [command, ...words] = line.split(" ")
      if (command === "publish") {
        record = make(words)
        yield* membership.advertise
        say({ event: "published", at: now() })
      } else if (command === "bury") {
        record = AgentRecord.tombstone(identity, ++seq, now())
        yield* membership.advertise
      } else if (command === "find") {
        const query: Query = words[0] === undefined ? {} : { node: NodeId.make(words[0]) }
        const since = now()
        const found = yield* Stream.runCollect(membership.find(query))
        say({ event: "found", found, afterMs: now() - since })
      }
    })
  )
})

try {
  await Effect.runPromise(Effect.scoped(program))
  say({ event: "left" })
  process.exit(0)
} catch (cause) {
  say({ event: "failed", message: cause instanceof Error ? cause.message : String(cause) })
  process.exit(1)
}
