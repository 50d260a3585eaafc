/** `parley registry`: a registry and its page, until stopped. */
import { join, resolve } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { parse } from "@parley/core/NodeId"
import * as Registry from "@parley/registry-app/Registry"
import * as Audiences from "@parley/registry/Audiences"
import * as Loopback from "@parley/registry/Loopback"
import { DEFAULT_HOST, DEFAULT_PORT, RegistryServer, type Running } from "@parley/registry/Server"
import { type UsageError, usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Lock from "../Lock.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as Signals from "../Signals.ts"

/** The data file's name in `PARLEY_HOME`. */
const DATA = "registry.db"

const modes: { readonly [mode in Running["mode"]]: string } = {
  open: "open: nobody is asked who they are, so it listens on this machine only",
  keys: "nodes prove their keys",
  secret: "nodes prove their keys, AgentMesh's agents know the secret"
}

const check = (options: Flags.Registry): Effect.Effect<void, UsageError> => {
  if (options.open && options.keys) {
    return Effect.fail(usage("Contradiction", "--open asks nobody who they are, and --keys everybody: leave one out"))
  }
  const stranger = options.seed.find((seed) => parse(seed) === undefined)
  return stranger === undefined
    ? Effect.void
    : Effect.fail(usage("BadNode", `--seed ${JSON.stringify(stranger)} is no NodeId: parley id prints one (z6Mk…)`))
}

/** What keeps a registry from starting, as something to be done about it. */
const explain = (options: Flags.Registry) => (error: { readonly _tag: string; readonly message: string }) => {
  if (error._tag === "ServerRefused")
    return usage("Refused", options.open ? `${error.message} (--keys in place of --open)` : error.message)
  if (error._tag !== "ServeError") return error
  const cause = "cause" in error ? error.cause : undefined
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  const { host = DEFAULT_HOST, port = DEFAULT_PORT } = options
  return code === "EADDRINUSE"
    ? usage(
        "PortInUse",
        `port ${port} of ${host} is in use: choose another one with --port, or stop what listens there`
      )
    : usage(
        "CannotListen",
        `cannot listen on port ${port} of ${host}: ${cause instanceof Error ? cause.message : String(cause)}`
      )
}

const dataInUse = (file: string, pid: number): UsageError =>
  usage(
    "DataInUse",
    `the data file ${file} is in use by process ${pid}: stop it, or name another file with --data FILE`
  )

/** Where others find it: nobody can dial the address that stands for all of this machine's. */
const reached = ({ host = DEFAULT_HOST, publicUrl }: Flags.Registry, { port, url }: Running): string =>
  Audiences.audiencesAt(host, port, publicUrl).find((each) => !Loopback.isLoopback(new URL(each).hostname)) ?? url

const announce = (options: Flags.Registry & Flags.Common, running: Running, data: string, storage: string) => {
  const { mode, nodeId, url } = running
  const at = reached(options, running)
  const json = {
    url,
    node: nodeId,
    addresses: [url],
    mode,
    storage,
    data,
    redis: process.env["REDIS_URL"] !== undefined && process.env["REDIS_URL"] !== "",
    page: `${at}/`,
    docs: `${at}/docs`
  }
  const text = [
    `registry at ${url}  (${modes[mode]})`,
    `page ${json.page}   API ${json.docs}   data in ${data}`,
    `agents join it with --registry ${at}`
  ]
  return options.quiet && !options.json ? Effect.void : Output.result(options, json, text.join("\n"))
}

export const run = Effect.fnUntraced(function* (options: Flags.Registry & Flags.Common) {
  yield* check(options)
  const environment = Registry.fromEnvironment(process.env)
  const file = resolve(options.data ?? join(Settings.home(), DATA))
  const isFile = environment.databaseUrl === undefined
  if (!isFile && options.data !== undefined) {
    return yield* usage("Contradiction", "--data names a file, and DATABASE_URL a database: leave one out")
  }
  if (isFile) yield* Lock.hold(file, dataInUse)
  const registry = Registry.layer({
    ...environment,
    file,
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.open ? { mode: "open" as const } : options.keys ? { mode: "keys" as const } : {}),
    seeds: options.seed.map((seed) => parse(seed) ?? seed),
    corsOrigins: options.cors,
    publicUrls: options.publicUrl,
    trustedProxies: options.trustedProxy
  })
  const context = yield* Effect.mapError(Layer.build(registry), explain(options))
  const running = Context.get(context, RegistryServer)
  const stopped = yield* Signals.claim
  yield* announce(options, running, isFile ? file : "PostgreSQL (DATABASE_URL)", isFile ? "sqlite" : "postgres")
  yield* stopped
  yield* Output.note(options, "stopping: no new requests, those under way may end")
}, Effect.scoped)
