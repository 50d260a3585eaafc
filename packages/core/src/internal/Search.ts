/**
 * A search: every discovery and every peer is asked at once. Whoever is found on the way is asked, too, so that a node with one
 * acquaintance hears of all that this one knows.
 */
import { randomBytes } from "node:crypto"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as AgentRecord from "../AgentRecord.ts"
import type { Connections } from "../Connections.ts"
import type { DiscoveryError, Found, Membership } from "../Discovery.ts"
import type { Settings } from "../Guardrails.ts"
import type { MatchContext, Matcher } from "../Matcher.ts"
import type { Tried } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import type { Query } from "../Query.ts"
import type { Connection } from "../Transport.ts"
import { limited } from "./Limited.ts"
import { type Asked, MAX_QUERY_HOPS, MAX_QUERY_MS } from "./RecordsMessage.ts"

/** Nodes that one search connects to, to ask for records that a discovery does not carry. */
const MAX_HINTS = 64
/** Agents of one source whose unreachability a search explains; the rest is as telling. */
const MAX_TOLD_MISSES = 3

/** How long and how widely to search. */
export interface Options {
  /** Upper bound, in ms. */
  readonly withinMs: number
  /** End this long after the first match, in ms; undefined searches to the end. */
  readonly settleMs: number | undefined
  readonly hops: number
  /** Agents that are no match, for they have failed already. */
  readonly except?: ReadonlySet<string>
}

/** What a search needs of its directory. */
export interface Deps {
  readonly nodeId: NodeId
  readonly connections: Connections["Service"]
  readonly matcher: Matcher["Service"]
  readonly settings: Settings
  readonly context: () => MatchContext
  readonly discovery: () => Membership | undefined
  /** Takes a record in, or says why not. */
  readonly learn: (
    value: unknown,
    source: string,
    expect?: NodeId
  ) => AgentRecord.AgentRecord | AgentRecord.RecordRefused
  /** Waits for what a connected peer says of itself. */
  readonly recordOf: (peer: NodeId) => Effect.Effect<AgentRecord.AgentRecord>
  /** Notes who told of a node. */
  readonly remember: (node: NodeId, source: string) => void
  /** Asks peers; gives a way to stop. */
  readonly ask: (
    asked: Asked,
    peers: ReadonlyArray<Connection>,
    tell: (record: AgentRecord.AgentRecord, peer: NodeId) => void,
    done: () => void
  ) => () => void
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}

/** Makes searches; each tells what was tried, and leaves what it found among the known records. */
export const make = (deps: Deps): ((query: Query, options: Options) => Effect.Effect<ReadonlyArray<Tried>>) => {
  const { connections, learn, matcher, recordOf, remember, run, settings } = deps

  /** Follows what a discovery says, to a record if it can; who cannot be reached, and why, is told to `missed`. */
  const follow = (
    found: Found,
    missed: (source: string, why: string) => void
  ): Effect.Effect<AgentRecord.AgentRecord | undefined> => {
    if (found.gone === true || found.node === deps.nodeId) return Effect.succeed(undefined)
    if (found.record !== undefined) {
      const learned = learn(found.record, found.source, found.node)
      return Effect.succeed(learned instanceof AgentRecord.RecordRefused ? undefined : learned)
    }
    const known = found.node === undefined ? undefined : matcher.get(found.node)
    if (known !== undefined) return Effect.succeed(known)
    return connections
      .connect({ addresses: found.addresses, ...(found.node === undefined ? {} : { node: found.node }) })
      .pipe(
        Effect.flatMap((connection) => recordOf(connection.peer)),
        Effect.tap((record) => Effect.sync(() => remember(record.node, found.source))),
        Effect.timeout(settings.searchMs),
        Effect.catch((error) =>
          Effect.sync(() => {
            const why = error._tag === "TimeoutError" ? "it did not say in time what it serves" : error.message
            missed(found.source, `${found.node ?? found.addresses.join(", ")}: ${why}`)
            return undefined
          })
        )
      )
  }

  return Effect.fnUntraced(function* (query: Query, options: Options): Effect.fn.Return<ReadonlyArray<Tried>> {
    const began = performance.now()
    const tried: Array<Tried> = []
    const settled = Deferred.makeUnsafe<void>()
    let ended = false
    let matches = 0
    const hit = (): void => {
      if (options.settleMs === undefined) return
      const { except } = options
      const found = matcher.match(limited(query, 1 + (except?.size ?? 0)), deps.context())
      if (found.every(({ node }) => except?.has(node) === true)) return
      matches += 1
      if (matches === 1) {
        run(Effect.andThen(Effect.sleep(options.settleMs), Deferred.succeed(settled, undefined)))
      }
    }
    const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(1)} s`

    const { minTrust: _minTrust, ...asked } = query
    const id = randomBytes(8).toString("hex")
    const asking = new Set<NodeId>()
    let told = 0
    const askPeers = (peers: ReadonlyArray<Connection>) =>
      Effect.callback<void>((resume) => {
        for (const { peer } of peers) asking.add(peer)
        const stop = deps.ask(
          {
            id,
            hops: Math.min(options.hops, MAX_QUERY_HOPS),
            ms: Math.min(Math.max(1, Math.ceil(options.withinMs)), MAX_QUERY_MS),
            query: asked
          },
          peers,
          () => {
            told += 1
            hit()
          },
          () => resume(Effect.void)
        )
        return Effect.sync(stop)
      })

    const reports = new Map<string, string>()
    const misses = new Map<string, Array<string>>()
    const missed = (source: string, why: string): void => {
      const all = misses.get(source) ?? []
      misses.set(source, all)
      if (all.length < MAX_TOLD_MISSES) all.push(why)
    }
    const discovery = deps.discovery()
    const discovered =
      discovery === undefined
        ? Effect.void
        : discovery
            .find(query, ({ source, count, error }) => {
              if (ended) return
              reports.set(
                source,
                error === undefined
                  ? answers(count)
                  : count === 0
                    ? error.detail
                    : `${answers(count)}, then ${error.detail}`
              )
            })
            .pipe(
              Stream.take(MAX_HINTS),
              Stream.mapEffect((found) => follow(found, missed), { concurrency: 8, unordered: true }),
              Stream.runForEach((record) => Effect.sync(() => void (record !== undefined && hit()))),
              Effect.catch((error: DiscoveryError) =>
                Effect.sync(() => void (reports.has(error.source) || reports.set(error.source, error.detail)))
              )
            )

    hit()
    const all = Effect.all([askPeers(connections.list()), discovered], { concurrency: "unbounded", discard: true })
    const newcomers = Effect.suspend(() => askPeers(connections.list().filter(({ peer }) => !asking.has(peer))))
    yield* Effect.raceFirst(Effect.andThen(all, newcomers), Deferred.await(settled)).pipe(
      Effect.timeoutOption(options.withinMs)
    )
    ended = true
    for (const [step, detail] of reports) {
      tried.push({ step, detail: [detail, ...(misses.get(step) ?? [])].join("; ") })
    }
    tried.push({
      step: "query across the mesh",
      detail:
        asking.size === 0
          ? "no peers"
          : `${asking.size} ${asking.size === 1 ? "peer" : "peers"}, ${answers(told)}, ${seconds()}`
    })
    return tried
  })
}

const answers = (count: number): string => (count === 0 ? "no answer" : count === 1 ? "1 answer" : `${count} answers`)
