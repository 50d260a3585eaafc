/**
 * Audiences: the names that a registry goes by, one of which a node must have meant when it signed a challenge.
 */
import { networkInterfaces } from "node:os"
import { audienceOf, MAX_AUDIENCES } from "./Challenge.ts"
import * as Loopback from "./Loopback.ts"

const bracketed = (host: string): string => (host.includes(":") ? `[${host}]` : host)

/** The addresses that a server answers at which listens on `host`; on all of them where that is what it says. */
const hostsOf = (host: string): ReadonlyArray<string> => {
  const loopback = ["127.0.0.1", "localhost", "[::1]"]
  if (Loopback.isLoopback(host)) return [bracketed(host), ...loopback]
  if (host !== "0.0.0.0" && host !== "::") return [bracketed(host)]
  const own = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  // A link-local address needs a zone, which no URL of a client has.
  const reachable = own.filter(({ address, internal }) => !internal && !address.startsWith("fe80:"))
  return [...loopback, ...reachable.map(({ address }) => bracketed(address))]
}

/**
 * Origins that a registry is reached under: its public URLs first, then what it listens on; at most `MAX_AUDIENCES`. Throws a
 * `RangeError` for a public URL that is no http URL.
 */
export const audiencesAt = (host: string, port: number, publicUrls: ReadonlyArray<string>): ReadonlyArray<string> => {
  const names = publicUrls.map((url) => {
    const audience = audienceOf(url)
    if (audience === undefined) throw new RangeError(`Not an http URL: ${JSON.stringify(url)}; write https://host`)
    return audience
  })
  const own = hostsOf(host).map((each) => `http://${each}:${port}`)
  return [...new Set([...names, ...own])].slice(0, MAX_AUDIENCES)
}
