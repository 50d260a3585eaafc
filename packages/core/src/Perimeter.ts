/**
 * Perimeter: which hosts this node may send anything to.
 *
 * Everything that opens a socket asks it before it does: transports before they dial, discoveries before they send. Without a
 * layer it lets everything through. `closed` keeps a node within private networks: loopback, RFC 1918, link-local and unique
 * local addresses (RFC 6890, RFC 4193), and multicast that no router passes on. A host's name is refused there, since asking
 * a resolver would already leave the network.
 */
import { BlockList, isIP } from "node:net"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"

/** Which hosts may be sent to. */
export interface Rules {
  /** For messages: `anywhere`, `private networks`. */
  readonly name: string
  /** Whether anything may be sent to this host: an IP address without brackets, or a name. */
  readonly allows: (host: string) => boolean
}

const inside = new BlockList()
for (const [network, prefix] of [
  ["127.0.0.0", 8],
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["169.254.0.0", 16],
  ["224.0.0.0", 24]
] as const)
  inside.addSubnet(network, prefix, "ipv4")
for (const [network, prefix] of [
  ["::1", 128],
  ["fe80::", 10],
  ["fc00::", 7],
  ["ff01::", 16],
  ["ff02::", 16]
] as const)
  inside.addSubnet(network, prefix, "ipv6")

/** Longest host that is looked at, in characters: an IPv6 address (45), and the name of an interface. */
const MAX_HOST_LENGTH = 128
/** The interface behind an IPv6 address (RFC 4007, 11). IPv4 has none. */
const zone = /(?<=:[^%]*)%[\w.-]+$/

/** Lets everything through. */
export const open: Rules = { name: "anywhere", allows: () => true }

/** Private networks alone. */
export const closed: Rules = {
  name: "private networks",
  allows: (host) => {
    if (host.length > MAX_HOST_LENGTH) return false
    const address = host.replace(zone, "")
    const family = isIP(address)
    return family !== 0 && inside.check(address, family === 4 ? "ipv4" : "ipv6")
  }
}

/** The perimeter in force; everywhere where a deployment gives none. */
export const Perimeter: Context.Reference<Rules> = Context.Reference<Rules>("@parley/core/Perimeter", {
  defaultValue: () => open
})

/** Keeps the node within its private networks. */
export const layerClosed: Layer.Layer<never> = Layer.succeed(Perimeter, closed)
