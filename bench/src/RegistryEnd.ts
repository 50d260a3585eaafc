/**
 * The registry that `Registry.ts` asks, in a process of its own: over a file, with durable commits, as `parley registry` serves it; only
 * that programs of this machine may ask as often as they like.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import { Presence } from "@parley/registry/Presence"
import * as Server from "@parley/registry/Server"
import { Store } from "@parley/registry/Store"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import { obey } from "./Obey.ts"
import { manifestOf } from "./RegistryWorld.ts"

/** What it is told: start anew, with so many agents that are online. Answered by a `Started`. */
export interface RegistryOrder {
  readonly _tag: "Start"
  readonly agents: number
}

/** The registry serves. */
export interface Started {
  readonly url: string
  /** From the order until it listens, the agents being in the file. */
  readonly startMs: number
}

const ONE_HOUR_MS = 3_600_000
const BATCH = 1_000

const folder = mkdtempSync(join(tmpdir(), "parley-bench-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
const parts = Layer.mergeAll(StoreSqlite.layer(join(folder, "registry.db")), PresenceMemory.layer, LimitsMemory.layer)
const context = await Effect.runPromise(Layer.buildWithScope(parts, Scope.makeUnsafe()))
const store = Context.get(context, Store)
const presence = Context.get(context, Presence)

let registered = 0
let serving: Scope.Closeable | undefined

const fill = async (agents: number): Promise<void> => {
  for (; registered < agents; registered += BATCH) {
    const manifests = Array.from({ length: Math.min(BATCH, agents - registered) }, (_, i) => manifestOf(registered + i))
    const registeredAt = Date.now()
    const facts = manifests.map((manifest) => ({
      type: "agent.registered" as const,
      agent: { manifest, registeredAt }
    }))
    await Effect.runPromise(store.append([], () => ({ facts, claims: [] })))
    for (const { agent_id } of manifests) await Effect.runPromise(presence.open(agent_id, ONE_HOUR_MS))
  }
}

await obey<RegistryOrder>({}, async ({ agents }): Promise<Started> => {
  if (serving !== undefined) await Effect.runPromise(Scope.close(serving, Exit.void))
  await fill(agents)
  const begun = performance.now()
  serving = Scope.makeUnsafe()
  const { url } = await Effect.runPromise(
    Server.make({ port: 0, rates: { exemptLoopback: true } }).pipe(
      Effect.provideContext(context),
      Scope.provide(serving)
    )
  )
  return { url, startMs: performance.now() - begun }
})
