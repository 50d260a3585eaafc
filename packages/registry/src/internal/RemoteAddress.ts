/** The address that a request comes from, as credentials and limits want it. */
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"
import { IPv6, isValid, parse } from "ipaddr.js"

/** An address without port or zone; IPv4 in IPv6 as IPv4. `"unknown"` where the connection is already gone. */
export const remoteAddress = (request: HttpServerRequest): string =>
  bare(Option.getOrElse(request.remoteAddress, () => "unknown"))

const bare = (address: string): string => {
  const plain = address.replace(/%.*$/, "")
  return plain.toLowerCase().startsWith("::ffff:") && plain.includes(".") ? plain.slice(7) : plain
}

/** Who shares a bound: an IPv4 address, or the /64 that one IPv6 host has to itself (RFC 4291, 2.5.4). */
export const networkOf = (address: string): string => {
  if (!address.includes(":") || !isValid(address)) return address
  const parsed = parse(address)
  if (!(parsed instanceof IPv6)) return address
  return `${parsed.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(":")}::/64`
}
