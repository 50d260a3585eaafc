/**
 * HyParView: whom a node is connected to. Each node keeps a small symmetric active view, over which broadcast runs, and a larger
 * passive view of peers that take the place of those who fail.
 *
 * Beyond the paper:
 * - A neighbour is one when both have said so (`Neighbor`, `NeighborReply`), so that the views are symmetric.
 * - Strangers cannot take a node over. The two neighbours that it chose itself the longest ago are never dropped for others, others
 *   have at most three of the five places, drop others at a bounded rate, and fill at most a quarter of the passive view each.
 * - Neighbours that were lost are looked for again for a while, so that the sides of a partition find each other when it heals.
 *
 * Source: J. Leitão, J. Pereira, L. Rodrigues, "HyParView: a membership protocol for reliable gossip-based broadcast", DSN 2007.
 */
import type { Action, Event, Machine } from "@parley/core/Machine"
import { RateLimit } from "@parley/core/RateLimit"
import {
  type Actions,
  add,
  anyNeighbour,
  ask,
  evict,
  hasRoom,
  lookFor,
  refill,
  remember,
  remove,
  send
} from "./internal/ActiveView.ts"
import { Contacts } from "./internal/Contacts.ts"
import { Random } from "./internal/Random.ts"
import * as Limits from "./HyParViewLimits.ts"

export { defaults, type Settings } from "./HyParViewLimits.ts"

/** What nodes say to each other. Peers are NodeIds; the driver's codec carries the addresses it knows of those a message names. */
export type Message =
  /** A new node to its contact: take me in, and tell others. */
  | { readonly _tag: "Join" }
  /** A new node, on a random walk of so many more hops. */
  | { readonly _tag: "ForwardJoin"; readonly peer: string; readonly ttl: number }
  /** Let us be neighbours. `high`: the sender has none. */
  | { readonly _tag: "Neighbor"; readonly priority: "high" | "low" }
  /** The answer to `Join` and `Neighbor`. */
  | { readonly _tag: "NeighborReply"; readonly accepted: boolean }
  /** We are no neighbours any more. `leaving`: the sender leaves the mesh, and is no contact either. */
  | { readonly _tag: "Disconnect"; readonly leaving: boolean }
  /** A sample of the views of `origin`, on a random walk of so many more hops. */
  | { readonly _tag: "Shuffle"; readonly origin: string; readonly ttl: number; readonly peers: ReadonlyArray<string> }
  /** A sample in exchange, straight to the origin of the shuffle. */
  | { readonly _tag: "ShuffleReply"; readonly peers: ReadonlyArray<string> }

export type Timer =
  /** Time for a shuffle, and to look after the active view. */
  | { readonly _tag: "Shuffle" }
  /** Look for neighbours where there are too few. */
  | { readonly _tag: "Refill" }
  /** A peer that was asked to be a neighbour has not answered. `request` tells it from an earlier one. */
  | { readonly _tag: "NeighborTimeout"; readonly peer: string; readonly request: number }

export type Command =
  /** Goes to work with these contacts, or hears of more: whoever a discovery has found. Safe to repeat. */
  | { readonly _tag: "Join"; readonly contacts: ReadonlyArray<string> }
  /** Says goodbye to the neighbours. */
  | { readonly _tag: "Leave" }
  /** The peer is dead, as failure detection says: it is no neighbour and no contact. */
  | { readonly _tag: "Forget"; readonly peer: string }
  /** The peer was held for dead, and answers: it may be the other side of what was a partition. */
  | { readonly _tag: "Reunite"; readonly peer: string }

export type Told =
  /** The peer is a neighbour: a link stands, and it agrees. */
  | { readonly _tag: "NeighborUp"; readonly peer: string }
  /** It is none any more. `dropped`: this node put another in its place. */
  | { readonly _tag: "NeighborDown"; readonly peer: string; readonly dropped: boolean }

