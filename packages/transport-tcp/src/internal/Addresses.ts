/** Addresses of this transport: `tcp://HOST:PORT`, and those of this machine. */
import { isIP } from "node:net"
import { networkInterfaces } from "node:os"
import * as Perimeter from "@parley/core/Perimeter"
import type { Address } from "@parley/core/Transport"

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** Longest address that is read: a DNS name has at most 253 characters. */
const MAX_ADDRESS_LENGTH = 300
const shape = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9._-]+)):(\d{1,5})\/?$/

/** Host and port of a `tcp:` address; undefined when it is none. */
export const parse = (address: Address): HostPort | undefined => {
  if (address.length > MAX_ADDRESS_LENGTH) return undefined
  const match = shape.exec(address)
  if (match === null) return undefined
  const port = Number(match[3])
  return port < 1 || port > 65_535 ? undefined : { host: (match[1] ?? match[2])!, port }
}

export const format = (host: string, port: number): Address => `tcp://${isIP(host) === 6 ? `[${host}]` : host}:${port}`

/** The remote end of a socket, with IPv4 inside IPv6 written as IPv4. */
export const remote = (host: string | undefined): string =>
  host === undefined ? "unknown" : host.startsWith("::ffff:") ? host.slice(7) : host

/** What is counted as one place: an IPv4 address, or the 64 bits that one IPv6 subscriber has of an address. */
export const network = (host: string): string => prefix(host, 4)

/** Whose places are counted together: one IPv4 address, or the 48 bits of IPv6 that one site has at most (RFC 6177). */
export const site = (host: string): string => prefix(host, 3)

/** So many groups of an IPv6 address; anything else as it is. */
const prefix = (host: string, count: number): string => {
  if (isIP(host) !== 6) return host
  const [head = "", tail] = host.split("%")[0]!.split("::")
  const left = head === "" ? [] : head.split(":")
  const right = tail === undefined || tail === "" ? [] : tail.split(":")
  // An IPv4 address in the last place stands for two groups.
  const groups = left.length + right.length + (host.includes(".") ? 1 : 0)
  const all = tail === undefined ? left : [...left, ...Array.from({ length: 8 - groups }, () => "0"), ...right]
  return `${all
    .slice(0, count)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/${count * 16}`
}

/** Why a host is not dialled, or not let in. */
export const beyond = (host: string, perimeter: Perimeter.Rules): string =>
  `this node keeps to ${perimeter.name}, and ${host} is ${isIP(host) === 0 ? "a name, which would have to be asked for outside" : "outside them"}`

/**
 * Where a server bound to `host` can be reached: all interfaces but loopback for a wildcard, else the host itself; and only those
 * within the perimeter.
 */
export const published = (
  host: string,
  port: number,
  perimeter: Perimeter.Rules = Perimeter.open
): ReadonlyArray<Address> => {
  if (host !== "0.0.0.0" && host !== "::") return [format(host, port)]
  const found: Array<Address> = []
  for (const entries of Object.values(networkInterfaces())) {
    for (const entry of entries ?? []) {
      if (entry.internal || entry.address.startsWith("fe80:") || !perimeter.allows(entry.address)) continue
      if (entry.family === "IPv4" || host === "::") found.push(format(entry.address, port))
    }
  }
  return found.length > 0 ? found : [format(host === "::" ? "::1" : "127.0.0.1", port)]
}
