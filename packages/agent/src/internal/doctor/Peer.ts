/** One peer: whether it is found, at which of its addresses it can be reached, why it is relayed or not reached at all. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as AgentRecord from "@parley/core/AgentRecord"
import type { Found } from "@parley/core/Discovery"
import type { Match } from "@parley/core/Matcher"
import * as Node from "@parley/core/Node"
import * as NodeId from "@parley/core/NodeId"
import type { TransportErrorReason } from "@parley/core/Transport"
import * as Layers from "../../Layers.ts"
import * as Announced from "./Announced.ts"
import { type Finding, of } from "./Finding.ts"
import type { Ground } from "./Ground.ts"
import * as Reach from "./Reach.ts"

/** Longest that one address is tried, in ms. */
const TRY_MS = 8_000
/** How long its record may take once it is known where the peer is, in ms: one that others do not believe never comes. */
const RECORD_MS = 1_500
/** Addresses that are tried. */
const MAX_TRIED = 16
/** A record further ahead than this, in ms, is told of: others believe it still. */
const CLOCK_WARN_MS = 5_000

interface Search {
  readonly record: AgentRecord.AgentRecord | undefined
  /** Where discoveries say that it is; also without its record. */
  readonly addresses: ReadonlyArray<string>
  readonly detail: string
}

/** The peer's record and addresses, from whoever knows them. */
const search = (options: Layers.Options, node: NodeId.NodeId): Effect.Effect<Search> => {
  const told = new Set<string>()
  const somewhere = Latch.makeUnsafe()
  const onFound = (found: Found): void => {
    options.onFound?.(found)
    if (found.node !== node) return
    for (const address of found.addresses) if (told.size < MAX_TRIED) told.add(address)
    if (told.size > 0) somewhere.openUnsafe()
  }
  return Effect.gen(function* () {
    const joined = yield* Node.Node
    const noRecord = Effect.as(Effect.andThen(somewhere.await, Effect.sleep(RECORD_MS)), [])
    const matches: ReadonlyArray<Match> = yield* Effect.raceFirst(joined.discover({ node, limit: 1 }), noRecord)
    return { record: matches[0]?.record, detail: matches.length === 0 ? "nobody knows it" : "" }
  }).pipe(
    Effect.provide(Layers.layer({ ...options, onFound })),
    Effect.catch((error) => Effect.succeed({ record: undefined, detail: error.message })),
    Effect.map((found) => ({ ...found, addresses: found.record?.addresses ?? [...told] })),
    Effect.scoped
  )
}

interface Reached {
  readonly peer: NodeId.NodeId
  /** What it says of itself; not verified. */
  readonly announced: unknown
}

interface Tried {
  readonly address: string
  readonly cause: Reach.Cause | undefined
  readonly ms: number
  readonly reached: Reached | undefined
}

/** One address by itself, on connections of its own, so that no other address answers for it. */
const attempt = (ground: Ground, address: string, node: NodeId.NodeId | undefined): Effect.Effect<Tried> =>
  Effect.gen(function* () {
    const began = performance.now()
    let ms = 0
    const outcome = yield* Effect.scoped(
      Effect.gen(function* () {
        const connections = yield* ground.connections({ listen: false })
        const announcement = yield* Announced.listen(connections)
        const target = { addresses: [address], ...(node === undefined ? {} : { node }) }
        const { peer } = yield* connections.connect(target)
        ms = performance.now() - began
        return { peer, announced: yield* announcement }
      })
    ).pipe(
      Effect.catch((error): Effect.Effect<TransportErrorReason | Reached> => Effect.succeed(error.reason)),
      Effect.timeoutOrElse({
        duration: TRY_MS,
        orElse: () => Effect.succeed<TransportErrorReason>({ _tag: "TimedOut", address, afterMs: TRY_MS })
      })
    )
    if (!("_tag" in outcome)) return { address, cause: undefined, ms, reached: outcome }
    ms = performance.now() - began
    const isDirect = address.startsWith("tcp:")
    const knocked = isDirect ? yield* Reach.knock(address, ground.perimeter) : undefined
    const cause = Reach.explain(address, outcome, knocked)
    if (isDirect) return { address, cause, ms, reached: undefined }
    const why = outcome._tag === "DialFailed" ? outcome.detail : cause.why
    return { address, cause: { ...cause, why: `through ${address.split("/")[2]}: ${why}` }, ms, reached: undefined }
  })

