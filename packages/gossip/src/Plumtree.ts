/**
 * Plumtree: carries a message to every node over a tree that grows out of the overlay, and mends it with the overlay's other links.
 *
 * Payloads go to eager neighbours, and only their ids to lazy ones. Who hears of an id and misses its payload asks for it (GRAFT), which
 * makes the link eager; who gets a payload twice says so (PRUNE), which makes it lazy.
 *
 * Beyond the paper:
 * - A new link is lazy, unless a node has no eager one or has lost one: a tree needs no more, and churn floods nothing.
 * - New neighbours tell each other what they carried of late, so that nothing is missed where the overlay was torn for a moment.
 *
 * The machine believes what reaches it: the driver checks a payload's signature and that its id is its hash before the event.
 *
 * Source: J. Leitão, J. Pereira, L. Rodrigues, "Epidemic Broadcast Trees", SRDS 2007.
 */
import type { Action, Event, Machine } from "@parley/core/Machine"
import { RateLimit } from "@parley/core/RateLimit"
import { Carriage } from "./internal/Carriage.ts"
import { Random } from "./internal/Random.ts"

/** A message that is carried: its id is a hash of what its origin signed, so that nobody can take an id with other content. */
export interface Carried {
  readonly id: string
  /** Who published it, by its own signature. */
  readonly origin: string
  /** As it crosses the wire, signature and all; opaque here. */
  readonly payload: Uint8Array
}

export type Message =
  /**
   * The payload. `round`: hops from its origin. `age`: how long the nodes on its way have had it together, in ms, absent for
   * no time: who is told of it late does not keep it for late-comers for longer than those before.
   */
  | {
      readonly _tag: "Gossip"
      readonly id: string
      readonly origin: string
      readonly round: number
      readonly age?: number
      readonly payload: Uint8Array
    }
  /** The sender has these, should you miss one: pairs of id and round. */
  | { readonly _tag: "IHave"; readonly have: ReadonlyArray<{ readonly id: string; readonly round: number }> }
  /** Make our link eager, and send me this one, where one is named. */
  | { readonly _tag: "Graft"; readonly id: string | undefined }
  /** Make our link lazy: what you send, I have already. */
  | { readonly _tag: "Prune" }

export type Timer =
  /** Ids wait to be sent to lazy neighbours. */
  | { readonly _tag: "LazyPush" }
  /** The payload of this id should have come by now. */
  | { readonly _tag: "Missing"; readonly id: string }
  /** Time to forget what is old. */
  | { readonly _tag: "Expire" }

/** Sends a message to everybody. */
export interface Publish {
  readonly _tag: "Publish"
  readonly id: string
  readonly payload: Uint8Array
}

export type Command =
  | Publish
  /** The overlay has a neighbour more, or less. */
  | { readonly _tag: "NeighborUp"; readonly peer: string }
  | { readonly _tag: "NeighborDown"; readonly peer: string; readonly dropped: boolean }

export type Told =
  /** A message that has not been told before, `from` the neighbour who brought it. Own messages are not told. */
  | {
      readonly _tag: "Deliver"
      readonly id: string
      readonly origin: string
      readonly payload: Uint8Array
      readonly from: string
      readonly round: number
    }

/** What can be set. */
export interface Settings {
  /** How long after an announcement the payload may take on the tree until it is asked for, in ms: some round trips. */
  readonly missingMs: number
  /** How long an answer to that takes at most, in ms: a round trip and some. Then the next who announced it is asked. */
  readonly graftMs: number
  /** How long ids wait for company on their way to lazy neighbours, in ms. */
  readonly lazyMs: number
  /** A lazy link whose announcement came by so many hops less takes the place of the eager one. The paper's, for many senders. */
  readonly threshold: number
  /** How long payloads are kept for who asks, in ms. */
  readonly payloadMs: number
  /** How long ids are remembered, in ms: nothing is on its way for longer. */
  readonly idMs: number
}

export const defaults: Settings = {
  missingMs: 400,
  graftMs: 300,
  lazyMs: 25,
  threshold: 7,
  payloadMs: 30_000,
  idMs: 300_000
}

/** Ids in one announcement; more go into the next. */
const MAX_HAVE = 512
/** Ids that wait for one neighbour: beyond it the oldest are not announced. */
const MAX_QUEUE = 4_096
/** Ids that one neighbour has announced and nobody brought: honest ones are sent for within a second. */
const MAX_ANNOUNCED = 1_024
/** Neighbours asked for a payload, one after the other. */
const MAX_ANNOUNCERS = 8
/** Ids told to a new neighbour: what it may have missed while it had none. */
const MAX_RECENT = 256
/** Payload that one neighbour may ask for: bytes a second and at once, each answer counting 256 besides. */
const ASKED = { perSecond: 512 * 1024, burst: 8 * 1024 * 1024 }
const EXPIRE_MS = 5_000

interface Neighbour {
  eager: boolean
  /** Ids to be announced to it. */
  waiting: Array<{ readonly id: string; readonly round: number }>
  /** Ids that it has announced and that are missing still. */
  announced: number
}

