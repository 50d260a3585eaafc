/** One peer: whether it is found, at which of its addresses it can be reached, why it is relayed or not reached at all. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { AgentRecord } from "@parley/core/AgentRecord"
import * as Node from "@parley/core/Node"
import * as NodeId from "@parley/core/NodeId"
import type { Connection, TransportErrorReason } from "@parley/core/Transport"
import * as Layers from "../../Layers.ts"
import { type Finding, of } from "./Finding.ts"
import type { Ground } from "./Ground.ts"
import * as Reach from "./Reach.ts"

/** Longest that one address is tried, in ms. */
const TRY_MS = 8_000

interface Found {
  readonly record: AgentRecord | undefined
  readonly detail: string
}

/** The peer's record, from whoever knows it. */
const search = (options: Layers.Options, node: NodeId.NodeId): Effect.Effect<Found> =>
  Effect.gen(function* () {
    const joined = yield* Node.Node
    const matches = yield* joined.discover({ node, limit: 1 })
    return { record: matches[0]?.record, detail: matches.length === 0 ? "nobody knows it" : "" }
  }).pipe(
    Effect.provide(Layers.layer(options)),
    Effect.catch((error) => Effect.succeed({ record: undefined, detail: error.message })),
    Effect.scoped
  )

interface Tried {
  readonly address: string
  readonly cause: Reach.Cause | undefined
  readonly ms: number
  readonly peer: NodeId.NodeId | undefined
}

/** One address by itself, on connections of its own, so that no other address answers for it. */
const attempt = (ground: Ground, address: string, node: NodeId.NodeId | undefined): Effect.Effect<Tried> =>
  Effect.gen(function* () {
    const began = performance.now()
    const dial = Effect.scoped(
      Effect.gen(function* () {
        const connections = yield* ground.connections({ listen: false })
        const target = { addresses: [address], ...(node === undefined ? {} : { node }) }
        const connection: Connection = yield* connections.connect(target)
        return connection.peer
      })
    ).pipe(
      Effect.match({
        onFailure: (error): TransportErrorReason | NodeId.NodeId => error.reason,
        onSuccess: (peer): TransportErrorReason | NodeId.NodeId => peer
      }),
      Effect.timeoutOrElse({
        duration: TRY_MS,
        orElse: () => Effect.succeed<TransportErrorReason>({ _tag: "TimedOut", address, afterMs: TRY_MS })
      })
    )
    const outcome = yield* dial
    const ms = performance.now() - began
    if (typeof outcome === "string") return { address, cause: undefined, ms, peer: outcome }
    const isDirect = address.startsWith("tcp:")
    const knocked = isDirect ? yield* Reach.knock(address, ground.perimeter) : undefined
    const cause = Reach.explain(address, outcome, knocked)
    if (isDirect) return { address, cause, ms, peer: undefined }
    const why = outcome._tag === "DialFailed" ? outcome.detail : cause.why
    return { address, cause: { ...cause, why: `through ${address.split("/")[2]}: ${why}` }, ms, peer: undefined }
  })

const ofRecord = (record: AgentRecord, now: number): Finding => {
  const find = of("record", "the peer's signed record")
  const left = record.expiresAt - now
  const served = `${record.capabilities.length} capabilities, ${record.addresses.length} addresses`
  if (record.issuedAt > now + 5_000) {
    const ahead = Math.round((record.issuedAt - now) / 1_000)
    return find(
      "warn",
      "PeerClock",
      `made ${ahead} s in the future: the peer's clock is ahead, or ours behind`,
      "set both clocks (NTP)"
    )
  }
  if (left <= 0) {
    const advice = "the peer has not renewed it: it is off the network, or its clock is behind"
    return find("fail", "RecordExpired", `it has expired ${Math.round(-left / 1_000)} s ago`, advice)
  }
  return find("ok", "Record", `${record.name ?? "no name"}: ${served}, good for ${Math.round(left / 60_000)} min`)
}

const ofReach = (tried: ReadonlyArray<Tried>): ReadonlyArray<Finding> => {
  const find = of("peer", `dialling ${tried.map(({ address }) => address).join(", ")}`)
  const isDirect = ({ address }: Tried): boolean => address.startsWith("tcp:")
  const failed = tried.flatMap((each) => (each.cause === undefined ? [] : [{ ...each, cause: each.cause }]))
  const whys = (of: ReadonlyArray<{ readonly cause: Reach.Cause }>): string =>
    of.map(({ cause }) => cause.why).join("; ")
  const direct = tried.find((each) => each.cause === undefined && isDirect(each))
  if (direct !== undefined) {
    return [find("ok", "PeerDirect", `${direct.peer} is reached at ${direct.address}, in ${Math.round(direct.ms)} ms`)]
  }
  const relayed = tried.find((each) => each.cause === undefined)
  if (relayed !== undefined) {
    const reasons = failed.filter(isDirect)
    const why = reasons.length === 0 ? "it publishes no address of its own" : whys(reasons)
    const advice = "forward a port at the peer's router, or let both use IPv6; until then a relay carries it"
    const found = `${relayed.peer} is reached through a relay only, in ${Math.round(relayed.ms)} ms: ${why}`
    return [find("warn", "PeerRelayed", found, advice)]
  }
  // What an address answered says more than that another one did not.
  const telling = failed.find(({ cause }) => cause.code !== "NoAnswer") ?? failed[0]
  if (telling === undefined) {
    const advice = "it may only ask and not serve; or its relays are gone: look at it there with parley doctor"
    return [find("fail", "PeerNoAddress", "it publishes no address", advice)]
  }
  return [find("fail", `Peer${telling.cause.code}`, whys(failed), telling.cause.advice)]
}

/** `peer` is a NodeId or an address. */
export const check = (ground: Ground, options: Layers.Options, peer: string): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const node = NodeId.parse(peer)
    if (node === undefined) {
      const end = NodeId.parse(peer.slice(peer.lastIndexOf("/") + 1))
      const isLong = end !== undefined && peer.startsWith("tcp:")
      return ofReach([
        yield* attempt(ground, isLong ? peer.slice(0, peer.lastIndexOf("/")) : peer, isLong ? end : undefined)
      ])
    }
    const { detail, record } = yield* search(options, node)
    if (record === undefined) {
      const find = of("peer", "every discovery of this node")
      const advice =
        "check that it runs, in the same network, and uses a tracker, DHT or local network that this node uses too"
      return [find("fail", "PeerNotFound", `${node} is not found: ${detail}`, advice)]
    }
    const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    const tried = yield* Effect.forEach(record.addresses.slice(0, 16), (address) => attempt(ground, address, node), {
      concurrency: 8
    })
    return [ofRecord(record, now), ...ofReach(tried)]
  }).pipe(Effect.provide(Layer.empty))
