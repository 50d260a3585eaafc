/**
 * The directory: which agents this node knows, and how it learns of more.
 *
 * Peers tell each other their own records as soon as they connect and whenever these change. A query goes to every
 * discovery and to every peer, which asks its own peers in turn as far as the hops go. Whatever comes back is believed only
 * by its own signature.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AgentRecord from "../AgentRecord.ts"
import type { CapabilityRecord } from "../Capability.ts"
import type { Connections } from "../Connections.ts"
import type { Found, Membership } from "../Discovery.ts"
import type { Settings } from "../Guardrails.ts"
import type { Identity } from "../Identity.ts"
import type { MatchContext, Matcher, TrustOf } from "../Matcher.ts"
import type { Tried } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import * as Protocol from "../Protocol.ts"
import type { Query } from "../Query.ts"
import { type Connection, ResetCode, type Stream as PeerStream, type StreamHandler } from "../Transport.ts"
import * as Announcements from "./Announcements.ts"
import * as Search from "./Search.ts"
import { HeldRecords } from "./HeldRecords.ts"
import { RateLimit } from "../RateLimit.ts"
import { type Asked, empty, head, QUERY, readQuery, readRecord, RECORD } from "./RecordsMessage.ts"

/** Records that one peer may answer to one query. */
export const MAX_ANSWERS = 50
/** Peers that one query is passed on to. */
export const MAX_FANOUT = 32
/** Queries remembered, so that one that comes back is not passed on again. */
const MAX_SEEN = 10_000
/** Records that a peer may announce of itself at once, and a second: the largest costs 5 ms to verify and index. */
const ANNOUNCEMENTS_AT_ONCE = 20
const ANNOUNCEMENTS_PER_SECOND = 2
/** Milliseconds a second that are spent on checking and indexing what peers announce, of one and of all. */
export const LEARNING_MS_PER_SECOND = { ofOne: 10, ofAll: 200 }
/** How much of that may be saved up: ten of the largest records of one. */
export const LEARNING_MS_AT_ONCE = { ofOne: 50, ofAll: 100 }
/** Queries of one peer that are answered at once: each may hold a timer, and a stream to every other peer. */
export const MAX_QUERIES_PER_PEER = 64
/** Queries of one peer that are passed on a second, and of all peers: this node's own queries count at its peers, too. */
export const PASSED_ON_PER_SECOND = { ofOne: 10, ofAll: 50 }
/** Milliseconds a second that are spent on answering the queries of one peer, and of all. */
export const MATCHING_MS_PER_SECOND = { ofOne: 100, ofAll: 400 }
/** How much of that may be saved up: a node that was asked nothing for long is still held up by no more than this at once. */
export const MATCHING_MS_AT_ONCE = { ofOne: 100, ofAll: 200 }
/** Bytes of records that one answer carries, about; ten of the largest, or all fifty of ordinary ones. */
export const MAX_ANSWER_BYTES = 640 * 1024
/**
 * Records that go for one of a connected peer where no more fit: one by number, more by bytes, for the largest takes the room of many
 * small ones.
 */
const MAX_DISPLACED = 64
/** Stands for all peers together among the keys of a rate limit. */
const ALL = ""

/** Whom a peer trusts is its own matter: here all are trusted alike. */
const alike: TrustOf = Object.assign(() => 1, { tried: () => [], rest: 1 })

/** What the directory needs of its node. */
export interface Deps {
  readonly name: string
  readonly identity: Identity["Service"]
  readonly connections: Connections["Service"]
  readonly matcher: Matcher["Service"]
  readonly settings: Settings
  readonly context: () => MatchContext
  readonly capabilities: () => ReadonlyArray<CapabilityRecord>
}

