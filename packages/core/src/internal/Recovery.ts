/**
 * Recovery: tasks in flight whose connection broke wait here for another connection to the same agent, and go on there.
 *
 * One attempt to connect serves all tasks of a peer: at once, then with growing pauses. A connection that the peer makes does as
 * well. How long a task waits is its own affair (`Outgoing`): one that others could do does not wait for a peer that cannot be
 * reached.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Connections } from "../Connections.ts"
import type { NodeId } from "../NodeId.ts"
import * as Protocol from "../Protocol.ts"
import { RateLimit } from "../RateLimit.ts"
import { type Address, type Connection, isRefusal, ResetCode, type StreamHandler } from "../Transport.ts"
import * as Envelope from "./Envelope.ts"

/** First and longest pause between attempts to connect again, in ms; each doubles, with up to a half taken off at random. */
export const AGAIN_MS = { first: 20, longest: 5_000 }
/**
 * How often pauses begin anew since a task got further: so often in a row, and once more as time goes by, or for so many tasks that
 * did. A network that breaks all connections lets a node go on at once; a peer that breaks each after one chunk is dialled seldom.
 */
export const ANEW = { atOnce: 64, perSecond: 0.2, tasks: 8 }
/** A peer whose address refuses connections has gone: so long it may take to come back there, in ms. */
export const REFUSED_MS = 1_000
/** How long a task that was cancelled, or a topic, is worth connecting again for, in ms. */
export const WISH_MS = 30_000
/** Cancelled tasks of one peer that are told to it once it can be reached; it gives up the others by itself. */
const MAX_CANCELLED = 1_024
/** Peers whose last break is remembered, so that one which breaks connections all the time is not dialled all the time. */
const MAX_REMEMBERED = 1_024
/** A connection that stood so long, in ms, was a good one. */
const GOOD_MS = 1_000

/** A task in flight, as far as it can go on. */
export interface Resumable extends Envelope.Request {
  readonly peer: NodeId
  readonly addresses: ReadonlyArray<Address>
  /** It waits even for a peer that refuses connections, for a moment. */
  readonly isPatient: boolean
  /** The number of the first chunk that has not come. */
  readonly seen: number
  /** There is a connection again. */
  readonly resumeOn: (connection: Connection) => void
  /** There will be none. */
  readonly abandon: () => void
}

/** What recovery needs of its node. */
export interface Deps {
  readonly connections: Connections["Service"]
  /** Where a peer can be reached, by its record. */
  readonly addresses: (peer: NodeId) => ReadonlyArray<Address>
  readonly fork: (effect: Effect.Effect<void>) => void
}

/** A peer whose connection broke. */
class Lost {
  readonly peer: NodeId
  readonly waiting = new Set<Resumable>()
  /** The messages that go on with cancelled tasks, to be cancelled there. */
  readonly cancelled: Array<Uint8Array> = []
  /** Where it was dialled before. */
  address: Address | undefined
  /** Connected for its own sake until then, by `performance.now()`. */
  wishedUntil = 0
  refusedSince: number | undefined
  pause: number

  constructor(peer: NodeId, pause: number) {
    this.peer = peer
    this.pause = pause
  }
  isNeeded(now: number): boolean {
    return this.waiting.size > 0 || now < this.wishedUntil
  }
}

const nobody: StreamHandler = { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }

