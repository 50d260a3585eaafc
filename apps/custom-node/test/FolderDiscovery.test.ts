/** Verifies: the laws of Discovery over a discovery that was written against `@parley/core` alone. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, test } from "bun:test"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import { everything, suite } from "@parley/core/testing/DiscoverySuite"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as FolderDiscovery from "../src/plugins/FolderDiscovery.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "parley-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)
const attach = (identity: Identity.Identity["Service"], hub = TransportMemory.makeHub()) =>
  Effect.map(Connections.make(TransportMemory.make(identity.nodeId, hub), identity.nodeId), (connections) => ({
    connections,
    addresses: connections.addresses()
  }))

suite(
  { describe, test, expect },
  {
    name: "folder",
    supports: everything,
    world: Effect.map(folder, (path) => {
      const hub = TransportMemory.makeHub()
      return {
        discovery: Effect.sync(() => FolderDiscovery.make(path)),
        attach: (identity: Identity.Identity["Service"]) => attach(identity, hub)
      }
    })
  }
)

describe("FolderDiscovery", () => {
  const member = Effect.fnUntraced(function* (
    path: string,
    isPrivate = false,
    identity = Identity.generate(),
    seq = 1
  ) {
    const { addresses, connections } = yield* attach(identity)
    const record = AgentRecord.make(identity, {
      name: "x",
      seq,
      issuedAt: yield* Clock.currentTimeMillis,
      addresses,
      capabilities: [{ name: "secret.work", version: "1.0.0" }]
    })
    const host = { nodeId: identity.nodeId, record: () => record, addresses: () => addresses, connections, isPrivate }
    return { record, membership: yield* FolderDiscovery.make(path).join(host) }
  })

  test("passes over files that are broken, forged, huge, or not of the node that they are named after", () =>
    Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const path = yield* folder
          const [a, b] = [yield* member(path), yield* member(path)]
          yield* a.membership.advertise
          const put = (node: string, text: string) => writeFileSync(join(path, `${node}.json`), text)
          const stranger = () => Identity.generate().nodeId
          put(stranger(), "{")
          put(stranger(), JSON.stringify(a.record))
          put(stranger(), " ".repeat(AgentRecord.MAX_RECORD_BYTES + 1))
          put(b.record.node, JSON.stringify({ ...b.record, name: "forged" }))
          put("readme", "hello")
          const found = yield* Stream.runCollect((yield* member(path)).membership.find({}))
          expect(found.map(({ record }) => record)).toEqual([a.record])
        })
      )
    ))

  test("a node that has restarted is not withdrawn by what it was before", () =>
    Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const path = yield* folder
          const identity = Identity.generate()
          const life = yield* Effect.scope
          const newer = yield* Effect.scoped(
            Effect.gen(function* () {
              const old = yield* member(path, false, identity, 1)
              yield* old.membership.advertise
              // Outlives the old one.
              const next = yield* Scope.provide(member(path, false, identity, 2), life)
              yield* next.membership.advertise
              return next
            })
          )
          const found = yield* Stream.runCollect((yield* member(path)).membership.find({}))
          expect(found.map(({ record }) => record)).toEqual([newer.record])
        })
      )
    ))

  test("a private node's record is not put there", () =>
    Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const path = yield* folder
          const { membership, record } = yield* member(path, true)
          const error = yield* Effect.flip(membership.advertise)
          expect(error.code).toBe("Refused")
          expect(existsSync(join(path, `${record.node}.json`))).toBe(false)
          expect(readdirSync(path)).toEqual([])
        })
      )
    ))
})