interface Neighbour {
  readonly since: number
  /** This node picked it from its own passive view, or joined it. */
  readonly chosen: boolean
}

interface Request {
  readonly number: number
  /** By own choice, and not since a walk ended here. */
  readonly chosen: boolean
}

export interface State {
  readonly self: string
  readonly settings: Limits.Settings
  readonly random: Random
  readonly active: Map<string, Neighbour>
  readonly passive: Contacts
  /** Requests that wait for an answer. */
  readonly asked: Map<string, Request>
  /** Neighbours that were lost, and when. */
  readonly lost: Map<string, number>
  triedLostAt: number
  requests: number
  started: boolean
  left: boolean
  /** Somebody has taken in this node's `Join`, since it last had no neighbour. */
  introduced: boolean
  /** A `Refill` is under way. */
  refilling: boolean
  /** Attempts to fill the active view since it changed. */
  attempts: number
  answersUntil: number
  answersLeft: number
  readonly evictions: RateLimit
  readonly requested: RateLimit
  readonly walks: RateLimit
  readonly newcomers: RateLimit
  readonly dials: RateLimit
}

/** A node that has not joined. `seed` makes its random choices. */
export const make = (self: string, seed: number, given: Partial<Limits.Settings> = {}): State => {
  const settings = { ...Limits.defaults, ...given }
  const random = new Random(seed)
  return {
    self,
    settings,
    random,
    active: new Map(),
    passive: new Contacts(settings.passive, random),
    asked: new Map(),
    lost: new Map(),
    triedLostAt: 0,
    requests: 0,
    started: false,
    left: false,
    introduced: false,
    refilling: false,
    attempts: 0,
    answersUntil: 0,
    answersLeft: 0,
    evictions: new RateLimit(Limits.EVICTIONS.perSecond, Limits.EVICTIONS.burst),
    requested: new RateLimit(Limits.REQUESTS.perSecond, Limits.REQUESTS.burst),
    walks: new RateLimit(Limits.WALKS.perSecond, Limits.WALKS.burst),
    newcomers: new RateLimit(Limits.NEWCOMERS.perSecond, Limits.NEWCOMERS.burst),
    dials: new RateLimit(Limits.DIALS.perSecond, Limits.DIALS.burst)
  }
}

/** The neighbours. */
export const active = (state: State): ReadonlyArray<string> => [...state.active.keys()]

/** The peers that may become neighbours. */
export const passive = (state: State): ReadonlyArray<string> => state.passive.all()

const onRequest = (state: State, from: string, priority: "high" | "low", now: number, out: Actions): boolean => {
  if (state.active.has(from)) {
    send(out, from, { _tag: "NeighborReply", accepted: true })
    return true
  }
  // Who asks so often is no honest node, and each answer would cost a stream.
  if (!state.requested.spend(from, 1, now)) return false
  const accepted = hasRoom(state) || mutual(state, from) || (priority === "high" && evict(state, now, out))
  if (!accepted) {
    send(out, from, { _tag: "NeighborReply", accepted: false })
    remember(state, from, from)
    // An answer of this peer to a request of this node may be on its way.
    if (!state.asked.has(from)) out.push({ _tag: "Close", peer: from })
    return false
  }
  add(state, from, state.asked.get(from)?.chosen === true, now, out)
  send(out, from, { _tag: "NeighborReply", accepted: true })
  return true
}

/** This node has asked the peer for the same, by its own choice, and has a place for it. */
const mutual = (state: State, peer: string): boolean =>
  state.asked.get(peer)?.chosen === true && state.active.size < state.settings.active

const onJoin = (state: State, from: string, now: number, out: Actions): void => {
  const isNew = !state.active.has(from)
  const others = [...state.active.keys()]
  onRequest(state, from, "high", now, out)
  if (!isNew || !state.newcomers.spend("", 1, now)) return
  for (const peer of others)
    if (peer !== from && state.active.has(peer))
      send(out, peer, { _tag: "ForwardJoin", peer: from, ttl: state.settings.activeWalk })
}

