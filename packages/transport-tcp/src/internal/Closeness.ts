/**
 * How close a host is to this machine: itself, its link, its private network, the rest of the world.
 *
 * Whoever is reached in the world must not send a node to hosts that the world cannot reach.
 */
import { BlockList, isIP } from "node:net"

const made = (subnets: ReadonlyArray<readonly [network: string, prefix: number]>): BlockList => {
  const list = new BlockList()
  for (const [network, prefix] of subnets) list.addSubnet(network, prefix, isIP(network) === 4 ? "ipv4" : "ipv6")
  return list
}

/** RFC 6890, closest first: what connects to this machine; its link; private networks, those of carriers included (RFC 6598). */
const closeness = [
  made([
    ["0.0.0.0", 8],
    ["127.0.0.0", 8],
    ["::", 128],
    ["::1", 128]
  ]),
  made([
    ["169.254.0.0", 16],
    ["fe80::", 10]
  ]),
  made([
    ["10.0.0.0", 8],
    ["172.16.0.0", 12],
    ["192.168.0.0", 16],
    ["100.64.0.0", 10],
    ["fc00::", 7]
  ])
]
const PRIVATE = 2

/** An IPv4 address inside IPv6, in any notation. */
const mapped = /^::ffff:(?:(\d+\.\d+\.\d+\.\d+)|([0-9a-f]{1,4}):([0-9a-f]{1,4}))$/i

const plain = (host: string): string => {
  const [, dotted, high, low] = mapped.exec(host) ?? []
  if (dotted !== undefined) return dotted
  if (high === undefined || low === undefined) return host.split("%")[0]!
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return `${a >> 8}.${a & 0xff}.${b >> 8}.${b & 0xff}`
}

/** 0 to 3. What a name stands for is not known: it may be of the private network. */
const distance = (host: string): number => {
  if (host === "localhost") return 0
  const address = plain(host)
  const family = isIP(address)
  if (family === 0) return PRIVATE
  const found = closeness.findIndex((list) => list.check(address, family === 4 ? "ipv4" : "ipv6"))
  return found < 0 ? closeness.length : found
}

/** Whether one that is reached at `from` may name `host`, an IP address. */
export const isNoCloser = (host: string, from: string): boolean => distance(host) >= distance(from)
