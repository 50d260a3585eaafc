/**
 * AgentMeshBridge: a node of the mesh among AgentMesh's agents, with nothing changed in these.
 *
 * - Outbound: agents of the registry become capabilities of the node, so that any node calls a Python agent like any other one.
 * - Inbound: the node registers as an AgentMesh agent with a task socket, so that a Python agent calls the mesh like any other agent.
 *
 * The registry may be Parley's or AgentMesh's own. It may come and go: the bridge registers again by itself.
 *
 * ```ts
 * const bridge = AgentMeshBridge.layer({ at: "http://127.0.0.1:8000" })   // over a Node
 * ```
 */
import { networkInterfaces } from "node:os"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { CapabilityRecord } from "@parley/core/Capability"
import { Node } from "@parley/core/Node"
import * as Caller from "./AgentMeshCaller.ts"
import * as Endpoint from "./AgentMeshEndpoint.ts"
import type { AgentMeshError } from "./AgentMeshError.ts"
import * as Inbound from "./AgentMeshInbound.ts"
import * as Listener from "./AgentMeshListener.ts"
import * as Outbound from "./AgentMeshOutbound.ts"
import * as Registry from "./AgentMeshRegistry.ts"
import { MAX_NAME_LENGTH } from "./Model.ts"

/** How often the registry's agents are looked at where nothing is said, in milliseconds. */
export const POLL_MS = 2_000
/** Pauses between attempts to register, in milliseconds; the last one is repeated. */
export const PAUSES_MS: ReadonlyArray<number> = [500, 1_000, 2_000, 5_000, 10_000, 30_000]
/** Traces and reports that wait to be sent; the oldest go first. */
export const MAX_WAITING = 1_000
/** How long saying goodbye may take, in milliseconds. */
const GOODBYE_MS = 2_000
/** How long a search for what others of the mesh offer may take, in milliseconds. */
const SEARCH_MS = 1_000

/** How a node stands among AgentMesh's agents. */
export interface Options {
  /** The registry's URL: `http://host:port`. */
  readonly at: string
  /** Default: `parley-` and the end of the NodeId. */
  readonly agentId?: string
  /** Default: the node's name. */
  readonly name?: string
  /** AgentMesh's shared secret (`AGENT_SECRET`), where the registry asks for one. */
  readonly secret?: string
  /** A bearer token instead, asked for when there is none, or the last one was refused. */
  readonly token?: Effect.Effect<string, AgentMeshError>
  /** Called by AgentMesh's agents; `false`: not at all. */
  readonly inbound?:
    | false
    | {
        /** Interface of the task socket. Default: `127.0.0.1`. */
        readonly host?: string
        /** Port of the task socket. Default: any free one. */
        readonly port?: number
        /** The endpoint that is registered, where it is another: `wss://agents.example`. */
        readonly advertise?: string
        /** Names of capabilities (`text.count`, `text.*`) of the whole mesh. Default: what this node serves itself. */
        readonly offer?: ReadonlyArray<string>
        /** Tasks at once. */
        readonly tasks?: number
      }
  /** Calls AgentMesh's agents; `false`: not at all. */
  readonly outbound?:
    | false
    | {
        /** Whether an agent's capability is served, by the name that the agent gave it. Default: every one. */
        readonly accepts?: Outbound.Options["accepts"]
        /** What an answer is worth. Default: 1, since it came, and in time. */
        readonly evaluate?: Outbound.Options["evaluate"]
        /** How near agents' endpoints may be. Default: as near as the registry. */
        readonly reach?: Endpoint.Reach
      }
  /** How often the registry is looked at, in milliseconds. */
  readonly pollMs?: number
  /** Hears what happens. */
  readonly onEvent?: (event: BridgeEvent) => void
}

/** What happens at a bridge. */
export type BridgeEvent =
  | { readonly _tag: "Registered"; readonly agent: string; readonly offered: ReadonlyArray<string> }
  /** The registry has lost us, or we it. */
  | { readonly _tag: "Away"; readonly why: string }
  | { readonly _tag: "Joined" | "Left"; readonly agent: string; readonly capability: string }
  | { readonly _tag: "TaskStarted"; readonly task: string }
  | { readonly _tag: "TaskEnded"; readonly task: string }

/** A node among AgentMesh's agents. */
export class AgentMeshBridge extends Context.Service<
  AgentMeshBridge,
  {
    readonly agentId: string
    /** Where AgentMesh's agents call it; absent without an inbound side. */
    readonly endpoint: string | undefined
    /** Whether the registry knows it now. */
    readonly isRegistered: () => boolean
    /** Names offered to AgentMesh's agents. */
    readonly offered: () => ReadonlyArray<string>
    /** AgentMesh's agents, as capabilities of this node. */
    readonly served: Outbound.Outbound["served"]
  }
