/** `parley dht`: a node of an own DHT to begin with, which introduces and relays at the same port, until stopped. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NetworkFolder from "@parley/agent/NetworkFolder"
import * as NetworkKey from "@parley/agent/NetworkKey"
import { Connections } from "@parley/core/Connections"
import { fingerprint } from "@parley/core/NodeId"
import * as Perimeter from "@parley/core/Perimeter"
import * as Dht from "@parley/discovery/Dht"
import * as Tracker from "@parley/tracker/Tracker"
import { DEFAULT_PORT } from "@parley/transport-tcp/TransportTcp"
import type * as Flags from "../Flags.ts"
import * as Lock from "../Lock.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as Signals from "../Signals.ts"

const announce = (options: Flags.Dht & Flags.Common, connections: Connections["Service"], port: number) => {
  const { nodeId } = connections
  const addresses = connections.addresses()
  const json = { node: nodeId, fingerprint: fingerprint(nodeId), addresses, udp: port }
  const text = `${nodeId} DHT node on UDP port ${port}, tracker and relay on ${addresses.join(", ")}  (fingerprint ${json.fingerprint})`
  return options.quiet && !options.json ? Effect.void : Output.result(options, json, text)
}

/** The port of the first address. */
const portOf = (addresses: ReadonlyArray<string>): number => Number(/:(\d+)$/.exec(addresses[0] ?? "")?.[1] ?? 0)

export const run = Effect.fnUntraced(function* (options: Flags.Dht & Flags.Common) {
  const settings = yield* Settings.tracker(options, "dht.json")
  yield* Lock.hold(settings.identity)
  const bootstrap = yield* Settings.dht(options)
  const { network: folder, networkKey: path } = settings
  const networkKey =
    folder !== undefined
      ? yield* NetworkFolder.keyOf(folder)
      : path === undefined
        ? undefined
        : yield* NetworkKey.load(path)
  const context = yield* Layer.build(Tracker.layer(settings))
  const stopped = yield* Signals.claim
  yield* Effect.gen(function* () {
    const connections = yield* Connections
    const { address } = yield* Dht.serve({
      bootstrap,
      // The same number for both, so that one `HOST:PORT` names the DHT node and the relay.
      port: options.port === 0 ? portOf(connections.addresses()) : (options.port ?? DEFAULT_PORT),
      ...(options.host === undefined ? {} : { host: options.host }),
      ...(networkKey === undefined ? {} : { networkKey })
    })
    yield* announce(options, connections, address.port)
  }).pipe(Effect.provide(context), folder === undefined ? (effect) => effect : Effect.provide(Perimeter.layerClosed))
  yield* stopped
}, Effect.scoped)
