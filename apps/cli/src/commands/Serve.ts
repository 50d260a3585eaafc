/** `parley serve`: capabilities of any program, or of a module, until stopped. */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { type Agent, start } from "@parley/agent/Agent"
import type { StartError } from "@parley/agent/Layers"
import * as Capability from "@parley/core/Capability"
import * as Mdns from "@parley/discovery/Mdns"
import { DEFAULT_PORT } from "@parley/transport-tcp/TransportTcp"
import * as CapabilityModule from "../CapabilityModule.ts"
import * as Choosing from "../Choosing.ts"
import * as ExecProgram from "../ExecProgram.ts"
import { type UsageError, usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Lists from "../Lists.ts"
import * as Lock from "../Lock.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as Signals from "../Signals.ts"

/** Programs run at once where nothing is said: each is a process, so about as many as a small machine has cores. */
export const CONCURRENCY = 4
/** Tasks that wait for a program where nothing is said: they wait in memory, and one more is countered. */
export const QUEUE = 64

/** The flags that describe what `--exec` serves. */
const describing = ["description", "tag", "feature", "meta", "cost", "latency", "concurrency", "queue"] as const

const metadata = (options: Flags.Serve): Effect.Effect<Record<string, Capability.MetadataValue>, UsageError> => {
  const made: Record<string, Capability.MetadataValue> = {}
  for (const word of options.meta) {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(word) ?? []
    if (key === undefined || value === undefined) {
      return Effect.fail(usage("BadMeta", `--meta ${JSON.stringify(word)} is no KEY=VALUE: write language=en,de`))
    }
    made[key.trim()] = value.includes(",") ? value.split(",").map(Choosing.scalar) : Choosing.scalar(value)
  }
  return Effect.succeed(made)
}

const described = Effect.fnUntraced(function* (options: Flags.Serve, id: string) {
  const meta = yield* metadata(options)
  if (Capability.parseId(id).version === undefined) {
    return yield* usage("BadCapability", `--capability ${id} names no version: write ${id}@1.0.0`)
  }
  return yield* Effect.try({
    try: () =>
      Capability.untyped(id, {
        ...(options.description === undefined ? {} : { description: options.description }),
        ...(options.tag.length === 0 ? {} : { tags: options.tag }),
        ...(options.feature.length === 0 ? {} : { features: options.feature }),
        ...(Object.keys(meta).length === 0 ? {} : { metadata: meta }),
        ...(options.cost === undefined ? {} : { cost: { usdPerCall: options.cost } }),
        ...(options.latency === undefined ? {} : { latencyMs: options.latency }),
        concurrency: options.concurrency ?? CONCURRENCY
      }),
    catch: (cause) =>
      usage(
        "BadCapability",
        `--capability ${id} cannot be described so: ${Output.oneLine(cause instanceof Error ? cause.message : String(cause))}; a name is dotted lower-case words, a version such as 1.0.0`
      )
  })
})

const times = (count: number): string => (count === 0 ? "never" : count === 1 ? "once" : `${count} times`)

const programs = Effect.fnUntraced(function* (options: Flags.Serve) {
  if (options.capability.length !== options.exec.length) {
    return yield* usage(
      "Unpaired",
      `--capability is given ${times(options.capability.length)} and --exec ${times(options.exec.length)}: each capability needs one program, in the same order`
    )
  }
  if (options.capability.length === 0 && options.module.length === 0) {
    return yield* usage(
      "NothingToServe",
      "there is nothing to serve: give --capability NAME@VERSION --exec COMMAND, or --module FILE"
    )
  }
  const idle = describing.filter((flag) => {
    const value = options[flag]
    return Array.isArray(value) ? value.length > 0 : value !== undefined
  })
  if (options.capability.length === 0 && idle.length > 0) {
    return yield* usage(
      "NothingToDescribe",
      `${idle.map((flag) => `--${flag}`).join(", ")} would do nothing: a module describes what it serves itself; these are for --exec`
    )
  }
  return yield* Effect.forEach(options.capability, (id, at) =>
    Effect.map(described(options, id), (capability) => ({ capability, command: options.exec[at] ?? "" }))
  )
})

/** Starts on the port asked for; where none was, on the usual one, or any if that is taken. */
const begin = Effect.fnUntraced(function* (options: Flags.Serve, identity: string) {
  if (options.mapPort && options.noListen)
    return yield* usage("NothingToMap", "--map-port would do nothing: with --no-listen there is no port to let through")
  const settings = yield* Settings.node(options)
  const published = yield* Settings.advertise(options)
  const [log, loggers] = [yield* References.MinimumLogLevel, yield* Logger.CurrentLoggers]
  const startAt = (port: number) =>
    Effect.tryPromise({
      try: (signal) =>
        start({
          ...settings,
          // A member of a network is that, unless it is told to act under another key.
          ...(settings.network !== undefined && options.identity === undefined ? {} : { identity }),
          log,
          loggers,
          port,
          listen: !options.noListen,
          portMapping: options.mapPort,
          ...(options.host === undefined ? {} : { host: options.host }),
          ...published,
          signal
        }),
      // What `start` throws is what its layers fail with; anything else is a defect, which is told as one.
      catch: (cause) => cause as StartError
    })
  if (options.port !== undefined) return yield* startAt(options.port)
  return yield* Effect.catchIf(
    startAt(DEFAULT_PORT),
    (error) => error._tag === "TransportError" && error.reason._tag === "ListenFailed",
    () => startAt(0)
  )
})

const serveModule = (agent: Agent, { served, setUp }: CapabilityModule.Loaded, lists: Lists.Lists) =>
  Effect.tryPromise({
    try: async () => {
      const ids: Array<string> = []
      for (const { capability, handler, options } of served) {
        const serving = await agent.serve(capability, handler, {
          ...options,
          ...lists.of(capability)
        })
        ids.push(serving.id)
      }
      await setUp?.(agent)
      return ids
    },
    catch: (cause) =>
      typeof cause === "object" && cause !== null && "_tag" in cause
        ? (cause as UsageError)
        : usage("BadModule", `the module failed: ${cause instanceof Error ? cause.message : String(cause)}`)
  })

/** Where others of the local network find this node. */
const mdnsOn = (): string => {
  const names = Mdns.interfaces()
  const wires = names.filter((name) => !/^lo\d*$/.test(name))
  return names.length === 0
    ? "no mDNS, for want of an interface"
    : `mDNS on ${(wires.length > 0 ? wires : names).join(", ")}`
}

const announce = (
  options: Flags.Serve & Flags.Common,
  agent: Agent,
  lines: ReadonlyArray<string>,
  ids: ReadonlyArray<string>,
  registry: string | undefined,
  dht: ReadonlyArray<string>
) => {
  const { addresses, fingerprint, name, nodeId } = agent
  const by = [
    ...(Settings.usesMdns(options) ? [mdnsOn()] : []),
    ...Settings.trackers(options).map((at) => `tracker ${at}`),
    ...dht.map((at) => `DHT ${at}`),
    ...(options.publicDht ? ["public DHT"] : []),
    ...(registry === undefined ? [] : [`registry ${registry}`]),
    ...Settings.peers(options).map((at) => `peer ${at}`)
  ]
  const where = addresses.length === 0 ? "accepts no connections" : `listening on ${addresses.join(", ")}`
  const text = [
    `${nodeId} ${where}  (fingerprint ${fingerprint})${by.length === 0 ? "" : `   ${by.join(", ")}`}`,
    ...lines
  ]
  const json = { node: nodeId, name, fingerprint, addresses, serving: ids }
  return options.quiet && !options.json ? Effect.void : Output.result(options, json, text.join("\n"))
}

export const run = Effect.fnUntraced(function* (options: Flags.Serve & Flags.Common) {
  const served = yield* programs(options)
  const lists = yield* Lists.read(options)
  const modules = yield* Effect.forEach(options.module, CapabilityModule.load)
  const identity = yield* Settings.ownFile(options)
  yield* Lock.hold(identity)
  const agent = yield* Effect.acquireRelease(begin(options, identity), (started) =>
    Effect.promise(() => started.close())
  )
  const concurrency = options.concurrency ?? CONCURRENCY
  const lines: Array<string> = []
  const ids: Array<string> = []
  for (const { capability, command } of served) {
    yield* agent.node.serve(capability, ExecProgram.handler(capability.id, command), {
      concurrency,
      queue: options.queue ?? QUEUE,
      ...lists.of(capability.id)
    })
    ids.push(capability.id)
    lines.push(`serving ${capability.id} with ${command}, ${concurrency} at a time`)
  }
  for (const loaded of modules) {
    yield* serveModule(agent, loaded, lists)
    const { serving } = yield* agent.node.status
    const fresh = serving.map(({ id }) => id).filter((id) => !ids.includes(id))
    ids.push(...fresh)
    lines.push(...fresh.map((id) => `serving ${id} from ${loaded.file}`))
  }
  const idle = lists.unused(yield* Effect.map(agent.node.status, ({ serving }) => serving.map(({ id }) => id)))
  if (idle !== undefined) return yield* idle
  const stopped = yield* Signals.claim
  yield* announce(options, agent, lines, ids, (yield* Settings.registry(options))?.at, yield* Settings.dht(options))
  yield* stopped
  yield* Output.note(options, "stopping: no new tasks, running ones may end")
  yield* agent.node.drain
}, Effect.scoped)
