/**
 * Discovery: how nodes learn of each other.
 *
 * A discovery advertises this node, finds others for a query, and tells of changes it hears. What it finds is a hint: a
 * signed record counts by its own signature, addresses count once whoever answers there has proven the NodeId.
 *
 * What every implementation MUST do (the laws are in `@parley/core/testing/DiscoverySuite`):
 * - find again what was advertised, in its newest version, and not what was withdrawn or has expired;
 * - never let one node's advertisement replace another's;
 * - end `find` when it has nothing more to say, at the latest after its documented time;
 * - withdraw the advertisement when the scope of `join` closes.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AgentRecord from "./AgentRecord.ts"
import type { Connections } from "./Connections.ts"
import type { NodeId } from "./NodeId.ts"
import type { Query } from "./Query.ts"
import type { Address } from "./Transport.ts"

/** Something a discovery has learned, and from where. */
export interface Found {
  /** Which discovery says so: `static`, `mDNS`, `tracker z6Mk…`. */
  readonly source: string
  /** Whom it is about; absent when only an address is known. */
  readonly node?: NodeId
  /** Where to reach it, best first. */
  readonly addresses: ReadonlyArray<Address>
  /** Its record, with the signature not yet checked; absent when it must be asked for. */
  readonly record?: AgentRecord.AgentRecord
  /** The node has said goodbye. */
  readonly gone?: boolean
}

/** What a discovery may know and use of the node it serves. */
export interface Host {
  readonly nodeId: NodeId
  /** The node's own record, as signed last. */
  readonly record: () => AgentRecord.AgentRecord
  /** Where the node listens. */
  readonly addresses: () => ReadonlyArray<Address>
  readonly connections: Connections["Service"]
  /** The node is part of a private network: nothing of its record may be shown in the clear. */
  readonly isPrivate: boolean
}

/** What one source gave to one search. */
export interface Outcome {
  /** `static`, `mDNS`, `tracker tcp://…`. */
  readonly source: string
  /** How many times it said something. */
  readonly count: number
  /** Why it gave no more. */
  readonly error?: DiscoveryError
  /** The search was abandoned before the source was done. */
  readonly stopped?: boolean
}

/** A discovery at work for one node. */
export interface Membership {
  /**
   * Makes the node's present record findable, in place of what was advertised before. The record is `host.record()`; a
   * tombstone withdraws. Safe to repeat.
   */
  readonly advertise: Effect.Effect<void, DiscoveryError>
  /**
   * What is known for a query, as it comes in; ends when there is no more. Hits may be too many: who asks filters.
   * `report`, where given, hears once from every source how its part of the search went (`counted` does it).
   */
  readonly find: (query: Query, report?: (outcome: Outcome) => void) => Stream.Stream<Found, DiscoveryError>
  /**
   * What is heard without asking: announcements and goodbyes. Begins with what was heard before and still holds, goes on
   * while the membership lasts, and is then over.
   */
  readonly changes: Stream.Stream<Found>
}

