/**
 * The registry that `Registry.ts` asks, in a process of its own: over a file, with durable commits, as `parley registry` serves it; only
 * that nobody is asked less often.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { RegistryServer } from "@parley/registry/Server"
import * as Server from "@parley/registry/Server"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import { Presence } from "@parley/registry/Presence"
import { obey } from "./Obey.ts"
import { manifestOf } from "./RegistryWorld.ts"

/** What it is told: register so many agents, and keep them online. Answered by null. */
export interface RegistryOrder {
  readonly _tag: "Fill"
  readonly from: number
  readonly to: number
}

const ONE_HOUR_MS = 3_600_000
const LANES = 64

const folder = mkdtempSync(join(tmpdir(), "parley-bench-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
const scope = Scope.makeUnsafe()
const served = Server.layer({ port: 0, rates: { exemptLoopback: true } }).pipe(
  Layer.provideMerge(
    Layer.mergeAll(StoreSqlite.layer(join(folder, "registry.db")), PresenceMemory.layer, LimitsMemory.layer)
  )
)
const context = await Effect.runPromise(Layer.buildWithScope(served, scope))
const { url } = Context.get(context, RegistryServer)
const presence = Context.get(context, Presence)

const register = async (agent: number): Promise<void> => {
  const manifest = manifestOf(agent)
  const response = await fetch(`${url}/agents/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(manifest)
  })
  await response.arrayBuffer()
  if (response.status !== 200) throw new Error(`registering ${manifest.agent_id}: ${response.status}`)
  await Effect.runPromise(presence.open(manifest.agent_id, ONE_HOUR_MS))
}

await obey<RegistryOrder>({ url }, async ({ from, to }) => {
  let next = from
  await Promise.all(
    Array.from({ length: LANES }, async () => {
      while (next < to) await register(next++)
    })
  )
  return null
})
await Effect.runPromise(Scope.close(scope, Exit.void))