/** Which agents a node knows. */
export interface Directory {
  /** The node's own record, as signed last. */
  readonly own: () => AgentRecord.AgentRecord
  /** Signs the record anew and tells everybody; the reason when it would be refused. */
  readonly refresh: () => AgentRecord.RecordRefused | undefined
  /** Withdraws the record: peers hear a tombstone. */
  readonly withdraw: () => void
  /** Waits until a connected peer has told its record. */
  readonly recordOf: (peer: NodeId) => Effect.Effect<AgentRecord.AgentRecord>
  readonly search: (query: Query, options: Search.Options) => Effect.Effect<ReadonlyArray<Tried>>
  /** Which step of a search told of a node last. */
  readonly sourceOf: (node: NodeId) => string
  /** Gives the directory its discovery, once that has joined; `meet` hears of everybody whom it tells of. */
  readonly attach: (membership: Membership, meet?: (found: Found) => void) => Effect.Effect<void, never, Scope.Scope>
}

/** Makes the directory, and exchanges records with peers until the scope closes. */
export const make = Effect.fnUntraced(function* (deps: Deps): Effect.fn.Return<Directory, never, Scope.Scope> {
  const { connections, identity, matcher, settings } = deps
  const run = Effect.runForkWith(yield* Effect.context())
  const answering = new Map<NodeId, number>()
  const waiting = new Map<NodeId, Set<(record: AgentRecord.AgentRecord) => void>>()
  const sources = new Map<NodeId, string>()
  const seen = new Set<string>()
  const held = new HeldRecords(settings.recordBytes)
  const announced = new RateLimit(ANNOUNCEMENTS_PER_SECOND, ANNOUNCEMENTS_AT_ONCE)
  const passedOn = {
    ofOne: new RateLimit(PASSED_ON_PER_SECOND.ofOne),
    ofAll: new RateLimit(PASSED_ON_PER_SECOND.ofAll)
  }
  const matching = {
    ofOne: new RateLimit(MATCHING_MS_PER_SECOND.ofOne, MATCHING_MS_AT_ONCE.ofOne),
    ofAll: new RateLimit(MATCHING_MS_PER_SECOND.ofAll, MATCHING_MS_AT_ONCE.ofAll)
  }
  const learning = {
    ofOne: new RateLimit(LEARNING_MS_PER_SECOND.ofOne, LEARNING_MS_AT_ONCE.ofOne),
    ofAll: new RateLimit(LEARNING_MS_PER_SECOND.ofAll, LEARNING_MS_AT_ONCE.ofAll)
  }
  const isSpent = ({ ofAll, ofOne }: typeof matching, peer: NodeId): boolean => {
    const now = performance.now()
    return !ofOne.has(peer, now) || !ofAll.has(ALL, now)
  }
  const chargeSince = (began: number, peer: NodeId, { ofAll, ofOne } = matching): void => {
    const now = performance.now()
    ofOne.charge(peer, now - began, now)
    ofAll.charge(ALL, now - began, now)
  }
  const queries = new RateLimit(settings.queriesPerSecond)
  let membership: Membership | undefined
  let withdrawn = false
  let advertising = false

  const sign = (): AgentRecord.AgentRecord => {
    const now = Date.now()
    return AgentRecord.make(identity, {
      name: deps.name,
      seq: Math.max(now, (own?.seq ?? 0) + 1),
      issuedAt: now,
      addresses: connections.addresses().slice(0, AgentRecord.MAX_ADDRESSES),
      capabilities: deps.capabilities()
    })
  }
  let own: AgentRecord.AgentRecord | undefined
  own = sign()
  matcher.upsert(own)

  const current = (): AgentRecord.AgentRecord => own ?? (own = sign())
  const announcements = Announcements.make(connections, current)

  /** Believes a record by its own signature alone. */
  const learn = (
    value: unknown,
    source: string,
    expect?: NodeId
  ): AgentRecord.AgentRecord | AgentRecord.RecordRefused => {
    const node = typeof value === "object" && value !== null && "node" in value ? (value.node as NodeId) : expect
    const known = node === undefined ? undefined : matcher.get(node)
    const verified = AgentRecord.verify(value, {
      now: Date.now(),
      ...(known === undefined ? {} : { known }),
      ...(expect === undefined ? {} : { expect })
    })
    if (verified instanceof AgentRecord.RecordRefused) return verified
    if (verified.node === identity.nodeId) return verified
    if (!makeRoom(verified, known)) return verified
    matcher.upsert(verified)
    if (AgentRecord.isTombstone(verified)) {
      sources.delete(verified.node)
      held.delete(verified.node)
    } else if (verified !== known || !sources.has(verified.node)) remember(verified.node, source)
    const waiters = waiting.get(verified.node)
    waiting.delete(verified.node)
    if (waiters !== undefined) for (const tell of waiters) tell(verified)
    return verified
  }
  /** Whether a record may be held, once those that have expired are gone. */
  const makeRoom = (record: AgentRecord.AgentRecord, known: AgentRecord.AgentRecord | undefined): boolean => {
    const fits = (): boolean =>
      (known !== undefined || matcher.size().records < settings.records) && (record === known || held.take(record))
    if (AgentRecord.isTombstone(record) || fits()) return true
    matcher.prune(Date.now())
    held.keep((node) => matcher.get(node) !== undefined)
    return fits() || (connections.get(record.node) !== undefined && displace(fits))
  }
  /** Lets go of agents that are not connected, those longest not renewed first, until a connected one fits. */
  const displace = (fits: () => boolean): boolean => {
    let displaced = 0
    for (const { node } of matcher.records()) {
      if (node === identity.nodeId || connections.get(node) !== undefined) continue
      if (displaced++ === MAX_DISPLACED) return false
      matcher.remove(node)
      held.delete(node)
      sources.delete(node)
      if (fits()) return true
    }
    return false
  }
  const remember = (node: NodeId, source: string): void => {
    sources.delete(node)
    sources.set(node, source)
    if (sources.size > settings.records) {
      const oldest = sources.keys().next()
      if (oldest.done !== true) sources.delete(oldest.value)
    }
  }

  const advertise = (): void => {
    if (membership === undefined || advertising) return
    advertising = true
    queueMicrotask(() => {
      advertising = false
      if (membership === undefined) return
      run(
        membership.advertise.pipe(
          Effect.catch((error) => Effect.logInfo(`not advertised at ${error.source}: ${error.detail}`))
        )
      )
    })
  }

  const tellAll = (): void => {
    for (const connection of connections.list()) announcements.announceTo(connection)
    advertise()
  }

  const refresh = (): AgentRecord.RecordRefused | undefined => {
    if (withdrawn) return undefined
    try {
      own = sign()
    } catch (error) {
      if (error instanceof AgentRecord.RecordRefused) return error
      throw error
    }
    matcher.upsert(own)
    tellAll()
    return undefined
  }

  const withdraw = (): void => {
    if (withdrawn) return
    withdrawn = true
    const now = Date.now()
    own = AgentRecord.tombstone(identity, Math.max(now, current().seq + 1), now)
    matcher.remove(identity.nodeId)
    tellAll()
  }

  /**
   * Answers a peer's query from what is known, and from what its other peers answer while hops remain. Gives the handler's
   * remaining part: records wait here, and not in the stream, while the peer does not take them.
   */
  const answer = (
    connection: Connection,
    stream: PeerStream,
    asked: Asked
  ): Pick<StreamHandler, "onWritable" | "onClosed"> => {
    const { peer } = connection
    answering.set(peer, (answering.get(peer) ?? 0) + 1)
    const told = new Set<NodeId>()
    const queue: Array<AgentRecord.AgentRecord> = []
    let bytes = 0
    let blocked = false
    let complete = false
    let over = false
    const finish = (): void => {
      if (over) return
      over = true
      clearTimeout(timer)
      stop()
      const left = (answering.get(peer) ?? 1) - 1
      if (left > 0) answering.set(peer, left)
      else answering.delete(peer)
    }
    const flush = (): void => {
      if (over) return
      const began = performance.now()
      while (!blocked) {
        const record = queue.shift()
        if (record === undefined) break
        const text = JSON.stringify(record)
        bytes += text.length
        blocked = !stream.send(head.record, text, false)
        if (bytes < MAX_ANSWER_BYTES) continue
        queue.length = 0
        complete = true
      }
      chargeSince(began, peer)
      if (!complete || blocked) return
      finish()
      stream.send(empty, undefined, true)
    }
    const tell = (record: AgentRecord.AgentRecord): void => {
      if (over || complete || told.size >= MAX_ANSWERS || told.has(record.node) || record.node === peer) return
      told.add(record.node)
      queue.push(record)
      flush()
    }
    const end = (): void => {
      complete = true
      flush()
    }
    let stop = (): void => {}
    // A peer that does not even take its answers in time has them no more.
    const timer = setTimeout(() => {
      end()
      if (!over) {
        finish()
        stream.reset(ResetCode.TooSlow)
      }
    }, asked.ms)
    const began = performance.now()
    const matches = matcher.match({ ...asked.query, limit: MAX_ANSWERS }, { ...deps.context(), trust: alike })
    chargeSince(began, peer)
    for (const match of matches) tell(match.record)
    const hops = Math.min(asked.hops, settings.hops)
    if (!over && hops > 0 && !seen.has(asked.id) && mayPassOn(peer))
      stop = askPeers(
        { ...asked, hops: hops - 1 },
        connections.list().filter((other) => other.peer !== peer),
        tell,
        end
      )
    else queueMicrotask(end)
    note(asked.id)
    return {
      onWritable: () => {
        blocked = false
        flush()
      },
      onClosed: finish
    }
  }
  /** A query that may not be passed on is answered from what is known here. */
  const mayPassOn = (peer: NodeId): boolean => {
    const now = Date.now()
    return passedOn.ofOne.take(peer, now) === 0 && passedOn.ofAll.take(ALL, now) === 0
  }
  const note = (id: string): void => {
    seen.add(id)
    if (seen.size > MAX_SEEN) {
      const oldest = seen.values().next()
      if (oldest.done !== true) seen.delete(oldest.value)
    }
  }

  /** Asks peers; `done` is called when all have ended. Gives a way to stop. */
  const askPeers = (
    asked: Asked,
    peers: ReadonlyArray<Connection>,
    tell: (record: AgentRecord.AgentRecord, peer: NodeId) => void,
    done: () => void
  ): (() => void) => {
    note(asked.id)
    const body = JSON.stringify(asked)
    const open = new Set<PeerStream>()
    let finished = false
    const close = (stream: PeerStream | undefined): void => {
      if (stream !== undefined) open.delete(stream)
      if (open.size === 0 && !finished) {
        finished = true
        done()
      }
    }
    for (const connection of peers.slice(0, MAX_FANOUT)) {
      let left = MAX_ANSWERS
      const stream: PeerStream | undefined = connection.open(Protocol.RECORDS, {
        onMessage: (message, last) => {
          if (message.length > 0) {
            const record = readRecord(message)
            left -= 1
            if (record === undefined || left < 0) {
              stream?.reset(ResetCode.Malformed)
              return close(stream)
            }
            const learned = learn(record, `query across the mesh`)
            if (!(learned instanceof AgentRecord.RecordRefused)) tell(learned, connection.peer)
          }
          if (last) close(stream)
        },
        onWritable: () => {},
        onClosed: () => close(stream)
      })
      if (stream === undefined) continue
      open.add(stream)
      stream.send(head.query, body, true)
    }
    if (open.size === 0) queueMicrotask(() => close(undefined))
    return () => {
      finished = true
      for (const stream of open) stream.reset(ResetCode.Cancelled)
      open.clear()
    }
  }

  const accept = (connection: Connection, stream: PeerStream): StreamHandler => {
    const { peer } = connection
    let running: Pick<StreamHandler, "onWritable" | "onClosed"> | undefined
    const refuse = (code: ResetCode): void => {
      stream.reset(code)
      running?.onClosed(code)
    }
    const record = (message: Uint8Array, last: boolean): void => {
      if (announced.take(peer, Date.now()) > 0 || isSpent(learning, peer)) return refuse(ResetCode.Overloaded)
      const began = performance.now()
      const read = readRecord(message)
      const learned = read === undefined ? undefined : learn(read, "connected", peer)
      chargeSince(began, peer, learning)
      if (learned === undefined) return refuse(ResetCode.Malformed)
      if (learned instanceof AgentRecord.RecordRefused && learned.reason._tag !== "NotNewer") {
        run(Effect.logDebug(`record of ${peer} refused: ${learned.message}`))
      }
      if (last) stream.send(empty, undefined, true)
    }
    const query = (message: Uint8Array): void => {
      if (queries.take(peer, Date.now()) > 0 || (answering.get(peer) ?? 0) >= MAX_QUERIES_PER_PEER) {
        return refuse(ResetCode.Overloaded)
      }
      if (isSpent(matching, peer)) return refuse(ResetCode.Overloaded)
      const asked = readQuery(message)
      if (asked === undefined) return refuse(ResetCode.Malformed)
      running = answer(connection, stream, asked)
    }
    return {
      onMessage: (message, last) => {
        try {
          if (running !== undefined) return refuse(ResetCode.Malformed)
          if (message[0] === RECORD) return record(message, last)
          if (message[0] === QUERY && last) return query(message)
          if (message.length === 0 && last) return void stream.send(empty, undefined, true)
          refuse(ResetCode.Malformed)
        } catch (defect) {
          refuse(ResetCode.Internal)
          run(Effect.logError(`a message of ${peer} could not be handled`, defect))
        }
      },
      onWritable: () => running?.onWritable(),
      onClosed: (code) => running?.onClosed(code)
    }
  }

  const recordOf = (peer: NodeId): Effect.Effect<AgentRecord.AgentRecord> =>
    Effect.callback((resume) => {
      const known = matcher.get(peer)
      if (known !== undefined) return resume(Effect.succeed(known))
      const tell = (record: AgentRecord.AgentRecord): void => resume(Effect.succeed(record))
      const waiters = waiting.get(peer) ?? new Set()
      waiting.set(peer, waiters.add(tell))
      return Effect.sync(() => {
        waiters.delete(tell)
        if (waiters.size === 0 && waiting.get(peer) === waiters) waiting.delete(peer)
      })
    })

  const search = Search.make({
    nodeId: identity.nodeId,
    connections,
    matcher,
    settings,
    context: deps.context,
    discovery: () => membership,
    learn,
    recordOf,
    remember,
    ask: askPeers,
    run
  })

  yield* Effect.orDie(connections.handle(Protocol.RECORDS, accept))
  yield* connections.observe({
    onConnected: announcements.announceTo,
    onDisconnected: announcements.disconnected,
    onAddresses: () => void refresh()
  })
  const renew = setInterval(() => void refresh(), AgentRecord.DEFAULT_LIFETIME / 2)
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      clearInterval(renew)
      announcements.stop()
    })
  )

  return {
    own: current,
    refresh,
    withdraw,
    recordOf,
    search,
    sourceOf: (node) => sources.get(node) ?? "known records",
    attach: (joined, meet) =>
      Effect.gen(function* () {
        membership = joined
        advertise()
        yield* joined.changes.pipe(
          Stream.mapEffect((found) =>
            // An announcement with a record is taken in; one without is followed only when somebody searches.
            Effect.sync(() => {
              if (found.record !== undefined && found.gone !== true) learn(found.record, found.source, found.node)
              meet?.(found)
            })
          ),
          Stream.runDrain,
          Effect.forkScoped
        )
      })
  }
})
