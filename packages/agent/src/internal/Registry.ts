/**
 * A registry beside the node: one more discovery, and a node that tells it what it experiences. Loaded only where one is given.
 */
import * as Layer from "effect/Layer"
import type { Discovery, DiscoveryError } from "@parley/core/Discovery"
import type { Identity } from "@parley/core/Identity"
import type { Node } from "@parley/core/Node"
import type { Strategies } from "@parley/core/Strategy"
import * as RegistryDiscovery from "@parley/registry/RegistryDiscovery"
import * as Reporter from "@parley/registry/Reporter"
import * as ReportingNode from "@parley/registry/ReportingNode"
import type { Registry } from "../Layers.ts"

/** The parts that a registry adds to a node. */
export interface Parts {
  readonly discovery: Layer.Layer<Discovery, DiscoveryError, Identity>
  /** Puts a node that tells in place of the one below it; absent where nothing is to be told. */
  readonly node: Layer.Layer<Node, DiscoveryError, Node | Identity | Strategies> | undefined
}

/** One log-in serves both. */
export const parts = (registry: Registry): Parts => {
  const client = RegistryDiscovery.layerClient(registry)
  return {
    discovery: RegistryDiscovery.layerNoDeps(registry).pipe(Layer.provide(client)),
    node:
      registry.report === false
        ? undefined
        : ReportingNode.layer(registry).pipe(Layer.provide(Reporter.layer.pipe(Layer.provide(client))))
  }
}
