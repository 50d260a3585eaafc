/** `parley bridge`: AgentMesh's agents become part of the mesh, and the mesh part of theirs, until stopped. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { start } from "@parley/agent/Agent"
import type { StartError } from "@parley/agent/Layers"
import * as Identity from "@parley/core/Identity"
import * as KeyStore from "@parley/core/KeyStore"
import { Node } from "@parley/core/Node"
import * as AgentMeshBridge from "@parley/registry/AgentMeshBridge"
import * as AgentMeshRegistry from "@parley/registry/AgentMeshRegistry"
import * as Redacted from "effect/Redacted"
import { usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Lock from "../Lock.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as Signals from "../Signals.ts"

/** How the registry is told who we are: by its shared secret, by our key where it is one of Parley's, or not at all. */
const admission = Effect.fnUntraced(function* (options: Flags.Bridge, identityFile: string) {
  const secret = yield* Settings.agentSecret(options)
  if (secret !== undefined) return { secret }
  const passphrase = yield* Settings.passphrase(options)
  const seed = yield* KeyStore.loadOrCreate(
    identityFile,
    passphrase === undefined ? {} : { passphrase: Redacted.make(passphrase) }
  )
  const identity = Identity.fromSeed(seed)
  const first = yield* AgentMeshRegistry.proveKey(options.url, identity)
  if (first === undefined) return {}
  let fresh: string | undefined = first
  const token = Effect.suspend(() => {
    const given = fresh
    fresh = undefined
    return given === undefined
      ? Effect.map(AgentMeshRegistry.proveKey(options.url, identity), (again) => again ?? "")
      : Effect.succeed(given)
  })
  return { token, agentId: identity.nodeId }
})

export const run = Effect.fnUntraced(function* (options: Flags.Bridge & Flags.Common) {
  if (!URL.canParse(options.url) || !/^https?:$/.test(new URL(options.url).protocol)) {
    return yield* usage(
      "BadRegistry",
      `${JSON.stringify(options.url)} is no URL of a registry: write http://host:port or https://host`
    )
  }
  const identity = KeyStore.expand(Settings.identityFile(options, "bridge.json"))
  yield* Lock.hold(identity)
  const settings = yield* Settings.node(options)
  const published = yield* Settings.advertise(options)
  const [log, loggers] = [yield* References.MinimumLogLevel, yield* Logger.CurrentLoggers]
  const agent = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: (signal) =>
        start({
          ...settings,
          identity,
          log,
          loggers,
          port: options.port ?? 0,
          ...(options.host === undefined ? {} : { host: options.host }),
          ...published,
          signal
        }),
      // What `start` throws is what its layers fail with; anything else is a defect, which is told as one.
      catch: (cause) => cause as StartError
    }),
    (started) => Effect.promise(() => started.close())
  )
  // A registry that knows the node by its record needs another id for the agent beside it.
  const known = settings.registry !== undefined && new URL(settings.registry.at).origin === new URL(options.url).origin
  const admitted = yield* admission(options, known ? identity.replace(/(\.json)?$/, ".agentmesh.json") : identity)
  const bridge = AgentMeshBridge.layer({
    at: options.url,
    ...admitted,
    ...(options.agentId === undefined ? {} : { agentId: options.agentId }),
    inbound: options.noInbound
      ? false
      : {
          offer: options.offer,
          ...(options.wsHost === undefined ? {} : { host: options.wsHost }),
          ...(options.wsPort === undefined ? {} : { port: options.wsPort }),
          ...(options.endpoint === undefined ? {} : { advertise: options.endpoint })
        },
    ...(options.noOutbound ? { outbound: false } : {}),
    onEvent: (event) => {
      switch (event._tag) {
        case "Registered":
          return Output.noteNow(
            options,
            `registered as ${event.agent}, offering ${event.offered.length === 0 ? "nothing" : event.offered.join(", ")}`
          )
        case "Away":
          return Output.noteNow(options, `away from the registry: ${event.why}`)
        case "Joined":
          return Output.noteNow(options, `serving ${event.capability} by ${event.agent}`)
        case "Left":
          return Output.noteNow(options, `no more ${event.capability} by ${event.agent}`)
        case "TaskStarted":
        case "TaskEnded":
          return undefined
      }
    }
  })
  const context = yield* Layer.build(Layer.provide(bridge, Layer.succeed(Node, agent.node)))
  const { agentId, endpoint, offered, served } = yield* Effect.provide(AgentMeshBridge.AgentMeshBridge, context)
  const json = {
    node: agent.nodeId,
    addresses: agent.addresses,
    registry: options.url,
    agent: agentId,
    endpoint: endpoint ?? null,
    offered: offered(),
    served: served()
  }
  const text = `${agent.nodeId} bridges ${options.url} as ${agentId}${endpoint === undefined ? "" : ` (${endpoint})`}, listening on ${agent.addresses.join(", ")}`
  const stopped = yield* Signals.claim
  if (!options.quiet || options.json) yield* Output.result(options, json, text)
  yield* stopped
  yield* Output.note(options, "stopping: no new tasks, running ones may end")
}, Effect.scoped)
