/**
 * Server: a registry that answers over HTTP and WebSocket, from a store, presence, limits and session memory.
 *
 * It listens on loopback; elsewhere only where keys or a secret are asked for. When the layer's scope closes it takes no more
 * requests, ends those that are under way, and lets go of its sockets.
 */
import { createServer } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import type { ServeError } from "effect/http/HttpServerError"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Identity } from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import * as Admission from "./Admission.ts"
import * as AgentsHandlers from "./AgentsHandlers.ts"
import { Api } from "./Api.ts"
import { audiencesAt } from "./Audiences.ts"
import * as Authentication from "./Authentication.ts"
import * as AuthHandlers from "./AuthHandlers.ts"
import * as Cors from "./Cors.ts"
import * as DashboardSocket from "./DashboardSocket.ts"
import * as DiscoverHandlers from "./DiscoverHandlers.ts"
import * as Documentation from "./Documentation.ts"
import * as EventsSocket from "./EventsSocket.ts"
import * as EventsSse from "./EventsSse.ts"
import * as EventStream from "./EventStream.ts"
import * as FirstLeases from "./FirstLeases.ts"
import * as HeartbeatSocket from "./HeartbeatSocket.ts"
import * as HttpBounds from "./HttpBounds.ts"
import * as Refusals from "./internal/Refusals.ts"
import * as Who from "./internal/Who.ts"
import * as Ledger from "./Ledger.ts"
import type { Limits } from "./Limits.ts"
import * as Loopback from "./Loopback.ts"
import * as MemoryHandlers from "./MemoryHandlers.ts"
import * as Metrics from "./Metrics.ts"
import * as NodeLeases from "./NodeLeases.ts"
import * as NodesHandlers from "./NodesHandlers.ts"
import * as Pages from "./Pages.ts"
import type { Presence } from "./Presence.ts"
import { Auth } from "./Principal.ts"
import { layerReadable } from "./Problem.ts"
import * as Proxies from "./Proxies.ts"
import * as RateLimits from "./RateLimits.ts"
import * as RegistrarLive from "./RegistrarLive.ts"
import * as RegistryKey from "./RegistryKey.ts"
import * as ReputationModel from "./ReputationModel.ts"
import * as ServiceHandlers from "./ServiceHandlers.ts"
import type { SessionMemory } from "./SessionMemory.ts"
import * as Sockets from "./Sockets.ts"
import type { Store, StoreError } from "./Store.ts"
import * as TracesHandlers from "./TracesHandlers.ts"
import * as TrustHandlers from "./TrustHandlers.ts"
import * as Upkeep from "./Upkeep.ts"
import * as VerdictsHandlers from "./VerdictsHandlers.ts"
import * as World from "./World.ts"

/** Where it listens where nothing is said: where AgentMesh's agents look for a registry. */
export const DEFAULT_PORT = 8_000
export const DEFAULT_HOST = "127.0.0.1"
/** How long requests that are under way may take at the end, in milliseconds. */
export const DRAIN_MS = 2_000
/** Longest part of a path, in characters: an id of `MAX_ID_LENGTH`, each of its characters as four escaped bytes. */
export const MAX_PATH_PART = 1_536

/** The registry would serve strangers without asking who they are, or was told something that cannot be. */
export class ServerRefused extends Schema.TaggedError<ServerRefused>()("ServerRefused", { detail: Schema.String }) {
  override get message(): string {
    return this.detail
  }
}

/** How a registry is served. */
export interface Options {
  /** Default `DEFAULT_PORT`; 0: any that is free. */
  readonly port?: number
  /** Address to listen on. Default `DEFAULT_HOST`. */
  readonly host?: string
  /**
   * `open`: nobody is asked who they are, on loopback alone. `keys`: nodes prove their key. With `agentSecret` it is `secret`
   * whatever stands here. Default: `open` on loopback, `keys` elsewhere.
   */
  readonly mode?: "open" | "keys"
  /** AgentMesh's shared secret (`AGENT_SECRET`). */
  readonly agentSecret?: Redacted.Redacted
  /** What the operator shows as a token. */
  readonly operatorToken?: Redacted.Redacted
  /** Origins that this registry is reached under besides the address it listens on: `https://registry.example`. */
  readonly publicUrls?: ReadonlyArray<string>
  /** Networks of balancers and TLS terminators in front of it, whose `X-Forwarded-For` is believed: `10.0.0.0/8`. */
  readonly trustedProxies?: ReadonlyArray<string>
  /** Origins whose pages may use it, besides its own. */
  readonly corsOrigins?: ReadonlyArray<string>
  /** Folder of the dashboard's prebuilt assets. */
  readonly dashboard?: string
  /** Identities that are trusted beforehand: NodeIds. */
  readonly seeds?: ReadonlyArray<string>
  readonly rates?: RateLimits.Options
  readonly times?: HttpBounds.Times
  readonly retention?: Upkeep.Options
  /** How many agents it holds, and how many bytes of large ones. */
  readonly bounds?: World.Bounds
  /** Decides when newcomers are tried; draws in [0, 1). */
  readonly random?: () => number
}

/** A registry that runs. */
export interface Running {
  /** `http://127.0.0.1:8000`. */
  readonly url: string
  readonly port: number
  readonly mode: "open" | "keys" | "secret"
  /** Whose signature statements bear. */
  readonly nodeId: NodeId
}

