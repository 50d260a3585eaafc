/** IPv6, over which no NAT stands between two machines: whether this one has it, has a way out, and listens on it. */
import { createSocket } from "node:dgram"
import { isIPv6 } from "node:net"
import * as Effect from "effect/Effect"
import { type Finding, of } from "./Finding.ts"
import * as Interfaces from "./Interfaces.ts"

/** An address that nobody has (RFC 3849), which the system has to find a route to as to any other one outside. */
export const OUTSIDE = "2001:db8::1"
/** How long the system has to say, in ms. */
const ROUTE_MS = 1_000

/** Addresses that are listed: machines have some temporary ones. */
const MAX_LISTED = 4

/** Whether others could reach it: of the range that is routed (RFC 4291, 2.4). */
export const isGlobal = (address: string): boolean => isIPv6(address) && /^[23][0-9a-f]{3}:/i.test(address)

/** Whether the system knows a way to an address outside. Nothing is sent. Deno does not say: there it counts as known. */
export const hasRoute: Effect.Effect<boolean> = Effect.callback<boolean>((resume) => {
  const socket = createSocket("udp6")
  const end = (has: boolean): void => {
    socket.removeAllListeners("error").on("error", () => {})
    socket.close()
    resume(Effect.succeed(has))
  }
  socket.once("error", () => end(false))
  socket.once("connect", () => end(true))
  socket.connect(9, OUTSIDE)
  return Effect.sync(() => socket.close())
}).pipe(Effect.timeoutOrElse({ duration: ROUTE_MS, orElse: () => Effect.succeed(false) }))

/** What follows from the addresses, whether there is a way out, and what the node listens on; undefined where it does not. */
export const judge = (addresses: ReadonlyArray<string>, isRouted: boolean, listensOn: string | undefined): Finding => {
  const find = of("ipv6", "the interfaces' addresses, and a route to outside")
  const global = addresses.filter(isGlobal)
  if (global.length === 0)
    return find("ok", "NoIpv6", "this machine has no IPv6 address for outside; IPv4 does without")
  const list = global.slice(0, MAX_LISTED).join(", ")
  if (!isRouted) {
    const advice = "peers' IPv6 addresses are tried in vain: check the router, or switch IPv6 off there"
    return find("warn", "NoIpv6Route", `${list}, and no way out by IPv6`, advice)
  }
  if (listensOn === undefined || isIPv6(listensOn))
    return find("ok", "Ipv6", `${list}, with no NAT before others who have IPv6`)
  const advice = "for more direct connections listen on both: --host ::"
  return find("ok", "Ipv6NotListened", `${list}, and the node listens on IPv4 alone`, advice)
}

export const check = (listensOn: string | undefined): Effect.Effect<Finding> =>
  Effect.map(hasRoute, (isRouted) => {
    const addresses = Interfaces.addresses().map(({ address }) => address)
    return judge(addresses, isRouted, listensOn)
  })
