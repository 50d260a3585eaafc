/**
 * A node of the private mesh: the ordinary node of `@parley/agent` with a network key, and with every way out closed. On one machine it
 * listens on loopback, asks no tracker, and says nothing by multicast; on a network of machines it does all of that, within the private
 * ranges.
 */
import type * as Layer from "effect/Layer"
import * as Layers from "@parley/agent/Layers"
import type { Role } from "./Roles.ts"

/** The node of a role. One without a key is the same in all else. */
export const layer = ({
  lan,
  name,
  network,
  networkKey,
  peers
}: Role): Layer.Layer<Layers.Services, Layers.StartError> =>
  Layers.layer({
    name,
    peers,
    ...(lan === undefined
      ? { host: "127.0.0.1", mdns: false, trackers: [] }
      : { host: lan.host, mdns: true, trackers: lan.trackers, dht: lan.dht, perimeter: lan.perimeter }),
    ...(network === undefined ? {} : { network }),
    ...(networkKey === undefined ? {} : { networkKey })
  })
