/** This machine's router: where it is, and which address of this machine it knows. */
import { readFileSync } from "node:fs"
import { BlockList, isIPv4 } from "node:net"
import { networkInterfaces } from "node:os"
import * as PortMapping from "../PortMapping.ts"

export interface Gateway {
  readonly host: string
  /** This machine's address on the router's network. */
  readonly local: string
}

/** The routers of Linux's default routes, the preferred one first. */
export const defaultRoutes = (table: string): ReadonlyArray<string> =>
  table
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [, destination, gateway, flags, , , metric] = line.trim().split(/\s+/)
      // Up, and through a gateway (RTF_UP, RTF_GATEWAY).
      if (
        destination !== "00000000" ||
        !/^[0-9A-F]{8}$/i.test(gateway ?? "") ||
        (Number.parseInt(flags!, 16) & 3) !== 3
      )
        return []
      // In the byte order of the machine; those that Bun and Deno run on are little-endian.
      const bytes = Buffer.from(gateway!, "hex").reverse()
      return [{ host: bytes.join("."), metric: Number(metric) }]
    })
    .sort((a, b) => a.metric - b.metric)
    .map(({ host }) => host)

const routes = (): ReadonlyArray<string> => {
  try {
    return defaultRoutes(readFileSync("/proc/net/route", "utf8"))
  } catch {
    // Another system than Linux.
    return []
  }
}

/** The first address of a network, which most routers have; for systems that do not tell their routes. */
const firstOf = (cidr: string): string | undefined => {
  const [host = "", prefix] = cidr.split("/")
  const length = Number(prefix)
  if (!isIPv4(host) || !(length >= 8 && length <= 30)) return undefined
  const address = Buffer.from(host.split(".").map(Number)).readUInt32BE(0)
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(((address & (-1 << (32 - length))) >>> 0) + 1, 0)
  return bytes.join(".")
}

/** The router that this machine is behind; `bound`: the address that the node listens on. Undefined where there is none. */
export const find = (bound: string): Gateway | undefined => {
  const known = routes()
  const found: Array<Gateway & { readonly rank: number }> = []
  for (const entries of Object.values(networkInterfaces())) {
    for (const { address, cidr, family, internal } of entries ?? []) {
      if (internal || family !== "IPv4" || cidr === null || PortMapping.isPublic(address)) continue
      if (bound !== "0.0.0.0" && bound !== "::" && bound !== address) continue
      const subnet = new BlockList()
      const [network = "", prefix] = cidr.split("/")
      subnet.addSubnet(network, Number(prefix), "ipv4")
      const rank = known.findIndex((host) => subnet.check(host, "ipv4"))
      const host = known.length > 0 ? known[rank] : firstOf(cidr)
      if (host !== undefined && host !== address) found.push({ host, local: address, rank })
    }
  }
  const [best] = found.sort((a, b) => a.rank - b.rank)
  return best === undefined ? undefined : { host: best.host, local: best.local }
}
