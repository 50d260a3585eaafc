/**
 * The strategies of this package by name, for a node, for the command line, and for whoever checks a certificate.
 */
import type * as Layer from "effect/Layer"
import * as Strategy from "@parley/core/Strategy"
import * as Aggregation from "./Aggregation.ts"
import * as Selection from "./Selection.ts"

/** All of them, to be joined with your own: `Strategy.layer(Consensus.registered, myOwn)`. */
export const registered: Strategy.Registered = {
  selections: Selection.registered,
  aggregations: Aggregation.registered
}

/** The strategies of this package, and no others. */
export const layer: Layer.Layer<Strategy.Strategies> = Strategy.layer(registered)

/** The same without a layer. */
export const strategies: Strategy.Strategies["Service"] = Strategy.makeStrategies(registered)
