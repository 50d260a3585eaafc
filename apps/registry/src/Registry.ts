/**
 * A registry in one process: its parts joined. By default everything stands in one SQLite file; `databaseUrl` takes PostgreSQL,
 * which several instances may share, and `redisUrl` lets them share presence, limits and session memory as well.
 *
 * What is not used is not loaded.
 */
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Limits } from "@parley/registry/Limits"
import type { Presence } from "@parley/registry/Presence"
import * as Server from "@parley/registry/Server"
import type { SessionMemory } from "@parley/registry/SessionMemory"
import type { Store, StoreError } from "@parley/registry/Store"

/** The file where nothing else is said, in the working folder. */
export const DEFAULT_FILE = "parley-registry.db"
/** The dashboard's prebuilt assets. */
export const DASHBOARD = fileURLToPath(new URL("../../dashboard/dist", import.meta.url))

/** How a registry is put together. */
export interface Options extends Server.Options {
  /** SQLite's file; `:memory:` forgets. Default `DEFAULT_FILE`. */
  readonly file?: string
  /** `postgres://USER:PASSWORD@HOST/DATABASE`, in place of the file. */
  readonly databaseUrl?: Redacted.Redacted
  /** `redis://HOST:PORT`, `rediss://…`. */
  readonly redisUrl?: Redacted.Redacted
}

type Storage = Store | SessionMemory
type Parts = Storage | Presence | Limits

const storage = ({ databaseUrl, file }: Options): Layer.Layer<Storage, StoreError> =>
  Layer.unwrap(
    Effect.promise(async () =>
      databaseUrl === undefined
        ? (await import("@parley/registry/StoreSqlite")).layer(file ?? DEFAULT_FILE)
        : (await import("@parley/registry/StorePostgres")).layer(databaseUrl)
    )
  )

/** What one instance keeps to itself. */
const alone = Layer.unwrap(
  Effect.promise(async () => {
    const [limits, presence] = await Promise.all([
      import("@parley/registry/LimitsMemory"),
      import("@parley/registry/PresenceMemory")
    ])
    return Layer.mergeAll(limits.layer, presence.layer)
  })
)

/** What instances share over Redis, and the store, whose commits are told there. */
const together = (url: Redacted.Redacted, options: Options): Layer.Layer<Parts, StoreError> =>
  Layer.unwrap(
    Effect.promise(async () => {
      const [link, limits, memory, presence, wake] = await Promise.all([
        import("@parley/registry/RedisLink"),
        import("@parley/registry/LimitsRedis"),
        import("@parley/registry/SessionMemoryRedis"),
        import("@parley/registry/PresenceRedis"),
        import("@parley/registry/Wake")
      ])
      return Layer.mergeAll(limits.layer, memory.layer, presence.layer, wake.overRedis).pipe(
        Layer.provide(storage(options)),
        Layer.provide(link.layer({ url: Redacted.value(url) }))
      )
    })
  )

const parts = (options: Options): Layer.Layer<Parts, StoreError> =>
  options.redisUrl === undefined ? Layer.mergeAll(storage(options), alone) : together(options.redisUrl, options)

/** A registry that serves until the layer's scope closes. */
export const layer = (options: Options = {}) =>
  Server.layer({ dashboard: DASHBOARD, ...options }).pipe(Layer.provide(parts(options)))

/** Options as environment variables give them: `DATABASE_URL`, `REDIS_URL`, `AGENT_SECRET`, `PARLEY_REGISTRY_TOKEN`. */
export const fromEnvironment = (environment: { readonly [name: string]: string | undefined }): Options => {
  const secret = (name: string): Redacted.Redacted | undefined => {
    const value = environment[name]
    return value === undefined || value === "" ? undefined : Redacted.make(value)
  }
  const databaseUrl = secret("DATABASE_URL")
  const redisUrl = secret("REDIS_URL")
  const agentSecret = secret("AGENT_SECRET")
  const operatorToken = secret("PARLEY_REGISTRY_TOKEN")
  return {
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
    ...(redisUrl === undefined ? {} : { redisUrl }),
    ...(agentSecret === undefined ? {} : { agentSecret }),
    ...(operatorToken === undefined ? {} : { operatorToken })
  }
}