/** Waits for connections to peers that tasks in flight need again. */
export class Recovery {
  readonly #deps: Deps
  readonly #lost = new Map<NodeId, Lost>()
  /** When a peer's tasks went on last, and the pause before that. */
  readonly #lately = new Map<NodeId, { readonly at: number; pause: number }>()
  readonly #anew = new RateLimit(ANEW.perSecond, ANEW.atOnce)
  #stopped = false

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Tasks that wait. */
  get waiting(): number {
    let count = 0
    for (const { waiting } of this.#lost.values()) count += waiting.size
    return count
  }

  /** Lets a task wait for a connection in place of the one that broke; false where there will be none. */
  wait(task: Resumable, broken: Connection): boolean {
    if (this.#stopped || task.peer === this.#deps.connections.nodeId) return false
    this.#lostOne(broken).waiting.add(task)
    return true
  }

  /** The task does not wait any more. */
  drop(task: Resumable): void {
    this.#lost.get(task.peer)?.waiting.delete(task)
  }

  /** A task that waits was cancelled: its peer is told once it can be reached. */
  cancelled(task: Resumable): void {
    const lost = this.#lost.get(task.peer)
    if (lost === undefined) return
    lost.waiting.delete(task)
    lost.wishedUntil = performance.now() + WISH_MS
    if (lost.cancelled.length < MAX_CANCELLED) lost.cancelled.push(Envelope.encodeResume(task, task.seen))
  }

  /** Connects again for something that is no task, for a while, where it was this node that dialled. */
  wish(broken: Connection): void {
    if (this.#stopped || broken.direction !== "outbound" || broken.peer === this.#deps.connections.nodeId) return
    this.#lostOne(broken).wishedUntil = performance.now() + WISH_MS
  }

  /**
   * A task got further than before, since there is a connection again: pauses begin anew, unless that happens all the time. A peer that only
   * says that it has the task is dialled ever more seldom.
   */
  progressed(peer: NodeId): void {
    const lately = this.#lately.get(peer)
    if (lately === undefined) return
    const now = performance.now()
    this.#anew.charge(peer, -1 / ANEW.tasks, now)
    if (lately.pause > 0 && this.#anew.take(peer, now) === 0) lately.pause = 0
  }

  /** A connection stands, whoever made it. */
  readonly connected = (connection: Connection): void => {
    const lost = this.#lost.get(connection.peer)
    // It may have broken again meanwhile.
    if (lost === undefined || connection.state() !== "open") return
    for (const message of lost.cancelled.splice(0)) {
      const stream = connection.open(Protocol.CALL, nobody)
      stream?.send(message, undefined, true)
      stream?.reset(ResetCode.Cancelled)
    }
    this.#remember(lost)
    lost.wishedUntil = 0
    lost.refusedSince = undefined
    for (const task of [...lost.waiting]) {
      lost.waiting.delete(task)
      task.resumeOn(connection)
    }
  }

  /** Nobody waits any more. */
  stop(): void {
    this.#stopped = true
    for (const { waiting } of this.#lost.values()) for (const task of [...waiting]) task.abandon()
    this.#lost.clear()
  }

  #lostOne(broken: Connection): Lost {
    const { peer } = broken
    let lost = this.#lost.get(peer)
    if (lost === undefined) {
      lost = new Lost(peer, this.#pauseOf(peer))
      this.#lost.set(peer, lost)
      this.#deps.fork(this.#recover(lost))
    }
    if (broken.direction === "outbound") lost.address = broken.address
    return lost
  }

  /** None, unless the connection that just broke was one of several in a row on which nothing came. */
  #pauseOf(peer: NodeId): number {
    const lately = this.#lately.get(peer)
    if (lately === undefined || performance.now() - lately.at > GOOD_MS) return 0
    return lately.pause === 0 ? AGAIN_MS.first : Math.min(lately.pause * 2, AGAIN_MS.longest)
  }

  #remember({ pause, peer }: Lost): void {
    if (this.#lately.size >= MAX_REMEMBERED) this.#lately.clear()
    this.#lately.set(peer, { at: performance.now(), pause: Math.max(pause, AGAIN_MS.first) })
  }

  #recover(lost: Lost): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      // All of the connection's tasks come together.
      yield* Effect.yieldNow
      while (!this.#stopped && lost.isNeeded(performance.now())) {
        if (lost.pause > 0) yield* Effect.sleep(lost.pause * (0.5 + Math.random() / 2))
        if (!lost.isNeeded(performance.now())) break
        const result = yield* Effect.result(this.#deps.connections.connect(this.#targetOf(lost)))
        if (Result.isSuccess(result)) this.connected(result.success)
        else this.#missed(lost, isRefusal(result.failure))
        lost.pause = Math.min(Math.max(lost.pause * 2, AGAIN_MS.first), AGAIN_MS.longest)
      }
      if (this.#lost.get(lost.peer) === lost) this.#lost.delete(lost.peer)
    })
  }

  /** By its record of now, since it may have moved, and where it was before. */
  #targetOf({ address, peer, waiting }: Lost) {
    const [first] = waiting
    const known = this.#deps.addresses(peer)
    const addresses = [...(known.length > 0 ? known : (first?.addresses ?? []))]
    if (address !== undefined && !addresses.includes(address)) addresses.push(address)
    return { node: peer, addresses }
  }

  /** Tasks that others can do go to them; where nobody listens, the rest follows. */
  #missed(lost: Lost, refused: boolean): void {
    const now = performance.now()
    lost.refusedSince = refused ? (lost.refusedSince ?? now) : undefined
    const gone = lost.refusedSince !== undefined && now - lost.refusedSince >= REFUSED_MS
    if (gone) lost.wishedUntil = 0
    for (const task of [...lost.waiting]) {
      if (!gone && task.isPatient) continue
      lost.waiting.delete(task)
      task.abandon()
    }
  }
}
