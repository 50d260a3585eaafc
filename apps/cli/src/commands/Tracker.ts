/** `parley tracker`: introduces peers and relays between them, until stopped. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Connections } from "@parley/core/Connections"
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
  const settings = yield* Settings.tracker(options, "tracker.json")
  yield* Lock.hold(settings.identity)
  const context = yield* Layer.build(Tracker.layer(settings))
  const stopped = yield* Signals.claim
  yield* Effect.provide(announce(options), context)
  yield* stopped
}, Effect.scoped)
