/**
 * Loopback: what a registry without keys or secret may listen on, and whom it then serves.
 *
 * Such a registry believes everybody on this machine. A web page that somebody on this machine has open is not one of them: it
 * can reach loopback under a name of its own that it lets point there (DNS rebinding), or call it across origins. Both show in
 * the request: the first in `Host`, the second in `Origin`.
 */
import ipaddr, { type IPv6 } from "ipaddr.js"
import { remembered } from "./internal/Remembered.ts"

/** A host of an URL or a `Host` header without port, brackets, zone or the dot at its end, in lower case. */
export const bareHost = (host: string): string => {
  const text = host.trim().toLowerCase()
  const inner = text.startsWith("[") ? text.slice(1, text.indexOf("]") < 0 ? undefined : text.indexOf("]")) : text
  const port = inner.indexOf(":")
  const name = text.startsWith("[") || port !== inner.lastIndexOf(":") || port < 0 ? inner : inner.slice(0, port)
  return name.replace(/%.*$/, "").replace(/\.$/, "")
}

/** Whether an address to listen on, a `Host` or an URL's host means this machine alone: `localhost`, 127.0.0.0/8, `::1`. */
export const isLoopback: (host: string) => boolean = remembered((host) => {
  const name = bareHost(host)
  // RFC 6761, 6.3: localhost and what is under it never mean another machine.
  if (name === "localhost" || name.endsWith(".localhost")) return true
  // Four plain decimal numbers, or IPv6: 0177.1 and 2130706433 are nobody's way to write a bind address.
  if (name.includes(":") ? !ipaddr.isValid(name) : !/^\d{1,3}(\.\d{1,3}){3}$/.test(name) || !ipaddr.isValid(name))
    return false
  const address = ipaddr.parse(name)
  if (address.kind() === "ipv4") return address.range() === "loopback"
  const six = address as IPv6
  return six.isIPv4MappedAddress() ? six.toIPv4Address().range() === "loopback" : six.range() === "loopback"
})

/** Whether a registry may listen there without asking who somebody is; else why not. */
export const refusesOpen = (hosts: ReadonlyArray<string>): string | undefined => {
  const outside = hosts.filter((host) => !isLoopback(host))
  if (hosts.length > 0 && outside.length === 0) return undefined
  return (
    `Without keys or a secret the registry serves this machine alone, and ${outside.join(", ") || "every address"} is ` +
    "reachable from others: listen on 127.0.0.1, or let it ask for keys"
  )
}

/**
 * Why a request does not come from this machine's own programs, judged by its `Host`, its `Origin` and whether a proxy has written
 * on it for whom it asks; `undefined` when it may.
 */
export const refusesRequest = (
  host: string | undefined,
  origin: string | undefined,
  allowedOrigins: ReadonlySet<string> = new Set(),
  forwarded?: string
): string | undefined => {
  if (forwarded !== undefined) {
    return "This registry asks nobody who they are, and so serves no proxy: behind one, let it ask for keys"
  }
  if (host === undefined || !isLoopback(host)) {
    return "This registry asks nobody who they are, and so answers under loopback names only: use http://127.0.0.1"
  }
  if (origin === undefined || allowedOrigins.has(origin)) return undefined
  if (URL.canParse(origin) && isLoopback(new URL(origin).hostname)) return undefined
  return "This registry asks nobody who they are, and so does not answer web pages of other origins"
}
