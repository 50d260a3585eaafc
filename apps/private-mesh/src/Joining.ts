/**
 * A node of the private mesh: the ordinary node of `@parley/agent` with a network key, and with every way out closed. It
 * listens on loopback, asks no tracker, and says nothing by multicast.
 */
import type * as Layer from "effect/Layer"
import * as Layers from "@parley/agent/Layers"
import type { Role } from "./Roles.ts"

/** The node of a role. One without a key is the same in all else. */
export const layer = ({ name, networkKey, peers }: Role): Layer.Layer<Layers.Services, Layers.StartError> =>
  Layers.layer({
    name,
    host: "127.0.0.1",
    mdns: false,
    trackers: [],
    peers,
    ...(networkKey === undefined ? {} : { networkKey })
  })
