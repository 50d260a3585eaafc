/**
 * NatType: what routers make of a port of this machine, by what other nodes see of it (RFC 4787, 4.1).
 *
 * ```ts
 * const nat = yield* NatType.detect(connections.list())
 * ```
 *
 * One that is seen with the same port by two others can be dialled by peers that know it; one that changes can itself dial
 * peers that let in more than one port, and two that change meet at a relay only.
 */
import { isIP } from "node:net"
import { networkInterfaces } from "node:os"
import * as Effect from "effect/Effect"
import * as Perimeter from "@parley/core/Perimeter"
import type { Connection } from "@parley/core/Transport"
import * as Addresses from "./internal/Addresses.ts"
import { freePort, observe } from "./internal/Observation.ts"

/** Nodes that are asked: two tell a port that stays from one that changes, the third stands in for one that is silent. */
export const MAX_OBSERVERS = 3

/**
 * - `none`: this machine's own address is seen.
 * - `steady`: a router translates, and keeps one outer port for all destinations.
 * - `changing`: a router translates, to another outer port for each destination; punching works against easier ones alone.
 * - `one observer`: a router translates, and too few saw it to say how.
 * - `unknown`: nobody said what it sees.
 */
export type NatType = "none" | "steady" | "changing" | "one observer" | "unknown"

/** Where this machine is seen. */
export interface Nat {
  readonly type: NatType
  /** As `host:port`, IPv6 in brackets, by the nodes that were asked, in their order. */
  readonly seen: ReadonlyArray<string>
}

interface Endpoint {
  readonly host: string
  readonly port: number
}

const format = ({ host, port }: Endpoint): string => (isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`)

/** The type, of the endpoints at which others saw one port. IPv4 counts where there is any: IPv6 is hardly ever translated. */
export const classify = (own: ReadonlyArray<string>, port: number, seen: ReadonlyArray<Endpoint>): Nat => {
  const four = seen.filter(({ host }) => isIP(host) === 4)
  const counted = four.length > 0 ? four : seen
  const all = { seen: seen.map(format) }
  if (counted.length === 0) return { type: "unknown", ...all }
  if (counted.every((each) => each.port === port && own.includes(each.host))) return { type: "none", ...all }
  if (counted.length === 1) return { type: "one observer", ...all }
  return { type: new Set(counted.map(format)).size === 1 ? "steady" : "changing", ...all }
}

const ownHosts = (): ReadonlyArray<string> =>
  Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map(({ address }) => address))

/**
 * Asks the nodes behind these connections where they see a port of this machine; those that were dialled at a `tcp:` address
 * count, and no relayed ones. Takes at most 4 s, and opens one short connection to each.
 */
export const detect = (connections: ReadonlyArray<Connection>): Effect.Effect<Nat> =>
  Effect.gen(function* () {
    const perimeter = yield* Perimeter.Perimeter
    const asked = connections.flatMap((observer) => {
      const at = Addresses.parse(observer.address)
      return observer.direction === "inbound" || at === undefined ? [] : [{ observer, at }]
    })
    const port = yield* Effect.orElseSucceed(Effect.tryPromise(freePort), () => undefined)
    if (port === undefined) return { type: "unknown", seen: [] }
    const seen = yield* Effect.forEach(
      asked.slice(0, MAX_OBSERVERS),
      ({ at, observer }) =>
        Effect.callback<ReadonlyArray<Endpoint>>((resume) => {
          let end = (): void => {}
          const done = (endpoints: ReadonlyArray<Endpoint>): void => {
            end()
            resume(Effect.succeed(endpoints))
          }
          end = observe({
            observer,
            at,
            port,
            perimeter,
            onSeen: (endpoint) => done([endpoint]),
            onTheirs: () => {},
            onFailed: () => done([])
          })
          return Effect.sync(() => end())
        }),
      { concurrency: MAX_OBSERVERS }
    )
    return classify(ownHosts(), port, seen.flat())
  })