>()("@parley/registry/AgentMeshBridge") {}

/** The address under which others of a network reach a socket that listens on all interfaces. */
const ownAddress = (): string =>
  Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1"

const endpointOf = (host: string, port: number): string => {
  const reached = host === "0.0.0.0" || host === "::" ? ownAddress() : host
  return `ws://${reached.includes(":") ? `[${reached}]` : reached}:${port}`
}

/** How often, and after how many milliseconds, a changed registration is tried again while the old one still stands. */
const AGAIN = 20
const AGAIN_MS = 100

const isConflict = (registered: Result.Result<void, AgentMeshError>): boolean =>
  Result.isFailure(registered) && registered.failure.code === "Conflict"

/** Whether trying again may help. */
const passes = (error: AgentMeshError): boolean => error.code === "Unreachable" || error.code === "Conflict"

const inbound = Effect.fnUntraced(function* (
  options: Options,
  settings: Exclude<NonNullable<Options["inbound"]>, false>,
  agentId: string,
  registry: Registry.AgentMeshRegistry,
  emit: (event: BridgeEvent) => void
) {
  const node = yield* Node
  let offer: Inbound.Offer = new Map()
  let heartbeat: Registry.Heartbeat | undefined
  let isRegistered = false

  const listener = yield* Listener.make({
    agentId,
    ...(settings.host === undefined ? {} : { host: settings.host }),
    ...(settings.port === undefined ? {} : { port: settings.port }),
    ...(settings.tasks === undefined ? {} : { tasks: settings.tasks }),
    latencyMs: (name) => offer.get(name)?.latencyMs ?? 0,
    onStart: (task) => {
      heartbeat?.taskStarted(task)
      emit({ _tag: "TaskStarted", task })
    },
    onEnd: (task, elapsedMs) => {
      heartbeat?.taskEnded(task, elapsedMs)
      emit({ _tag: "TaskEnded", task })
    },
    run: Inbound.runOn(node, () => offer)
  })
  const endpoint = settings.advertise ?? endpointOf(settings.host ?? "127.0.0.1", listener.port)

  const look = Effect.gen(function* () {
    if (settings.offer === undefined) return Inbound.offerOf(node.record().capabilities)
    const found: Array<CapabilityRecord> = []
    for (const name of settings.offer) {
      found.push(...node.record().capabilities.filter((capability) => isNamed(name, capability.name)))
      const matches = yield* Effect.result(node.discover({ name }, { within: SEARCH_MS }))
      if (Result.isSuccess(matches)) found.push(...matches.success.map(({ capability }) => capability))
    }
    return Inbound.offerOf(found)
  })

  const register = Effect.suspend(() =>
    registry.register({
      agent_id: agentId,
      name: (options.name ?? node.name).slice(0, MAX_NAME_LENGTH),
      version: "0.1.0",
      description: `A node of a Parley mesh, ${node.nodeId}`,
      capabilities: Inbound.capabilitiesOf(offer),
      mcp_servers: [],
      max_concurrent_tasks: settings.tasks ?? Listener.DEFAULT_TASKS,
      endpoint,
      tags: [Outbound.BRIDGE_TAG]
    })
  )

  const first = yield* Deferred.make<void, AgentMeshError>()
  /** Registered and seen, until the connection ends or what is offered has changed. */
  const stay = Effect.gen(function* () {
    const beat = yield* registry.heartbeat
    heartbeat = beat
    isRegistered = true
    emit({ _tag: "Registered", agent: agentId, offered: [...offer.keys()] })
    yield* Deferred.succeed(first, undefined)
    const changed = Effect.gen(function* () {
      const before = JSON.stringify(Inbound.capabilitiesOf(offer))
      for (;;) {
        yield* Effect.sleep(options.pollMs ?? POLL_MS)
        const next = yield* look
        const differs = JSON.stringify(Inbound.capabilitiesOf(next)) !== before
        offer = next
        if (differs) return "what is offered has changed"
      }
    })
    return yield* Effect.raceFirst(beat.beat, changed).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          heartbeat = undefined
          isRegistered = false
          beat.close()
        })
      )
    )
  })

  let failures = 0
  let known = false
  /** What the registry shows of us. */
  let shown: string | undefined
  const round = Effect.gen(function* () {
    offer = yield* look
    const offered = JSON.stringify(Inbound.capabilitiesOf(offer))
    let registered = yield* Effect.result(register)
    // The registry may not have seen yet that the last connection has ended.
    const times = known && offered !== shown ? AGAIN : 0
    for (let again = 0; again < times && isConflict(registered); again++) {
      yield* Effect.sleep(AGAIN_MS)
      registered = yield* Effect.result(register)
    }
    // Known to the registry as it is, and not yet taken for offline there: the heartbeat is what counts.
    if (Result.isFailure(registered) && !(isConflict(registered) && offered === shown)) {
      return yield* registered.failure
    }
    shown = offered
    known = true
    failures = 0
    emit({ _tag: "Away", why: yield* stay })
  })
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.catch(round, (error) =>
        Effect.gen(function* () {
          if (!passes(error) && !known) yield* Deferred.fail(first, error)
          if (failures === 0) {
            yield* Effect.logWarning(`not registered at ${registry.at} yet: ${error.detail}`)
            emit({ _tag: "Away", why: error.detail })
          }
          // Whoever waits for the bridge waits for one answer, not for the registry.
          yield* Deferred.succeed(first, undefined)
          yield* Effect.sleep(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 30_000)
          failures += 1
        })
      )
    )
  )
  yield* Effect.addFinalizer(() =>
    known ? registry.deregister.pipe(Effect.timeoutOption(GOODBYE_MS), Effect.ignore) : Effect.void
  )
  yield* Deferred.await(first)
  return { endpoint, isRegistered: () => isRegistered, offered: () => [...offer.keys()] }
})