const onForwardJoin = (state: State, from: string, peer: string, ttl: number, now: number, out: Actions): void => {
  if (!state.active.has(from) || !state.walks.spend(from, 1, now)) return
  const left = Math.min(ttl, state.settings.activeWalk)
  const next = left > 0 ? anyNeighbour(state, from, peer) : undefined
  if (next !== undefined) {
    if (left === state.settings.passiveWalk) remember(state, peer, from)
    return send(out, next, { _tag: "ForwardJoin", peer, ttl: left - 1 })
  }
  if (peer === state.self || state.active.has(peer) || state.asked.has(peer) || !state.dials.spend(from, 1, now)) return
  // It is asked, and room is made when it agrees.
  ask(state, peer, false, { _tag: "Neighbor", priority: "low" }, out)
}

const onReply = (state: State, from: string, accepted: boolean, now: number, out: Actions): void => {
  const request = state.asked.get(from)
  state.asked.delete(from)
  if (state.active.has(from)) return
  if (!accepted) {
    state.passive.refused(from, now)
    if (state.lost.delete(from)) remember(state, from, from)
    out.push({ _tag: "Close", peer: from })
    // With most places full there is no hurry: the next look will do.
    if (state.active.size < state.settings.active - 2) refill(state, now, out)
    return
  }
  const fits = request?.chosen === true ? state.active.size < state.settings.active : hasRoom(state)
  if (fits || (request !== undefined && evict(state, now, out))) {
    add(state, from, request?.chosen === true, now, out)
    state.introduced = true
  } else {
    remember(state, from, from)
    send(out, from, { _tag: "Disconnect", leaving: false })
    out.push({ _tag: "Close", peer: from })
  }
}

const take = (state: State, peers: ReadonlyArray<string>, source: string): void => {
  const most = Math.min(peers.length, Limits.MAX_SAMPLE)
  for (let i = 0; i < most; i++) remember(state, peers[i]!, source)
}

const onShuffle = (
  state: State,
  from: string,
  { origin, peers, ttl }: Extract<Message, { readonly _tag: "Shuffle" }>,
  now: number,
  out: Actions
): void => {
  if (!state.active.has(from) || !state.walks.spend(from, 1, now) || origin === state.self) return
  const left = Math.min(ttl, state.settings.shuffleWalk)
  const next = left > 0 ? anyNeighbour(state, from, origin) : undefined
  if (next !== undefined) {
    const sample = peers.length > Limits.MAX_SAMPLE ? peers.slice(0, Limits.MAX_SAMPLE) : peers
    return send(out, next, { _tag: "Shuffle", origin, ttl: left - 1, peers: sample })
  }
  if (!state.dials.spend(from, 1, now)) return
  const sample = state.passive.sample(Math.min(peers.length, Limits.MAX_SAMPLE), origin)
  send(out, origin, { _tag: "ShuffleReply", peers: sample })
  if (!state.active.has(origin) && !state.asked.has(origin)) out.push({ _tag: "Close", peer: origin })
  take(state, peers, from)
  remember(state, origin, from)
}

const onShuffleReply = (state: State, from: string, peers: ReadonlyArray<string>, now: number): void => {
  if (now > state.answersUntil || state.answersLeft === 0) return
  state.answersLeft--
  take(state, peers, from)
}

const onMessage = (state: State, from: string, message: Message, now: number, out: Actions): void => {
  switch (message._tag) {
    case "Join":
      return onJoin(state, from, now, out)
    case "ForwardJoin":
      return onForwardJoin(state, from, message.peer, message.ttl, now, out)
    case "Neighbor":
      return void onRequest(state, from, message.priority, now, out)
    case "NeighborReply":
      return onReply(state, from, message.accepted, now, out)
    case "Disconnect":
      remove(state, from, message.leaving ? "gone" : "contact", now, out)
      if (message.leaving) state.passive.delete(from)
      return refill(state, now, out)
    case "Shuffle":
      return onShuffle(state, from, message, now, out)
    case "ShuffleReply":
      return onShuffleReply(state, from, message.peers, now)
  }
}