interface Missing {
  /** Who has it, in the order of announcing. */
  readonly announcers: Array<{ readonly peer: string; readonly round: number }>
}

export interface State {
  readonly self: string
  readonly settings: Settings
  readonly random: Random
  readonly neighbours: Map<string, Neighbour>
  readonly carriage: Carriage
  readonly missing: Map<string, Missing>
  /** Eager links that went down and were not replaced. */
  torn: number
  pushing: boolean
  expiring: boolean
  readonly asked: RateLimit
}

/** A node without neighbours. `seed` makes its random choices. */
export const make = (self: string, seed: number, settings: Partial<Settings> = {}): State => ({
  self,
  settings: { ...defaults, ...settings },
  random: new Random(seed),
  neighbours: new Map(),
  carriage: new Carriage(),
  missing: new Map(),
  torn: 0,
  pushing: false,
  expiring: false,
  asked: new RateLimit(ASKED.perSecond, ASKED.burst)
})

/** Neighbours to whom payloads go. */
export const eager = (state: State): ReadonlyArray<string> =>
  [...state.neighbours].flatMap(([peer, neighbour]) => (neighbour.eager ? [peer] : []))

type Actions = Array<Action<Message, Timer, Told>>

const send = (out: Actions, to: string, message: Message): void => void out.push({ _tag: "Send", to, message })

const graft = (state: State, peer: string, neighbour: Neighbour, id: string | undefined, out: Actions): void => {
  if (!neighbour.eager) {
    neighbour.eager = true
    if (state.torn > 0) state.torn--
  }
  send(out, peer, { _tag: "Graft", id })
}

const prune = (peer: string, neighbour: Neighbour, out: Actions): void => {
  neighbour.eager = false
  send(out, peer, { _tag: "Prune" })
}

const announce = (state: State, neighbour: Neighbour, id: string, round: number, out: Actions): void => {
  neighbour.waiting.push({ id, round })
  if (state.pushing) return
  state.pushing = true
  out.push({ _tag: "After", ms: state.settings.lazyMs, timer: { _tag: "LazyPush" } })
}

/** Keeps a message and hands it on: to eager neighbours as it is, to lazy ones by its id. */
const carry = (
  state: State,
  message: Extract<Message, { readonly _tag: "Gossip" }>,
  from: string,
  now: number,
  out: Actions
): void => {
  const { age = 0, id, origin, payload } = message
  state.carriage.add({
    id,
    origin,
    payload,
    round: message.round,
    at: now - (age > 0 ? Math.min(age, state.settings.payloadMs) : 0)
  })
  const known = settle(state, id)
  const round = message.round + 1
  const next: Message = { _tag: "Gossip", id, origin, round, age, payload }
  for (const [peer, neighbour] of state.neighbours) {
    // Whoever announced it has it.
    if (peer === from || known?.announcers.some((announcer) => announcer.peer === peer) === true) continue
    if (neighbour.eager) send(out, peer, next)
    else announce(state, neighbour, id, round, out)
  }
  if (known !== undefined && from !== "") shorten(state, known, message.round, from, out)
  if (state.expiring) return
  state.expiring = true
  out.push({ _tag: "After", ms: EXPIRE_MS, timer: { _tag: "Expire" } })
}

/** It is missing no more. */
const settle = (state: State, id: string): Missing | undefined => {
  const known = state.missing.get(id)
  if (known === undefined) return undefined
  state.missing.delete(id)
  for (const { peer } of known.announcers) {
    const neighbour = state.neighbours.get(peer)
    if (neighbour !== undefined) neighbour.announced--
  }
  return known
}

/** Puts a much shorter way in the place of the one a message came by (section 3.8, "optimization"). */
const shorten = (state: State, known: Missing, round: number, from: string, out: Actions): void => {
  const shorter = known.announcers.find((announcer) => announcer.round + state.settings.threshold <= round)
  if (shorter === undefined) return
  const there = state.neighbours.get(shorter.peer)
  const here = state.neighbours.get(from)
  if (there === undefined || here === undefined || there.eager) return
  graft(state, shorter.peer, there, undefined, out)
  prune(from, here, out)
}

const onGossip = (
  state: State,
  from: string,
  message: Extract<Message, { readonly _tag: "Gossip" }>,
  now: number,
  out: Actions
): void => {
  const neighbour = state.neighbours.get(from)
  if (state.carriage.has(message.id)) {
    if (neighbour !== undefined) prune(from, neighbour, out)
    return
  }
  if (neighbour !== undefined) neighbour.eager = true
  const { id, origin, payload, round } = message
  out.push({ _tag: "Tell", told: { _tag: "Deliver", id, origin, payload, from, round } })
  carry(state, message, from, now, out)
}

