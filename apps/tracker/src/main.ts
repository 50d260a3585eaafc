/**
 * Runs a tracker by itself: PARLEY_PORT (default 7878), PARLEY_HOST, PARLEY_IDENTITY and PARLEY_NETWORK_KEY say how. The
 * `parley tracker` command does the same with flags.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Connections } from "@parley/core/Connections"
import * as Tracker from "./Tracker.ts"

const { PARLEY_HOST: host, PARLEY_IDENTITY: identity, PARLEY_NETWORK_KEY: networkKey, PARLEY_PORT: port } = process.env

const announce = Effect.flatMap(Connections, (connections) =>
  Effect.sync(() =>
    process.stdout.write(`${connections.nodeId} tracker and relay on ${connections.addresses().join(", ")}\n`)
  )
)

Layer.effectDiscard(announce).pipe(
  Layer.provide(
    Tracker.layer({
      ...(port === undefined ? {} : { port: Number(port) }),
      ...(host === undefined ? {} : { host }),
      ...(identity === undefined ? {} : { identity }),
      ...(networkKey === undefined ? {} : { networkKey })
    })
  ),
  Layer.launch,
  NodeRuntime.runMain
)
