/**
 * SafeUrl: which addresses a registry may reach when somebody else says where.
 *
 * Whoever can make a server fetch an URL can make it talk to what only that server reaches: the cloud's metadata service, a
 * database on loopback, a printer (server-side request forgery). So an URL counts only where its scheme, port and host are
 * plain, and every address that its host has is one of the public internet (RFC 6890 and IANA's special-purpose registries).
 * Private endpoints are reached when the operator has named them, host and port, and not otherwise.
 */
import ipaddr, { type IPv4, type IPv6 } from "ipaddr.js"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Longest URL, in characters. */
export const MAX_URL_LENGTH = 2_048

/** Why an URL is not reached. */
export class UrlError extends Schema.TaggedError<UrlError>()("UrlError", {
  code: Schema.Literals(["Malformed", "Scheme", "Credentials", "Port", "Address"]),
  url: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.url}: ${this.detail}`
  }
}

/** What may be reached. */
export interface Policy {
  /** Default `https:` and `http:`. */
  readonly schemes?: ReadonlyArray<string>
  /** `host:port`, as the URL says it (`localhost:11434`): may be reached whatever its address. Only what the operator wrote. */
  readonly allow?: ReadonlyArray<string>
}

/** Ports above 1023 that other protocols speak, so that no request is made to look like one of theirs (Fetch, "bad port"). */
const badPorts = new Set([
  1719, 1720, 1723, 2049, 2375, 2376, 2379, 3306, 3659, 4045, 4190, 5060, 5061, 5432, 6000, 6379, 6566, 6665, 6666,
  6667, 6668, 6669, 6679, 6697, 9200, 10080, 10250, 11211, 27017
])

const isPublicV4 = (address: IPv4): boolean => address.range() === "unicast"

const globalUnicast = ipaddr.parseCIDR("2000::/3") as [IPv6, number]
const nat64 = ipaddr.parseCIDR("64:ff9b::/96") as [IPv6, number]

const isPublicV6 = (address: IPv6): boolean => {
  if (address.zoneId !== undefined) return false
  if (address.isIPv4MappedAddress()) return isPublicV4(address.toIPv4Address())
  // A network without IPv4 reaches the rest through NAT64 (RFC 6052): what counts is the address inside.
  if (address.match(nat64)) return isPublicV4(new ipaddr.IPv4(address.toByteArray().slice(12)))
  return address.match(globalUnicast) && address.range() === "unicast"
}

/** Whether an address is one of the public internet, and of no special purpose (RFC 6890). */
export const isPublic = (address: string): boolean => {
  if (!ipaddr.isValid(address)) return false
  const parsed = ipaddr.parse(address)
  // Four decimal numbers, as a resolver gives them: 0177.0.0.1 and 2130706433 are read differently by different readers.
  if (parsed.kind() === "ipv4") return parsed.toString() === address && isPublicV4(parsed as IPv4)
  return isPublicV6(parsed as IPv6)
}

/** The port that an URL leads to. */
export const portOf = (url: URL): number =>
  url.port !== "" ? Number(url.port) : url.protocol === "https:" || url.protocol === "wss:" ? 443 : 80

/** The host of an URL without brackets. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, "$1")

/** An URL as it is shown in errors: without credentials, query, or more than a line. */
export const shown = (url: URL | string): string => {
  if (typeof url === "string") return JSON.stringify(url.slice(0, 100))
  return `${url.protocol}//${url.host}${url.pathname}`.slice(0, 200)
}

/** Whether the operator has named this host and port. */
export const isAllowed = (url: URL, policy: Policy): boolean =>
  (policy.allow ?? []).some((each) => each.toLowerCase() === `${url.hostname}:${portOf(url)}`)

const refuse = (code: UrlError["code"], url: URL | string, detail: string) =>
  Result.fail(new UrlError({ code, url: shown(url), detail }))

/** Reads an URL and judges all of it but the addresses of a name; whoever connects judges those (see `SafeFetch`). */
export const parse = (text: string, policy: Policy = {}): Result.Result<URL, UrlError> => {
  if (text.length > MAX_URL_LENGTH) return refuse("Malformed", text, `longer than ${MAX_URL_LENGTH} characters`)
  if (!URL.canParse(text)) return refuse("Malformed", text, "not an URL with scheme and host")
  const url = new URL(text)
  const schemes = policy.schemes ?? ["https:", "http:"]
  if (!schemes.includes(url.protocol)) return refuse("Scheme", url, `only ${schemes.join(" and ")} are reached`)
  if (url.username !== "" || url.password !== "") return refuse("Credentials", url, "it carries credentials")
  if (url.hostname === "") return refuse("Malformed", url, "no host")
  if (isAllowed(url, policy)) return Result.succeed(url)
  const port = portOf(url)
  if ((port < 1_024 && port !== 80 && port !== 443) || badPorts.has(port)) {
    return refuse("Port", url, `port ${port} is another protocol's`)
  }
  // The URL parser has made 127.1, 0x7f.1, 0177.0.0.1 and 2130706433 the same four numbers by now.
  const host = hostOf(url)
  if (ipaddr.isValid(host) && !isPublic(host)) return refuse("Address", url, notPublic)
  if (/^(localhost|.*\.localhost|.*\.local|.*\.internal|.*\.home\.arpa)\.?$/.test(host)) {
    return refuse("Address", url, notPublic)
  }
  return Result.succeed(url)
}

/** What is said of an address that is not reached. */
export const notPublic =
  "its address is not one of the public internet; an operator who means it names its host and port in the configuration"

/** Judges the addresses that a name has: one of them that is not public is enough to reach none. */
export const judge = (
  url: URL,
  addresses: ReadonlyArray<string>,
  policy: Policy = {}
): Result.Result<string, UrlError> => {
  const [first] = addresses
  if (first === undefined) return refuse("Address", url, "its name has no address")
  if (!isAllowed(url, policy) && !addresses.every(isPublic)) return refuse("Address", url, notPublic)
  return Result.succeed(first)
}
