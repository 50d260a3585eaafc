import { isIP, isIPv6 } from "node:net"
import * as NodeId from "@parley/core/NodeId"
import type { Address } from "@parley/core/Transport"
import type { Answer } from "dns-packet"

/** The DNS-SD service type of Parley nodes (RFC 6763, 7). */
export const SERVICE = "_parley._tcp.local"
/** Asks which service types there are (RFC 6763, 9). */
export const SERVICES = "_services._dns-sd._udp.local"
/** Seconds for which an answer counts: what RFC 6762, 10 gives for records that name a host. */
export const TTL = 120
/** Seconds for which an answer to a one-shot resolver counts (RFC 6762, 6.7). */
export const LEGACY_TTL = 10
/** Version of what the TXT record says. */
export const TXT_VERSION = "1"
/** Most addresses that one node tells or is believed to have: one packet of ordinary size holds them. */
export const MAX_IPS = 16
/** Hex digits of the fingerprint in names: 64 bits, so that names need not be probed for (RFC 6762, 8.1). */
const LABEL_DIGITS = 16

/** The part of the names that says which node it is; from the key, never from what the agent is called. */
export const labelOf = (node: NodeId.NodeId): string =>
  NodeId.fingerprint(node).replaceAll(":", "").slice(0, LABEL_DIGITS)
/** `3f2a…._parley._tcp.local` */
export const instanceOf = (node: NodeId.NodeId): string => `${labelOf(node)}.${SERVICE}`
/** `parley-3f2a….local` */
export const hostOf = (node: NodeId.NodeId): string => `parley-${labelOf(node)}.local`

/** What of a node's addresses fits into SRV and A or AAAA records: one port, and where it is open. */
export interface Endpoint {
  readonly port: number
  readonly ips: ReadonlyArray<string>
}

const numeric = /^tcp:\/\/(?:\[([0-9a-f:.]+)\]|([0-9.]+)):(\d{1,5})(?:\/|$)/i

const isUnspecified = (ip: string): boolean => ip === "0.0.0.0" || /^[0:]+$/.test(ip)
/** Reaches only the machine itself. */
export const isLoopback = (ip: string): boolean => ip.startsWith("127.") || ip === "::1" || /^::ffff:127\./i.test(ip)
const isLinkLocalV6 = (ip: string): boolean => /^fe[89ab]/i.test(ip)
const isMulticast = (ip: string): boolean =>
  isIPv6(ip) ? /^ff/i.test(ip) : Number(ip.slice(0, ip.indexOf("."))) >= 224

/** Whether somebody else could dial it as it is written. */
export const isDialable = (ip: string): boolean =>
  isIP(ip) !== 0 && !isUnspecified(ip) && !isMulticast(ip) && !isLinkLocalV6(ip)

/** `tcp://ip:port`, with the brackets that IPv6 needs. */
export const addressOf = (ip: string, port: number): Address => `tcp://${isIPv6(ip) ? `[${ip}]` : ip}:${port}`

/**
 * The first port of the numeric `tcp:` addresses and every IP that goes with it; loopback only where there is nothing
 * else. Undefined for a node that cannot be dialled so.
 */
export const endpointOf = (addresses: ReadonlyArray<Address>): Endpoint | undefined => {
  const parsed = addresses.flatMap((address) => {
    const match = numeric.exec(address)
    const ip = match?.[1] ?? match?.[2]
    const port = Number(match?.[3])
    return ip !== undefined && isDialable(ip) && port > 0 && port < 65_536 ? [{ ip, port }] : []
  })
  const open = parsed.filter(({ ip }) => !isLoopback(ip))
  const usable = open.length > 0 ? open : parsed
  const port = usable[0]?.port
  if (port === undefined) return undefined
  const ips = new Set(usable.filter((one) => one.port === port).map(({ ip }) => ip))
  return { port, ips: [...ips].slice(0, MAX_IPS) }
}

/** What a node says of itself, as DNS records. With `ttl` 0 it says goodbye (RFC 6762, 10.1). */
export const answersOf = (
  node: NodeId.NodeId,
  endpoint: Endpoint,
  options: { readonly ttl: number; readonly flush: boolean }
): { readonly answers: Array<Answer>; readonly additionals: Array<Answer> } => {
  const { flush, ttl } = options
  const instance = instanceOf(node)
  const host = hostOf(node)
  return {
    answers: [
      { type: "PTR", name: SERVICE, ttl, data: instance },
      { type: "SRV", name: instance, ttl, flush, data: { priority: 0, weight: 0, port: endpoint.port, target: host } },
      { type: "TXT", name: instance, ttl, flush, data: [`v=${TXT_VERSION}`, `id=${node}`] }
    ],
    additionals: endpoint.ips.map((ip) => ({ type: isIPv6(ip) ? "AAAA" : "A", name: host, ttl, flush, data: ip }))
  }
}

/** The answer to `SERVICES`. */
export const serviceAnswer = (ttl: number): Answer => ({ type: "PTR", name: SERVICES, ttl, data: SERVICE })
