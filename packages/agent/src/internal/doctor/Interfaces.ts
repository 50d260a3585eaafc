/** The network interfaces: whether there is a way out of this machine. */
import { networkInterfaces } from "node:os"
import { type Finding, of } from "./Finding.ts"

/** Addresses of this machine but for loopback. */
export const addresses = (): ReadonlyArray<{ readonly name: string; readonly address: string }> =>
  Object.entries(networkInterfaces()).flatMap(([name, entries]) =>
    (entries ?? []).flatMap(({ address, internal }) => (internal ? [] : [{ name, address }]))
  )

/** Whether a node that listens there keeps to this machine. */
export const isLoopback = (host: string | undefined): boolean =>
  host !== undefined && /^(?:127\.|::1$|localhost$)/.test(host)

/** `host` is what the node listens on: one that keeps to this machine needs no network. */
export const check = (host: string | undefined): ReadonlyArray<Finding> => {
  const find = of("interfaces", "the interfaces that the system lists")
  const all = addresses()
  const usable = all.filter(({ address }) => !/^(?:fe80:|169\.254\.)/.test(address))
  const list = (of: typeof all): string => of.map(({ address, name }) => `${name} ${address}`).join(", ")
  if (isLoopback(host)) {
    return [find("ok", "LoopbackOnly", `the node keeps to this machine (${host})`)]
  }
  if (all.length === 0) {
    const advice =
      "plug in a cable, or join a wireless network; other programs of this machine are reached all the same"
    return [find("fail", "NoInterface", "this machine is on no network", advice)]
  }
  if (usable.length === 0) {
    const found = `only addresses that the machine gave itself: ${list(all)}`
    return [find("warn", "LinkLocalOnly", found, "nobody gave this machine an address: check the router, or its DHCP")]
  }
  return [find("ok", "Interfaces", list(usable))]
}