// --- what else happens

/** A peer could not be reached. It is no contact any more, unless nobody can be: then the fault may be here. */
const unreached = (state: State, peer: string, now: number): void => {
  if (state.active.size > 0) state.passive.delete(peer)
  else state.passive.refused(peer, now)
}

const onTimer = (state: State, timer: Timer, now: number, out: Actions): void => {
  switch (timer._tag) {
    case "Shuffle": {
      state.started = !state.left
      if (state.left) return
      out.push({ _tag: "After", ms: state.random.about(state.settings.shuffleMs), timer })
      const to = anyNeighbour(state, "")
      if (to === undefined) return refill(state, now, out)
      const { shuffleActive, shufflePassive, shuffleWalk } = state.settings
      const neighbours = [...state.active.keys()].filter((peer) => peer !== to)
      const peers = [...state.random.sample(neighbours, shuffleActive), ...state.passive.sample(shufflePassive, to)]
      state.answersUntil = now + Limits.ANSWER_MS
      state.answersLeft = 1
      send(out, to, { _tag: "Shuffle", origin: state.self, ttl: shuffleWalk, peers })
      return refill(state, now, out)
    }
    case "Refill":
      state.refilling = false
      return refill(state, now, out)
    case "NeighborTimeout": {
      if (state.asked.get(timer.peer)?.number !== timer.request) return
      state.asked.delete(timer.peer)
      unreached(state, timer.peer, now)
      out.push({ _tag: "Close", peer: timer.peer })
      return refill(state, now, out)
    }
  }
}

const onLinkDown = (state: State, peer: string, now: number, out: Actions): void => {
  const failed = state.asked.delete(peer)
  if (failed) unreached(state, peer, now)
  if (remove(state, peer, "lost", now, out) || failed) refill(state, now, out)
}

const onCommand = (state: State, command: Command, now: number, out: Actions): void => {
  switch (command._tag) {
    case "Join": {
      state.left = false
      for (const peer of command.contacts) remember(state, peer, "")
      if (!state.started) {
        state.started = true
        out.push({
          _tag: "After",
          ms: state.random.next() * state.settings.shuffleMs,
          timer: { _tag: "Shuffle" }
        })
      }
      return refill(state, now, out)
    }
    case "Leave":
      state.left = true
      for (const peer of state.active.keys()) {
        send(out, peer, { _tag: "Disconnect", leaving: true })
        out.push({ _tag: "Close", peer }, { _tag: "Tell", told: { _tag: "NeighborDown", peer, dropped: false } })
      }
      state.active.clear()
      return state.asked.clear()
    case "Forget":
      state.passive.delete(command.peer)
      if (remove(state, command.peer, "lost", now, out)) out.push({ _tag: "Close", peer: command.peer })
      return refill(state, now, out)
    case "Reunite":
      if (command.peer === state.self || state.active.has(command.peer)) return
      lookFor(state, command.peer, now)
      return refill(state, now, out)
  }
}

/** The overlay of one node. */
export const step = (
  state: State,
  event: Event<Message, Timer, Command>
): readonly [State, ReadonlyArray<Action<Message, Timer, Told>>] => {
  const out: Actions = []
  switch (event._tag) {
    case "Message":
      if (!state.left && state.started && event.from !== state.self)
        onMessage(state, event.from, event.message, event.now, out)
      break
    case "Timer":
      onTimer(state, event.timer, event.now, out)
      break
    case "LinkDown":
      onLinkDown(state, event.peer, event.now, out)
      break
    case "Command":
      onCommand(state, event.command, event.now, out)
      break
    case "LinkUp":
      break
  }
  return [state, out]
}

export const machine: Machine<State, Message, Timer, Command, Told> = { step }
