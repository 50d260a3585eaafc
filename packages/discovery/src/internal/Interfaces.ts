import { networkInterfaces } from "node:os"

/** An IPv4 interface of this machine. */
export interface Interface {
  readonly name: string
  readonly address: string
  readonly netmask: string
}

let known: ReturnType<typeof networkInterfaces> = {}
/** The interfaces as they are, or as they were last where strangers hold all of this process's file handles: asking takes one. */
const now = (): typeof known => {
  try {
    known = networkInterfaces()
  } catch {
    // The next look sees what this one would have.
  }
  return known
}

/** The IPv4 interfaces, one address each: a group can be joined only once per interface. */
export const list = (): ReadonlyArray<Interface> =>
  Object.entries(now()).flatMap(([name, addresses]) => {
    const first = addresses?.find(({ family }) => family === "IPv4")
    return first === undefined ? [] : [{ name, address: first.address, netmask: first.netmask }]
  })

/** Whether an address is one of this machine's own. */
export const isOwn = (address: string): boolean =>
  Object.values(now()).some((addresses) => addresses?.some((own) => own.address === address) === true)

const toNumber = (ip: string): number => ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0)

/** Whether an IPv4 address is on the interface's link, as RFC 6762, 11 wants it of every sender. */
export const isOnLink = ({ address, netmask }: Interface, ip: string): boolean => {
  const mask = toNumber(netmask)
  return (toNumber(address) & mask) === (toNumber(ip) & mask)
}