/** A registry that runs, as a service. */
export class RegistryServer extends Context.Service<RegistryServer, Running>()(
  "@parley/registry/Server/RegistryServer"
) {}

const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host)

const handlers = Layer.mergeAll(
  AgentsHandlers.layer,
  AuthHandlers.layer,
  DiscoverHandlers.layer,
  MemoryHandlers.layer,
  NodesHandlers.layer,
  ServiceHandlers.layer,
  TracesHandlers.layer,
  TrustHandlers.layer,
  VerdictsHandlers.layer
)

const sockets = Layer.mergeAll(EventsSse.layer, EventsSocket.layer, DashboardSocket.layer, HeartbeatSocket.layer)

/** Everything behind the routes, but the connection to the outside. */
const knowledge = (options: Options, isOpen: boolean, audiences: () => ReadonlyArray<string>) => {
  const { agentSecret, operatorToken } = options
  const seeds = options.seeds ?? []
  const world = World.layer(() => ReputationModel.make({ seeds }), options.bounds)
  const auth = Layer.unwrap(
    Effect.map(World.World, (known) =>
      Authentication.layer({
        open: isOpen,
        audiences,
        hasAgent: (agent) => known.get(agent) !== undefined,
        ...(agentSecret === undefined ? {} : { agentSecret }),
        ...(operatorToken === undefined ? {} : { operatorToken })
      })
    )
  )
  return Layer.mergeAll(
    auth,
    RegistrarLive.layer,
    NodeLeases.layer,
    FirstLeases.layer,
    DiscoverHandlers.layerDiscovery(options.random),
    Upkeep.layer(options.retention),
    Sockets.layer
  ).pipe(
    Layer.provideMerge(Ledger.layer),
    Layer.provideMerge(Layer.mergeAll(world, Admission.layer, EventStream.layer, RegistryKey.layer))
  )
}

/** Serves a registry until the scope closes. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const host = options.host ?? DEFAULT_HOST
  const mode = options.mode ?? (Loopback.isLoopback(host) ? "open" : "keys")
  const isOpen = mode === "open" && options.agentSecret === undefined
  const refused = isOpen ? Loopback.refusesOpen([host]) : undefined
  if (refused !== undefined) return yield* new ServerRefused({ detail: refused })
  const publicUrls = options.publicUrls ?? []
  const { cors, pages, proxies } = yield* Effect.try({
    try: () => {
      audiencesAt(host, 0, publicUrls)
      return {
        cors: Cors.middleware({ open: isOpen, origins: options.corsOrigins ?? [] }),
        pages: Pages.make(options.dashboard),
        proxies: Proxies.middleware(options.trustedProxies ?? [])
      }
    },
    catch: (cause) => new ServerRefused({ detail: cause instanceof Error ? cause.message : String(cause) })
  })

  // Known in full once the port is.
  let audiences: ReadonlyArray<string> = []
  const behind = yield* Layer.build(knowledge(options, isOpen, () => audiences))
  const routes = Layer.mergeAll(
    HttpApiBuilder.layer(Api).pipe(Layer.provide(handlers), Layer.provide([Who.layer, layerReadable])),
    Documentation.layer,
    sockets,
    Metrics.layer
  ).pipe(
    Layer.provideMerge(
      Layer.provide(HttpRouter.layer, Layer.succeed(HttpRouter.RouterConfig, { maxParamLength: MAX_PATH_PART }))
    ),
    Layer.provideMerge(Layer.succeedContext(behind)),
    Layer.provideMerge(HttpServer.layerServices)
  )
  const built = yield* Layer.build(routes)
  const answered = Context.get(built, Metrics.Answered)
  const limited = RateLimits.middleware(options.rates)(Context.get(built, HttpRouter.HttpRouter).asHttpEffect())
  const settled = Refusals.middleware(pages)(limited)
  const counted = Effect.flatMap(HttpServerRequest, (request) =>
    Effect.map(settled, (response) => {
      answered.count(request.method, response.status)
      return response
    })
  )
  const app = HttpBounds.middleware(cors(proxies(counted))).pipe(Effect.provideContext(built))
  const http = yield* Layer.build(
    NodeHttpServer.layer(() => HttpBounds.answerRefused(createServer(HttpBounds.serverOptions(options.times))), {
      host,
      port: options.port ?? DEFAULT_PORT,
      gracefulShutdownTimeout: DRAIN_MS
    })
  )
  yield* Effect.provideContext(HttpServer.serveEffect(app), http)
  // First of all when it stops: the server then waits for no socket.
  yield* Effect.addFinalizer(() => Context.get(behind, Sockets.Sockets).stop)
  const { address } = Context.get(http, HttpServer.HttpServer)
  const port = "port" in address ? address.port : 0
  audiences = audiencesAt(host, port, publicUrls)
  return {
    url: `http://${bracketed(host)}:${port}`,
    port,
    mode: Context.get(behind, Auth).mode,
    nodeId: Context.get(behind, Identity).nodeId
  } satisfies Running
})

/** A registry that runs until the layer's scope closes. */
export const layer = (
  options: Options = {}
): Layer.Layer<RegistryServer, ServerRefused | ServeError | StoreError, Limits | Presence | SessionMemory | Store> =>
  Layer.effect(RegistryServer, make(options))
