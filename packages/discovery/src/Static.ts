/**
 * Discovery of peers whose addresses are known: `tcp://host:port`, or `tcp://host:port/z6Mk…` where only that key will do.
 *
 * The node connects to them at once and stays connected. A search connects where it must, and tells who answered; an address
 * where nobody answers is skipped, and when none answers the search fails and says why for each. Nothing is advertised:
 * peers learn of each other over the connection.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { counted, Discovery, DiscoveryError, type Found, type Host, type Membership } from "@parley/core/Discovery"
import * as Feed from "@parley/core/Feed"
import type { Address } from "@parley/core/Transport"
import * as Remote from "./internal/Remote.ts"

/** How this discovery is named in messages. */
export const SOURCE = "static"
/** Longest wait for one address in a search, in milliseconds: a dial with a handshake over a slow link. */
export const FIND_MS = 5_000

const fail = (code: DiscoveryError["code"], detail: string): DiscoveryError =>
  new DiscoveryError({ source: SOURCE, code, detail })

const join = Effect.fn("Static.join")(function* (
  host: Host,
  targets: ReadonlyArray<NonNullable<ReturnType<typeof Remote.parse>>>
) {
  const remotes = targets
    .filter(({ node }) => node !== host.nodeId)
    .map(({ address, node }) => ({ node, remote: Remote.make(host.connections, address, node) }))
  const met = new Map<Address, Found>()
  const feed = Feed.make<Found>(() => met.values())
  yield* Effect.addFinalizer(() => Effect.sync(() => feed.end()))
  const foundOf = ({ address, peer }: Remote.Remote): Found => {
    const node = peer()
    return { source: SOURCE, addresses: [address], ...(node === undefined ? {} : { node }) }
  }
  for (const { remote } of remotes) {
    const keep = remote.keep(() =>
      Effect.sync(() => {
        const found = foundOf(remote)
        met.set(remote.address, found)
        feed.publish(found)
      })
    )
    yield* Effect.forkScoped(keep)
  }

  const ask = (remote: Remote.Remote) =>
    remote.connect.pipe(
      Effect.mapError((error) => error.message),
      Effect.timeoutOrElse({
        duration: FIND_MS,
        orElse: () => Effect.fail(`${remote.address} did not answer within ${FIND_MS} ms`)
      }),
      Effect.as(remote),
      Effect.result
    )
  const membership: Membership = {
    advertise: Effect.void,
    find: (query, report) =>
      counted(
        SOURCE,
        report,
        Stream.suspend(() => {
          const asked = remotes.filter(
            ({ node }) => query.node === undefined || node === undefined || node === query.node
          )
          const failures: Array<string> = []
          return Stream.fromIterable(asked).pipe(
            Stream.mapEffect(({ remote }) => ask(remote), { concurrency: "unbounded", unordered: true }),
            Stream.filter((result) => {
              if (Result.isSuccess(result)) return query.node === undefined || result.success.peer() === query.node
              failures.push(result.failure)
              return false
            }),
            Stream.map((result) => foundOf(Result.getOrThrow(result))),
            Stream.concat(
              Stream.suspend(() =>
                failures.length > 0 && failures.length === asked.length
                  ? Stream.fail(fail("Unreachable", failures.join("; ")))
                  : Stream.empty
              )
            )
          )
        })
      ),
    changes: feed.stream
  }
  return membership
})

/** Peers at fixed addresses. Fails when one of them is no address. */
export const layer = (addresses: ReadonlyArray<Address>): Layer.Layer<Discovery, DiscoveryError> =>
  Layer.effect(
    Discovery,
    Effect.gen(function* () {
      const targets = yield* Effect.forEach(addresses, (address) => {
        const target = Remote.parse(address)
        const detail = `${JSON.stringify(address)} is no address: write tcp://host:port or tcp://host:port/z6Mk…`
        return target === undefined ? Effect.fail(fail("Malformed", detail)) : Effect.succeed(target)
      })
      return Discovery.of({ name: SOURCE, join: (host) => join(host, targets) })
    })
  )