const isNamed = (pattern: string, name: string): boolean =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name

const outbound = Effect.fnUntraced(function* (
  options: Options,
  settings: Exclude<NonNullable<Options["outbound"]>, false>,
  agentId: string,
  registry: Registry.AgentMeshRegistry,
  emit: (event: BridgeEvent) => void
) {
  const node = yield* Node
  const reach = settings.reach ?? (yield* Endpoint.reachOfUrl(registry.at))
  const caller = yield* Caller.make({ requester: agentId, resolve: Endpoint.resolver(reach) })
  const waiting = yield* Queue.sliding<Effect.Effect<void, AgentMeshError>>(MAX_WAITING)
  let told = false
  const send = (effect: Effect.Effect<void, AgentMeshError>) =>
    Effect.catch(effect, (error) => {
      if (told) return Effect.void
      told = true
      return Effect.logWarning(`traces and reports do not reach ${registry.at}: ${error.detail}`)
    })
  yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(waiting), send)))
  const side = yield* Outbound.make({
    node,
    registry,
    caller,
    requester: agentId,
    ...(settings.accepts === undefined ? {} : { accepts: settings.accepts }),
    ...(settings.evaluate === undefined ? {} : { evaluate: settings.evaluate }),
    background: (effect) => void Queue.offerUnsafe(waiting, effect),
    onJoined: (agent, capability) => emit({ _tag: "Joined", agent, capability }),
    onLeft: (agent, capability) => emit({ _tag: "Left", agent, capability })
  })
  let reachable = true
  const look = Effect.gen(function* () {
    const agents = yield* Effect.result(registry.agents)
    if (Result.isSuccess(agents)) {
      reachable = true
      return yield* side.update(agents.success)
    }
    // A registry that is away takes nobody with it: agents are where they were.
    if (reachable) yield* Effect.logWarning(`agents of ${registry.at} cannot be listed: ${agents.failure.detail}`)
    reachable = false
  })
  yield* look
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(options.pollMs ?? POLL_MS), look)))
  return side
})

/** Joins a node and a registry until the scope closes. */
export const make = (options: Options): Effect.Effect<AgentMeshBridge["Service"], AgentMeshError, Node | Scope.Scope> =>
  Effect.gen(function* () {
    const node = yield* Node
    const agentId = options.agentId ?? `parley-${node.nodeId.slice(-8)}`
    const emit = options.onEvent ?? (() => undefined)
    const registry = yield* Registry.make({
      at: options.at,
      agentId,
      ...(options.secret === undefined ? {} : { secret: options.secret }),
      ...(options.token === undefined ? {} : { token: options.token })
    })
    // The inbound side is first: a registry that asks for a secret knows us then.
    const into =
      options.inbound === false ? undefined : yield* inbound(options, options.inbound ?? {}, agentId, registry, emit)
    const out =
      options.outbound === false ? undefined : yield* outbound(options, options.outbound ?? {}, agentId, registry, emit)
    return {
      agentId,
      endpoint: into?.endpoint,
      isRegistered: into?.isRegistered ?? (() => false),
      offered: into?.offered ?? (() => []),
      served: out?.served ?? (() => [])
    }
  })

/** A node among AgentMesh's agents. Fails where the registry does not let it in; waits where it is not there yet. */
export const layer = (options: Options): Layer.Layer<AgentMeshBridge, AgentMeshError, Node> =>
  Layer.effect(AgentMeshBridge, make(options))
