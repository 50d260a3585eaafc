/**
 * A Discovery of one's own: nodes that share a folder, each with one file, `<NodeId>.json`, that holds its signed record.
 *
 * A file is replaced by an atomic rename, so that nobody reads half a record. What is read counts by its signature and
 * must be of the node that the file is named after; anything else in the folder is passed over. Searches read the folder and
 * end. Changes are heard from `fs.watch`, and where that is deaf (network drives) by looking every two seconds.
 *
 * Who may write to the folder can delete files, but cannot make a node say what it did not sign.
 */
import { randomBytes } from "node:crypto"
import { watch } from "node:fs"
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import { counted, Discovery, DiscoveryError, type Found, type Host, type Membership } from "@parley/core/Discovery"
import * as Feed from "@parley/core/Feed"
import * as NodeId from "@parley/core/NodeId"
import type { Query } from "@parley/core/Query"

/** How often the folder is read without being told to, in milliseconds. */
export const LOOK_MS = 2_000
/** Files read in one look: a shared folder is for the agents of a team, not for the world. */
export const MAX_FILES = 10_000

const ending = ".json"
const failed = (source: string, code: DiscoveryError["code"], cause: unknown) =>
  new DiscoveryError({ source, code, detail: cause instanceof Error ? cause.message : String(cause) })

/** Reads one node's file: its record, if there is one that its signature vouches for now. */
const read = (folder: string, node: NodeId.NodeId, now: number): Effect.Effect<AgentRecord.AgentRecord | undefined> =>
  Effect.promise(async () => {
    const path = join(folder, node + ending)
    try {
      if ((await stat(path)).size > AgentRecord.MAX_RECORD_BYTES) return undefined
      const record = AgentRecord.verify(await readFile(path), { now, expect: node })
      return record instanceof AgentRecord.RecordRefused || AgentRecord.isTombstone(record) ? undefined : record
    } catch {
      // It went while we looked.
      return undefined
    }
  })

const enter = Effect.fn("FolderDiscovery.join")(function* (source: string, folder: string, host: Host) {
  const attempt = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({ try: run, catch: (cause) => failed(source, "Failed", cause) })
  const path = join(folder, host.nodeId + ending)
  const foundOf = (record: AgentRecord.AgentRecord): Found => ({
    source,
    node: record.node,
    addresses: record.addresses,
    record
  })
  let advertised: AgentRecord.AgentRecord | undefined

  /** Every other node's record, or that of the one node asked for. */
  const look = (query: Query) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const names = query.node === undefined ? yield* attempt(() => readdir(folder)) : [query.node + ending]
      const nodes = names.slice(0, MAX_FILES).flatMap((name) => {
        const node = name.endsWith(ending) ? NodeId.parse(name.slice(0, -ending.length)) : undefined
        return node === undefined || node === host.nodeId ? [] : [node]
      })
      const records = yield* Effect.forEach(nodes, (node) => read(folder, node, now), { concurrency: 16 })
      return records.filter((record) => record !== undefined)
    })

  /** Takes down what this membership put up; a later one of the same node may have replaced it. */
  const withdraw = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const standing = yield* read(folder, host.nodeId, now)
    if (standing !== undefined && standing.sig === advertised?.sig) yield* attempt(() => rm(path, { force: true }))
    advertised = undefined
  })

  const advertise = Effect.gen(function* () {
    // The folder shows everything to whoever can read it, and a private network promises otherwise.
    if (host.isPrivate) return yield* failed(source, "Refused", "a private node's record is not put in a shared folder")
    const record = AgentRecord.verify(host.record(), { now: yield* Clock.currentTimeMillis, expect: host.nodeId })
    if (record instanceof AgentRecord.RecordRefused) return yield* failed(source, "Refused", record)
    if (AgentRecord.isTombstone(record)) return yield* withdraw
    const draft = join(folder, `.${randomBytes(8).toString("hex")}.tmp`)
    yield* attempt(() => writeFile(draft, CanonicalJson.stringify(record), { mode: 0o600 }))
    yield* attempt(() => rename(draft, path))
    advertised = record
  })

  const known = new Map<NodeId.NodeId, AgentRecord.AgentRecord>()
  const feed = Feed.make<Found>(() => [...known.values()].map(foundOf))
  const compare = Effect.map(look({}), (records) => {
    const present = new Set(records.map(({ node }) => node))
    for (const record of records) {
      if (known.get(record.node)?.sig === record.sig) continue
      known.set(record.node, record)
      feed.publish(foundOf(record))
    }
    for (const node of [...known.keys()].filter((node) => !present.has(node))) {
      known.delete(node)
      feed.publish({ source, node, addresses: [], gone: true })
    }
  })

  yield* attempt(() => mkdir(folder, { recursive: true, mode: 0o700 }))
  const bell = yield* Queue.sliding<void>(1)
  yield* Effect.acquireRelease(
    Effect.try({
      try: () => watch(folder, () => Queue.offerUnsafe(bell, undefined)).on("error", () => undefined),
      catch: (cause) => failed(source, "Failed", cause)
    }),
    (watcher) => Effect.sync(() => watcher.close())
  ).pipe(Effect.catch((error) => Effect.logInfo(`looking every ${LOOK_MS} ms only: ${error.message}`)))
  yield* Effect.addFinalizer(() => Effect.ignore(withdraw).pipe(Effect.andThen(Effect.sync(() => feed.end()))))
  yield* Effect.ignore(compare).pipe(
    Effect.andThen(Effect.timeoutOption(Queue.take(bell), LOOK_MS)),
    Effect.forever,
    Effect.forkScoped
  )

  const membership: Membership = {
    advertise,
    find: (query, report) =>
      counted(
        source,
        report,
        Stream.unwrap(Effect.map(look(query), (records) => Stream.fromIterable(records.map(foundOf))))
      ),
    changes: feed.stream
  }
  return membership
})

/** Discovery through a folder. */
export const make = (folder: string): Discovery["Service"] => {
  const name = `folder ${folder}`
  return Discovery.of({ name, join: (host) => enter(name, folder, host) })
}

/** Discovery through a folder, which is made where there is none. */
export const layer = (folder: string): Layer.Layer<Discovery> => Layer.succeed(Discovery, make(folder))