const ago = (ms: number): string => `${Math.round(Math.abs(ms) / 1_000)} s`

/** What is to be said of what a peer says of itself. */
const ofRecord = (value: unknown, node: NodeId.NodeId, now: number): Finding => {
  const find = of("record", "the peer's signed record")
  const record = AgentRecord.verify(value, { now, expect: node })
  if (record instanceof AgentRecord.RecordRefused) {
    const { reason } = record
    if (reason._tag === "Expired") {
      const found = `what it says of itself has ended ${ago(now - reason.expiresAt)} ago: the peer's clock is behind, or ours ahead`
      return find("fail", "RecordExpired", found, "set both clocks (NTP): nobody believes an expired record")
    }
    if (reason._tag === "FromFuture") {
      const found = `what it says of itself is of ${ago(reason.issuedAt - now)} in the future: the peer's clock is ahead, or ours behind`
      return find(
        "fail",
        "PeerClock",
        found,
        "set both clocks (NTP): nobody believes a record of more than 5 minutes ahead"
      )
    }
    return find("fail", "RecordRefused", record.message, "update the older of the two nodes")
  }
  const ahead = record.issuedAt - now
  if (ahead > CLOCK_WARN_MS) {
    const found = `made ${ago(ahead)} in the future: the peer's clock is ahead, or ours behind`
    return find("warn", "PeerClock", found, "set both clocks (NTP)")
  }
  const left = Math.round((record.expiresAt - now) / 60_000)
  const served = `${record.capabilities.length} capabilities, ${record.addresses.length} addresses`
  return find("ok", "Record", `${record.name ?? "no name"}: ${served}, good for ${left} min`)
}

/** What a peer says itself is newer than the record that others have of it. */
const ofRecords = (
  tried: ReadonlyArray<Tried>,
  known: AgentRecord.AgentRecord | undefined,
  now: number
): ReadonlyArray<Finding> => {
  const reached = tried.find((each) => each.reached?.announced !== undefined)?.reached
  if (reached !== undefined) return [ofRecord(reached.announced, reached.peer, now)]
  return known === undefined ? [] : [ofRecord(known, known.node, now)]
}

const ofReach = (tried: ReadonlyArray<Tried>): ReadonlyArray<Finding> => {
  const find = of("peer", `dialling ${tried.map(({ address }) => address).join(", ")}`)
  const isDirect = ({ address }: Tried): boolean => address.startsWith("tcp:")
  const failed = tried.flatMap((each) => (each.cause === undefined ? [] : [{ ...each, cause: each.cause }]))
  const whys = (of: ReadonlyArray<{ readonly cause: Reach.Cause }>): string =>
    of.map(({ cause }) => cause.why).join("; ")
  const direct = tried.find((each) => each.cause === undefined && isDirect(each))
  if (direct !== undefined) {
    return [
      find(
        "ok",
        "PeerDirect",
        `${direct.reached?.peer} is reached at ${direct.address}, in ${Math.round(direct.ms)} ms`
      )
    ]
  }
  const relayed = tried.find((each) => each.cause === undefined)
  if (relayed !== undefined) {
    const reasons = failed.filter(isDirect)
    const why = reasons.length === 0 ? "it publishes no address of its own" : whys(reasons)
    const advice = "forward a port at the peer's router, or let both use IPv6; until then a relay carries it"
    const found = `${relayed.reached?.peer} is reached through a relay only, in ${Math.round(relayed.ms)} ms: ${why}`
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
      const address = isLong ? peer.slice(0, peer.lastIndexOf("/")) : peer
      const tried = yield* attempt(ground, address, isLong ? end : undefined)
      return [...ofRecords([tried], undefined, yield* Clock.currentTimeMillis), ...ofReach([tried])]
    }
    const { addresses, detail, record } = yield* search(options, node)
    const tried = yield* Effect.forEach(addresses.slice(0, MAX_TRIED), (address) => attempt(ground, address, node), {
      concurrency: 8
    })
    if (record === undefined && tried.length === 0) {
      const find = of("peer", "every discovery of this node")
      const advice =
        "check that it runs, in the same network, and uses a tracker, DHT or local network that this node uses too"
      return [find("fail", "PeerNotFound", `${node} is not found: ${detail}`, advice)]
    }
    return [...ofRecords(tried, record, yield* Clock.currentTimeMillis), ...ofReach(tried)]
  })
