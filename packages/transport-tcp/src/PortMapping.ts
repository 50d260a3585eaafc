/**
 * Port mapping: asks this machine's router to let one port through, by NAT-PMP (RFC 6886), else by UPnP (IGD 2), so that others
 * reach this node from outside without a relay.
 *
 * ```ts
 * TransportTcp.layer({ port: 7878, portMapping: true })
 * ```
 *
 * Only this machine's router is asked and believed. A lease is kept while the node listens and given back when it stops; where
 * it cannot be given back, the router forgets it within `LEASE_MS`.
 */
import { BlockList, isIPv4 } from "node:net"

/** How long the router shall keep a mapping that is not renewed, in ms. UPnP's least here; renewed at half. */
export const LEASE_MS = 3_600_000
/** Shortest lease that is believed, in ms: a router that grants less is asked no more often than each 30 s for it. */
export const MIN_LEASE_MS = 60_000
/** Pause after a router did not map the port, in ms; a change of network ends it. */
export const RETRY_MS = 600_000
/** Pause after it did not renew a lease that still holds, in ms. */
export const RENEW_AGAIN_MS = 60_000
/** How long NAT-PMP is waited for, in ms, attempt by attempt: datagrams get lost (RFC 6886, 3.1, begins so, and goes on longer). */
export const PMP_WAITS_MS: ReadonlyArray<number> = [500, 1_000, 2_000]
/** How long a router may take to answer a search for UPnP, in ms. */
export const SEARCH_MS = 3_000
/** How long it may take for one thing that it is asked over UPnP, in ms. */
export const UPNP_MS = 5_000
/** How long a node that stops waits for the router to take the mapping back, in ms. */
export const CLOSE_MS = 1_000

/** What was spoken with the router. */
export type Protocol = "NAT-PMP" | "UPnP"

/** A port of the router that leads to one of this machine. */
export interface Mapping {
  readonly protocol: Protocol
  /** The router's address here. */
  readonly gateway: string
  /** This machine's address there, and the port. */
  readonly local: { readonly host: string; readonly port: number }
  /** Where others reach it. */
  readonly external: { readonly host: string; readonly port: number }
  /** How long the router keeps it, in ms. */
  readonly leaseMs: number
}

/**
 * Why no port is mapped.
 *
 * - `ClosedPerimeter`: the node keeps to private networks, and a mapped port would let others in.
 * - `NoRouter`: this machine has no private IPv4 address with a router behind it; where its address is public, nothing is needed.
 * - `NoAnswer`: the router speaks neither NAT-PMP nor UPnP, or has them switched off.
 * - `SharedAddress`: the router's own outer address is private, or its provider's: another router is in front of it.
 */
export type Reason = "ClosedPerimeter" | "NoRouter" | "NoAnswer" | "SharedAddress"

/** No port is mapped; the node goes on without. */
export class PortMappingError extends Error {
  readonly _tag = "PortMappingError"
  override readonly name = "PortMappingError"
  readonly reason: Reason

  constructor(reason: Reason, message: string) {
    super(message)
    this.reason = reason
  }
}

const inner = new BlockList()
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  // A provider's, which many customers share (RFC 6598).
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["224.0.0.0", 3]
] as const)
  inner.addSubnet(network, prefix, "ipv4")

/** Whether an outer address may be reached from everywhere: an IPv4 address that is neither private nor a provider's. */
export const isPublic = (host: string): boolean => isIPv4(host) && !inner.check(host, "ipv4")
