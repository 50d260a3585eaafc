/**
 * A registry beside the node: one more discovery, and a node that tells it what it experiences. Loaded only where one is given.
 */
import * as Layer from "effect/Layer"
import type { Discovery, DiscoveryError } from "@parley/core/Discovery"
import type { Identity } from "@parley/core/Identity"
import type { Node } from "@parley/core/Node"
import type { Strategies } from "@parley/core/Strategy"
import type { Trust } from "@parley/core/Trust"
import * as RegistryDiscovery from "@parley/registry/RegistryDiscovery"
import * as RegistryTrust from "@parley/registry/RegistryTrust"
import * as Reporter from "@parley/registry/Reporter"
import * as ReportingNode from "@parley/registry/ReportingNode"
import type { Registry } from "../Layers.ts"

/** The parts that a registry adds to a node. */
export interface Parts {
  readonly discovery: Layer.Layer<Discovery, DiscoveryError, Identity>
  /** Puts a node that tells in place of the one below it; absent where nothing is to be told. */
  readonly node: Layer.Layer<Node, DiscoveryError, Node | Identity | Strategies> | undefined
  /** Puts trust that begins where the registry says in place of the one below it; absent where it is not believed. */
  readonly trust: Layer.Layer<Trust, DiscoveryError, Trust | Identity> | undefined
}

/** One log-in serves all. */
export const parts = (registry: Registry): Parts => {
  const client = RegistryDiscovery.layerClient(registry)
  const { trust: weight = 0 } = registry
  const view = RegistryTrust.layerView().pipe(Layer.provide(client))
  const discovery = RegistryDiscovery.layerNoDeps(registry).pipe(Layer.provide(client))
  return {
    discovery: weight > 0 ? RegistryTrust.layerDiscovery.pipe(Layer.provide([discovery, view])) : discovery,
    trust: weight > 0 ? RegistryTrust.layerTrust(Math.min(weight, 1)).pipe(Layer.provide(view)) : undefined,
    node:
      registry.report === false
        ? undefined
        : ReportingNode.layer(registry).pipe(Layer.provide(Reporter.layer.pipe(Layer.provide(client))))
  }
}
