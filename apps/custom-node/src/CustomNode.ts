/**
 * The custom node: the node of `@parley/core`, with every pluggable part replaced. Nothing else of it has to change.
 */
import { join } from "node:path"
import * as Layer from "effect/Layer"
import type { Connections } from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Node from "@parley/core/Node"
import * as Strategy from "@parley/core/Strategy"
import type { TransportError } from "@parley/core/Transport"
import * as Cheapest from "./plugins/Cheapest.ts"
import * as FolderDiscovery from "./plugins/FolderDiscovery.ts"
import * as GeometricMedian from "./plugins/GeometricMedian.ts"
import * as SiteMatcher from "./plugins/SiteMatcher.ts"
import * as UnixTransport from "./plugins/UnixTransport.ts"

/** A node that meets others in a folder. */
export const layer = (options: {
  readonly name: string
  /** Where the nodes of one mesh have their sockets and records. */
  readonly folder: string
  readonly sites: SiteMatcher.Sites
}): Layer.Layer<Node.Node | Connections, TransportError> =>
  Node.layer({ name: options.name }).pipe(
    Layer.provide([
      UnixTransport.layer({ folder: join(options.folder, "sockets") }),
      FolderDiscovery.layer(join(options.folder, "records")),
      SiteMatcher.layer(options.sites),
      // To have those of `@parley/consensus` as well: Strategy.layer(Consensus.registered, Cheapest.registered, …)
      Strategy.layer(Cheapest.registered, GeometricMedian.registered)
    ]),
    Layer.provide(Identity.layerEphemeral)
  )
