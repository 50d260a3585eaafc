/** `parley tracker`: introduces peers and relays between them, until stopped. */
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Connections } from "@parley/core/Connections"
import * as KeyStore from "@parley/core/KeyStore"
import { fingerprint } from "@parley/core/NodeId"
import * as Tracker from "@parley/tracker/Tracker"
import type * as Flags from "../Flags.ts"
import * as Lock from "../Lock.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as Signals from "../Signals.ts"

const announce = Effect.fnUntraced(function* (options: Flags.Tracker & Flags.Common) {
  const connections = yield* Connections
  const { nodeId } = connections
  const addresses = connections.addresses()
  const json = { node: nodeId, fingerprint: fingerprint(nodeId), addresses }
  const text = `${nodeId} tracker and relay on ${addresses.join(", ")}  (fingerprint ${json.fingerprint})`
  if (!options.quiet || options.json) yield* Output.result(options, json, text)
})

export const run = Effect.fnUntraced(function* (options: Flags.Tracker & Flags.Common) {
  const network = yield* Settings.network(options)
  const identity =
    network === undefined
      ? KeyStore.expand(Settings.identityFile(options, "tracker.json"))
      : join(network, "identity.json")
  yield* Lock.hold(identity)
  const passphrase = yield* Settings.passphrase(options)
  const networkKey = Settings.networkKey(options)
  const tracker = Tracker.layer({
    identity,
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(networkKey === undefined ? {} : { networkKey }),
    ...(network === undefined ? {} : { network }),
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.advertise.length === 0 ? {} : { advertise: options.advertise })
  })
  const context = yield* Layer.build(tracker)
  yield* Effect.provide(announce(options), context)
  yield* Signals.stop
}, Effect.scoped)