/** One source of a search that gave nothing, and why. */
export class DiscoveryError extends Schema.TaggedError<DiscoveryError>()("DiscoveryError", {
  source: Schema.String,
  /** `Unreachable`: nobody answered. `Refused`: somebody said no. `Malformed`: an answer made no sense. `Failed`: else. */
  code: Schema.Literals(["Unreachable", "Refused", "Malformed", "Failed"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.source}: ${this.detail}`
  }
}

/** How a node learns of others. */
export class Discovery extends Context.Service<
  Discovery,
  {
    /** Short name for messages: `static`, `mDNS`, `tracker tcp://…`. */
    readonly name: string
    /** Goes to work for a node; closing the scope withdraws and stops. */
    readonly join: (host: Host) => Effect.Effect<Membership, DiscoveryError, Scope.Scope>
  }
>()("@parley/core/Discovery") {}

/** A source's part of a search that tells `report` how it went, once, when it ends. */
export const counted = (
  source: string,
  report: ((outcome: Outcome) => void) | undefined,
  found: Stream.Stream<Found, DiscoveryError>
): Stream.Stream<Found, DiscoveryError> =>
  report === undefined
    ? found
    : Stream.suspend(() => {
        let count = 0
        let ended = false
        const end = Stream.suspend(() => {
          ended = true
          return Stream.empty
        })
        return found.pipe(
          Stream.map((one) => {
            count++
            return one
          }),
          Stream.concat(end),
          Stream.onExit((exit) =>
            Effect.sync(() => {
              const failed = Exit.findErrorOption(exit)
              if (failed._tag === "Some") report({ source, count, error: failed.value })
              else report(ended ? { source, count } : { source, count, stopped: true })
            })
          )
        )
      })

/** One source of a merge: at work, or the reason why it is not. */
interface Part {
  readonly name: string
  readonly membership: Result.Result<Membership, DiscoveryError>
}

const together = (source: string, errors: ReadonlyArray<DiscoveryError>): DiscoveryError => {
  const [first] = errors
  if (first === undefined) return new DiscoveryError({ source, code: "Failed", detail: "no discovery was given" })
  if (errors.length === 1) return first
  const code = errors.every((error) => error.code === first.code) ? first.code : "Failed"
  return new DiscoveryError({ source, code, detail: errors.map((error) => error.message).join("; ") })
}

/** Passes on what is new in one search: the newest valid record per node, and addresses that no record has told yet. */
const makeSieve = () => {
  const newest = new Map<NodeId, AgentRecord.AgentRecord>()
  const hints = new Set<string>()
  return (found: Found, now: number): Found | undefined => {
    const { record } = found
    if (record === undefined || found.gone === true) {
      const hint = JSON.stringify([found.node ?? "", found.addresses, found.gone ?? false])
      if (hints.has(hint)) return undefined
      hints.add(hint)
      return found
    }
    if (found.node !== undefined && found.node !== record.node) return undefined
    const known = newest.get(record.node)
    const verified = AgentRecord.verify(record, { now, known })
    if (verified instanceof AgentRecord.RecordRefused || verified === known) return undefined
    newest.set(verified.node, verified)
    return { ...found, node: verified.node, record: verified }
  }
}

const sift = (
  source: Stream.Stream<Found, DiscoveryError>,
  sieve: (found: Found, now: number) => Found | undefined
): Stream.Stream<Found, DiscoveryError> =>
  source.pipe(
    Stream.mapEffect((found) => Effect.map(Clock.currentTimeMillis, (now) => sieve(found, now))),
    Stream.filter((found) => found !== undefined)
  )

/** Reports for a part that does not do so itself, and never twice. */
const reportedOnce = (
  part: Part,
  membership: Membership,
  query: Parameters<Membership["find"]>[0],
  report: ((outcome: Outcome) => void) | undefined
): Stream.Stream<Found, DiscoveryError> =>
  Stream.suspend(() => {
    let reported = false
    const inner =
      report &&
      ((outcome: Outcome): void => {
        reported = true
        report(outcome)
      })
    const outer = report && ((outcome: Outcome): void => void (reported || report(outcome)))
    return counted(part.name, outer, membership.find(query, inner))
  })

const mergeMemberships = (name: string, parts: ReadonlyArray<Part>): Result.Result<Membership, DiscoveryError> => {
  const joined = parts.flatMap((part) =>
    Result.isSuccess(part.membership) ? [{ part, membership: part.membership.success }] : []
  )
  const aside = parts.flatMap((part) =>
    Result.isFailure(part.membership) ? [{ name: part.name, error: part.membership.failure }] : []
  )
  const refusals = aside.map(({ error }) => error)
  if (joined.length === 0) return Result.fail(together(name, refusals))
  return Result.succeed({
    advertise: Effect.gen(function* () {
      const results = yield* Effect.forEach(joined, ({ membership }) => Effect.result(membership.advertise), {
        concurrency: "unbounded"
      })
      const errors = results.flatMap((result) => (Result.isFailure(result) ? [result.failure] : []))
      if (errors.length === results.length) return yield* together(name, [...errors, ...refusals])
      if (errors.length > 0) yield* Effect.logDebug(together(name, errors).message)
    }),
    find: (query, report) =>
      Stream.suspend(() => {
        const errors = [...refusals]
        const sieve = makeSieve()
        for (const { error, name: source } of aside) report?.({ source, count: 0, error })
        const sources = joined.map(({ part, membership }) =>
          reportedOnce(part, membership, query, report).pipe(
            Stream.catch((error) => {
              errors.push(error)
              return Stream.empty
            })
          )
        )
        return sift(Stream.mergeAll(sources, { concurrency: "unbounded" }), sieve).pipe(
          Stream.concat(
            Stream.suspend(() => (errors.length === parts.length ? Stream.fail(together(name, errors)) : Stream.empty))
          )
        )
      }),
    changes: Stream.mergeAll(
      joined.map(({ membership }) => membership.changes),
      { concurrency: "unbounded" }
    ).pipe(
      Stream.mapEffect((found) =>
        Effect.map(Clock.currentTimeMillis, (now): Found | undefined => {
          if (found.record === undefined) return found
          const record = AgentRecord.verify(found.record, { now, expect: found.node })
          return record instanceof AgentRecord.RecordRefused ? undefined : { ...found, record }
        })
      ),
      Stream.filter((found) => found !== undefined)
    )
  })
}

/**
 * Several discoveries as one, asked side by side.
 *
 * Of each node the newest record that its own signature vouches for is passed on; what does not verify is dropped. A source
 * that fails leaves the search to the others; only when all have failed does it fail, with each cause. A source that
 * cannot join stands aside and says why in every search; joining fails only when none can.
 */
export const merge = (discoveries: ReadonlyArray<Discovery["Service"]>): Discovery["Service"] => {
  const name = discoveries.map((discovery) => discovery.name).join(", ")
  return Discovery.of({
    name,
    join: Effect.fn("Discovery.join")(function* (host: Host) {
      const parts = yield* Effect.forEach(
        discoveries,
        (discovery) =>
          Effect.map(Effect.result(discovery.join(host)), (membership): Part => ({ name: discovery.name, membership })),
        { concurrency: "unbounded" }
      )
      const joined = mergeMemberships(name, parts)
      if (joined._tag === "Failure") return yield* joined.failure
      return joined.success
    })
  })
}

/** The discoveries of several layers as one; see `merge`. */
export const layerMerge = <const Layers extends ReadonlyArray<Layer.Layer<Discovery, unknown, unknown>>>(
  layers: Layers
): Layer.Layer<Discovery, Layer.Error<Layers[number]>, Layer.Services<Layers[number]>> => {
  // Each layer gives the same service, so each is built into a context of its own.
  const build = (layer: Layers[number]) =>
    Effect.map(
      Layer.build(layer as Layer.Layer<Discovery, Layer.Error<Layers[number]>, Layer.Services<Layers[number]>>),
      (context) => Context.get(context, Discovery)
    )
  return Layer.effect(Discovery, Effect.map(Effect.forEach(layers, build), merge))
}