const onIHave = (
  state: State,
  from: string,
  have: ReadonlyArray<{ readonly id: string; readonly round: number }>,
  out: Actions
): void => {
  const neighbour = state.neighbours.get(from)
  if (neighbour === undefined) return
  const most = Math.min(have.length, MAX_HAVE)
  for (let i = 0; i < most; i++) {
    const { id, round } = have[i]!
    if (state.carriage.has(id)) continue
    const known = state.missing.get(id)
    if (neighbour.announced >= MAX_ANNOUNCED) return
    if (known === undefined) {
      state.missing.set(id, { announcers: [{ peer: from, round }] })
      out.push({ _tag: "After", ms: state.random.about(state.settings.missingMs), timer: { _tag: "Missing", id } })
    } else if (known.announcers.length < MAX_ANNOUNCERS && !known.announcers.some(({ peer }) => peer === from))
      known.announcers.push({ peer: from, round })
    else continue
    neighbour.announced++
  }
}

const onGraft = (state: State, from: string, id: string | undefined, now: number, out: Actions): void => {
  const neighbour = state.neighbours.get(from)
  if (neighbour === undefined) return
  neighbour.eager = true
  const kept = id === undefined ? undefined : state.carriage.get(id)
  if (kept === undefined || !state.asked.spend(from, kept.payload.length + 256, now)) return
  const { at, origin, payload, round } = kept
  send(out, from, { _tag: "Gossip", id: kept.id, origin, round: round + 1, age: now - at, payload })
}

/** Nobody has brought it: the next who has it is asked, and the link to it is part of the tree from now on. */
const onMissing = (state: State, id: string, out: Actions): void => {
  const known = state.missing.get(id)
  if (known === undefined) return
  for (let next = known.announcers.shift(); next !== undefined; next = known.announcers.shift()) {
    const neighbour = state.neighbours.get(next.peer)
    if (neighbour === undefined) continue
    neighbour.announced--
    graft(state, next.peer, neighbour, id, out)
    out.push({ _tag: "After", ms: state.random.about(state.settings.graftMs), timer: { _tag: "Missing", id } })
    return
  }
  state.missing.delete(id)
}

const onNeighborUp = (state: State, peer: string, now: number, out: Actions): void => {
  if (state.neighbours.has(peer)) return
  let isEager = state.torn > 0
  if (!isEager) {
    isEager = true
    for (const neighbour of state.neighbours.values()) if (neighbour.eager) isEager = false
  }
  const neighbour: Neighbour = { eager: false, waiting: [], announced: 0 }
  state.neighbours.set(peer, neighbour)
  if (isEager) graft(state, peer, neighbour, undefined, out)
  for (const { id, round } of state.carriage.recent(now - state.settings.payloadMs, MAX_RECENT))
    announce(state, neighbour, id, round + 1, out)
}

const onNeighborDown = (state: State, peer: string, dropped: boolean): void => {
  // One end of a link that is dropped makes up for it: the other, which has got nobody in its place.
  if (!dropped && state.neighbours.get(peer)?.eager === true) state.torn++
  state.neighbours.delete(peer)
  for (const { announcers } of state.missing.values()) {
    const at = announcers.findIndex((announcer) => announcer.peer === peer)
    if (at >= 0) announcers.splice(at, 1)
  }
}

const onTimer = (state: State, timer: Timer, now: number, out: Actions): void => {
  switch (timer._tag) {
    case "LazyPush":
      state.pushing = false
      for (const [peer, neighbour] of state.neighbours) {
        const { waiting } = neighbour
        if (waiting.length === 0) continue
        neighbour.waiting = []
        for (let from = Math.max(0, waiting.length - MAX_QUEUE); from < waiting.length; from += MAX_HAVE)
          send(out, peer, { _tag: "IHave", have: waiting.slice(from, from + MAX_HAVE) })
      }
      return
    case "Missing":
      return onMissing(state, timer.id, out)
    case "Expire":
      state.carriage.expire(now - state.settings.payloadMs, now - state.settings.idMs)
      state.expiring = state.carriage.size > 0
      if (state.expiring) out.push({ _tag: "After", ms: EXPIRE_MS, timer })
  }
}

/** The broadcast of one node. */
export const step = (
  state: State,
  event: Event<Message, Timer, Command>
): readonly [State, ReadonlyArray<Action<Message, Timer, Told>>] => {
  const out: Actions = []
  const { now } = event
  switch (event._tag) {
    case "Message": {
      const { from, message } = event
      if (message._tag === "Gossip") onGossip(state, from, message, now, out)
      else if (message._tag === "IHave") onIHave(state, from, message.have, out)
      else if (message._tag === "Graft") onGraft(state, from, message.id, now, out)
      else {
        const neighbour = state.neighbours.get(from)
        if (neighbour !== undefined) neighbour.eager = false
      }
      break
    }
    case "Timer":
      onTimer(state, event.timer, now, out)
      break
    case "Command": {
      const { command } = event
      if (command._tag === "NeighborUp") onNeighborUp(state, command.peer, now, out)
      else if (command._tag === "NeighborDown") onNeighborDown(state, command.peer, command.dropped)
      else if (!state.carriage.has(command.id)) {
        const { id, payload } = command
        carry(state, { _tag: "Gossip", id, origin: state.self, round: 0, payload }, "", now, out)
      }
      break
    }
    case "LinkUp":
    case "LinkDown":
      break
  }
  return [state, out]
}

export const machine: Machine<State, Message, Timer, Command, Told> = { step }
