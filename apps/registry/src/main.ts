/**
 * Runs a registry by itself: PARLEY_PORT (default 8000), PARLEY_HOST, PARLEY_FILE, DATABASE_URL, REDIS_URL, AGENT_SECRET and
 * PARLEY_REGISTRY_TOKEN say how. The `parley registry` command does the same with flags.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { RegistryServer } from "@parley/registry/Server"
import * as Registry from "./Registry.ts"

const { PARLEY_FILE: file, PARLEY_HOST: host, PARLEY_PORT: port } = process.env

const announce = Effect.flatMap(RegistryServer, ({ mode, url }) =>
  Effect.sync(() => process.stdout.write(`registry at ${url} (${mode})\n`))
)

Layer.effectDiscard(announce).pipe(
  Layer.provide(
    Registry.layer({
      ...Registry.fromEnvironment(process.env),
      ...(file === undefined ? {} : { file }),
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port: Number(port) })
    })
  ),
  Layer.launch,
  NodeRuntime.runMain
)
