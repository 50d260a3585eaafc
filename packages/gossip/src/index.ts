/**
 * Gossip: overlay, broadcast, failure detection and anti-entropy, and the driver that runs them over connections.
 */
export * as AntiEntropy from "./AntiEntropy.ts"
export * as Envelope from "./Envelope.ts"
export * as Gossip from "./Gossip.ts"
export * as GossipMachine from "./GossipMachine.ts"
export * as HyParView from "./HyParView.ts"
export * as Payload from "./Payload.ts"
export * as Plumtree from "./Plumtree.ts"
export * as Statement from "./Statement.ts"
export * as Swim from "./Swim.ts"
export * as Wire from "./Wire.ts"
