/**
 * Reservations: at which relays a node holds a slot, as a state machine (`@parley/core/Machine`).
 *
 * A relay grants a slot for the time of a lease and says how much it still forwards. The node asks again at half of it, and
 * measures what that takes. Of the relays it is given it holds a slot at the best `DEFAULT_SLOTS`, or at all where these are no
 * more; when one dies it asks the best of the others at once, and that one again with growing pauses. From time to time it asks one
 * that it holds nothing at, so that it knows who is better. What it tells is where it can be reached, best first.
 *
 * A peer of this machine is a relay's address as it was given.
 */
import type { Action, Event, Machine } from "@parley/core/Machine"
import type { NodeId } from "@parley/core/NodeId"
import type { Address } from "@parley/core/Transport"

/** Relays at which a node holds a slot: two may die at once, and each slot costs a relay a stream and a node a record's line. */
export const DEFAULT_SLOTS = 3
/** Relays asked at once when a node starts; further ones are tried in time. */
export const ASKED_AT_START = 16
/** A relay that has not answered in so long, in ms, dialling included, is given up for now. */
export const ANSWER_TIMEOUT_MS = 5_000
/** A relay that takes longer than this to answer, in ms, has another one asked beside it. */
export const HEDGE_MS = 1_000
/** Shorter leases, in ms, count as refused: whoever grants them could make its nodes renew without pause. */
export const MIN_LEASE_MS = 5_000
/** Longer leases, in ms, are renewed as if they were this long: a slot that nobody asks about may be gone. */
export const MAX_LEASE_MS = 600_000
/**
 * Pauses before a relay is asked again, in ms: the first, the longest within `RESTART_MS`, and the longest after it. Each doubles,
 * with up to a half taken off at random. Within 3 s of a tracker's return all its nodes are back.
 */
export const BACKOFF_MS = { first: 250, restart: 1_200, longest: 30_000 }
/** Shortest pause, in ms, after a refusal: what the relay lacks it will not have at once. */
const REFUSED_MS = 5_000
/** So long, in ms, a relay that went counts as one that is being restarted. */
export const RESTART_MS = 300_000
/** A slot that was held for so long, in ms, was a good one: the pauses begin anew. Shorter ones do not, so that nobody makes a node hurry. */
export const STEADY_MS = 10_000
/** Pause, in ms, between trials of relays that no slot is held at; a quarter is added or taken off at random. */
export const EXPLORE_MS = 300_000
/** A relay takes another one's place or rank only where it is better by this factor and by so many ms, so that addresses stay. */
const CLEARLY = { factor: 1.5, ms: 10 }
/** What stands for the round trip of a relay never measured, what a failure adds to it, and what a relay without free circuits; in ms. */
const COST_MS = { unknown: 500, failure: 1_000, full: 5_000 }
/** More failures say no more. */
const MAX_FAILURES = 8
/** Unanswered in a row: then the connection is taken for dead, though it does not know. */
const SILENT = 2

/** What a relay still gives to a slot. */
export interface Quota {
  /** Circuits that may yet be made to this node beside those that are. */
  readonly circuits: number
  /** Bytes that may yet go through them within this hour. */
  readonly bytes: number
}

/** What is said between node and relay. */
export type Message =
  /** Asks for a slot, or for more time where one is held. */
  | { readonly _tag: "Ask" }
  /** The same, of a relay that knows no leases. */
  | { readonly _tag: "AskPlain" }
  /** `leaseMs` is absent where the relay knows no leases: the slot lasts as long as the link. */
  | { readonly _tag: "Granted"; readonly tracker: NodeId; readonly leaseMs?: number; readonly quota?: Quota }
  /** No, and why, for people. A relay that knows no leases has not understood what it was asked. */
  | { readonly _tag: "Refused"; readonly reason: string; readonly understood: boolean }
  /** Another process with this node's key took the slot. */
  | { readonly _tag: "Replaced" }

/** Looks what is due. */
export type Timer = "Look"

/** What the node wants. */
export type Command =
  | "Start"
  /** The network changed or the machine woke up: everything is tried at once. */
  | "Hurry"

/** A slot that is held, and where. */
export interface Slot {
  readonly via: Address
  readonly tracker: NodeId
}

/** What the machine tells. */
export type Told =
  /** Where the node can be reached, best first; told when it changes. */
  | { readonly _tag: "Slots"; readonly slots: ReadonlyArray<Slot> }
  /** The connection to this relay stands, and nothing comes of it. */
  | { readonly _tag: "Silent"; readonly via: Address }
  /** Another process with this node's key took the slot there. */
  | { readonly _tag: "Replaced"; readonly via: Address }

type Standing =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Asking"; readonly since: number; readonly plain: boolean }
  | {
      readonly _tag: "Held"
      readonly since: number
      readonly until: number
      readonly renewAt: number
      /** When more time was asked for; undefined while no answer is awaited. */
      readonly asked: number | undefined
      readonly quota: Quota | undefined
      /** Its round trip has been measured since it is held; the first answer includes that a connection was made. */
      readonly measured: boolean
    }

const idle: Standing = { _tag: "Idle" }

interface Relay {
  readonly via: Address
  standing: Standing
  tracker: NodeId | undefined
  roundTripMs: number | undefined
  measuredAt: number
  failures: number
  silent: number
  pauseMs: number
  retryAt: number
  /** When it was lost, or first asked. */
  goneAt: number
  /** Until when it counts as one that is being restarted: where nothing else is left, its address stays published. */
  backUntil: number
  refused: string | undefined
}

/** What the machine knows. */
export interface State {
  readonly relays: Map<Address, Relay>
  readonly slots: number
  readonly random: () => number
  told: ReadonlyArray<Slot>
  started: boolean
  wakeAt: number
  exploreAt: number
}

/** A machine's first state. `random` gives numbers in [0, 1). */
export const make = (relays: ReadonlyArray<Address>, random: () => number, slots: number = DEFAULT_SLOTS): State => ({
  relays: new Map(
    relays.map((via) => [
      via,
      {
        via,
        standing: idle,
        tracker: undefined,
        roundTripMs: undefined,
        measuredAt: Number.NEGATIVE_INFINITY,
        failures: 0,
        silent: 0,
        pauseMs: BACKOFF_MS.first,
        retryAt: 0,
        goneAt: 0,
        backUntil: 0,
        refused: undefined
      }
    ])
  ),
  slots: Math.max(1, slots),
  random,
  told: [],
  started: false,
  wakeAt: Number.POSITIVE_INFINITY,
  exploreAt: 0
})

/** How one relay does. */
export interface Health {
  readonly via: Address
  readonly tracker: NodeId | undefined
  readonly state: "held" | "asked" | "not held"
  /** Smoothed as in RFC 6298; undefined where never measured. */
  readonly roundTripMs: number | undefined
  /** Recent ones; each renewal takes one off, a new slot half of them. */
  readonly failures: number
  readonly quota: Quota | undefined
  /** Why it refused last. */
  readonly refused: string | undefined
}

/** How each relay does, in the order given. */
export const health = (state: State): ReadonlyArray<Health> =>
  [...state.relays.values()].map(({ failures, refused, roundTripMs, standing, tracker, via }) => ({
    via,
    tracker,
    state: standing._tag === "Held" ? "held" : standing._tag === "Asking" ? "asked" : "not held",
    roundTripMs,
    failures,
    quota: standing._tag === "Held" ? standing.quota : undefined,
    refused
  }))

/** Where this node holds a slot at that tracker now. */
export const heldAt = (state: State, tracker: NodeId, now: number): Address | undefined => {
  for (const { standing, tracker: of, via } of state.relays.values()) {
    if (of === tracker && standing._tag === "Held" && now < standing.until) return via
  }
  return undefined
}

type Actions = Array<Action<Message, Timer, Told>>

const cost = ({ failures, roundTripMs, standing }: Relay): number => {
  const quota = standing._tag === "Held" ? standing.quota : undefined
  if (quota !== undefined && quota.bytes <= 0) return Number.POSITIVE_INFINITY
  const full = quota !== undefined && quota.circuits <= 0 ? COST_MS.full : 0
  return (roundTripMs ?? COST_MS.unknown) + COST_MS.failure * failures + full
}

const clearlyBetter = (a: number, b: number): boolean => a * CLEARLY.factor + CLEARLY.ms < b

/** Holds nothing there any more, because it failed. */
const failed = (state: State, relay: Relay, now: number, leastPauseMs = 0): void => {
  const { standing } = relay
  if (standing._tag === "Held" && now - standing.since >= STEADY_MS) {
    relay.pauseMs = BACKOFF_MS.first
    relay.goneAt = now
  }
  if (standing._tag === "Held") relay.backUntil = now + RESTART_MS
  relay.standing = idle
  relay.failures = Math.min(relay.failures + 1, MAX_FAILURES)
  const pause = Math.max(relay.pauseMs, leastPauseMs)
  relay.retryAt = now + pause * (0.5 + state.random() / 2)
  const longest = now - relay.goneAt < RESTART_MS ? BACKOFF_MS.restart : BACKOFF_MS.longest
  relay.pauseMs = Math.min(2 * relay.pauseMs, longest)
}

const measured = (relay: Relay, sampleMs: number, now: number): void => {
  relay.measuredAt = now
  relay.roundTripMs = relay.roundTripMs === undefined ? sampleMs : relay.roundTripMs * 0.875 + sampleMs * 0.125
}

const ask = (relay: Relay, now: number, actions: Actions): void => {
  relay.standing = { _tag: "Asking", since: now, plain: false }
  actions.push({ _tag: "Send", to: relay.via, message: { _tag: "Ask" } })
}

const letGo = (relay: Relay, now: number, actions: Actions): void => {
  relay.standing = idle
  relay.retryAt = now
  actions.push({ _tag: "Close", peer: relay.via })
}

const granted = (
  state: State,
  relay: Relay,
  message: Message & { readonly _tag: "Granted" },
  now: number,
  actions: Actions
): void => {
  const { standing } = relay
  const { leaseMs, quota, tracker } = message
  const asked = standing._tag === "Asking" ? standing.since : standing._tag === "Held" ? standing.asked : undefined
  // What was not asked for changes nothing.
  if (asked === undefined) return
  const short = leaseMs !== undefined && !(leaseMs >= MIN_LEASE_MS)
  const plain = standing._tag === "Asking" && standing.plain
  if (short || (leaseMs === undefined && !plain)) {
    relay.refused = short ? `it grants leases of ${leaseMs} ms` : "it grants no lease"
    failed(state, relay, now)
    actions.push({ _tag: "Close", peer: relay.via })
    return
  }
  if (standing._tag === "Held" || plain) measured(relay, now - asked, now)
  relay.tracker = tracker
  relay.silent = 0
  relay.refused = undefined
  relay.failures = standing._tag === "Held" ? Math.max(0, relay.failures - 1) : relay.failures >> 1
  const lease = leaseMs === undefined ? Number.POSITIVE_INFINITY : Math.min(leaseMs, MAX_LEASE_MS)
  relay.standing = {
    _tag: "Held",
    since: standing._tag === "Held" ? standing.since : now,
    until: asked + lease,
    renewAt: asked + (lease / 2) * (0.9 + 0.1 * state.random()),
    // Asked again at once, which shows how long it takes to answer.
    asked: standing._tag === "Held" || plain ? undefined : now,
    quota,
    measured: standing._tag === "Held" || plain
  }
  if (!relay.standing.measured) actions.push({ _tag: "Send", to: relay.via, message: { _tag: "Ask" } })
  // One tracker under two addresses gives one slot: the latest.
  for (const other of state.relays.values()) {
    if (other !== relay && other.tracker === tracker && other.standing._tag !== "Idle") letGo(other, now, actions)
  }
}

const heard = (state: State, relay: Relay, message: Message, now: number, actions: Actions): void => {
  const { standing } = relay
  switch (message._tag) {
    case "Granted":
      return granted(state, relay, message, now, actions)
    case "Refused":
      if (standing._tag === "Idle") return
      if (standing._tag === "Asking" && !standing.plain && !message.understood) {
        relay.standing = { ...standing, plain: true }
        actions.push({ _tag: "Send", to: relay.via, message: { _tag: "AskPlain" } })
        return
      }
      relay.refused = message.reason
      relay.silent = 0
      failed(state, relay, now, REFUSED_MS)
      relay.backUntil = 0
      return
    case "Replaced":
      if (standing._tag !== "Held") return
      failed(state, relay, now, 2 * BACKOFF_MS.longest)
      relay.backUntil = 0
      actions.push({ _tag: "Tell", told: { _tag: "Replaced", via: relay.via } })
      return
    default:
  }
}

/** Gives up on those that do not answer, and asks those for more time whose lease is half over. */
const renew = (state: State, now: number, actions: Actions): void => {
  for (const relay of state.relays.values()) {
    const { standing } = relay
    if (standing._tag === "Idle") continue
    const asked = standing._tag === "Asking" ? standing.since : standing.asked
    const late = asked !== undefined && now >= asked + ANSWER_TIMEOUT_MS
    if (late || (standing._tag === "Held" && now >= standing.until)) {
      failed(state, relay, now)
      relay.refused = "it does not answer"
      actions.push({ _tag: "Close", peer: relay.via })
      if (++relay.silent >= SILENT) {
        relay.silent = 0
        actions.push({ _tag: "Tell", told: { _tag: "Silent", via: relay.via } })
      }
    } else if (standing._tag === "Held" && asked === undefined && now >= standing.renewAt) {
      relay.standing = { ...standing, asked: now }
      actions.push({ _tag: "Send", to: relay.via, message: { _tag: "Ask" } })
    }
  }
}

/** Lets the worst go of more slots than are wanted, once all are measured. What is published gives way only to what is clearly better. */
const trim = (state: State, now: number, actions: Actions): void => {
  const held = [...state.relays.values()].filter(({ standing }) => standing._tag === "Held")
  if (held.some(({ standing }) => standing._tag === "Held" && !standing.measured)) return
  const judged = (relay: Relay): number =>
    state.told.some(({ via }) => via === relay.via) ? cost(relay) : cost(relay) * CLEARLY.factor + CLEARLY.ms
  held.sort((a, b) => judged(a) - judged(b))
  for (const relay of held.slice(state.slots)) letGo(relay, now, actions)
}

/** Asks the best relays until enough are held or about to be. */
const fill = (state: State, now: number, actions: Actions): void => {
  const relays = [...state.relays.values()]
  let coming = relays.filter((relay) => {
    const { standing } = relay
    if (standing._tag === "Asking") return now < standing.since + HEDGE_MS
    return standing._tag === "Held" && cost(relay) < Number.POSITIVE_INFINITY
  }).length
  const taken = new Set(relays.flatMap(({ standing, tracker }) => (standing._tag === "Idle" ? [] : [tracker])))
  taken.delete(undefined)
  const free = (): ReadonlyArray<Relay> =>
    relays.filter(({ retryAt, standing, tracker }) => standing._tag === "Idle" && now >= retryAt && !taken.has(tracker))
  const candidates = [...free()].sort((a, b) => cost(a) - cost(b))
  for (const relay of candidates) {
    if (coming >= state.slots) break
    coming++
    ask(relay, now, actions)
  }
  if (now < state.exploreAt) return
  state.exploreAt = now + EXPLORE_MS * (0.75 + state.random() / 2)
  let longest: Relay | undefined
  for (const relay of free()) if (longest === undefined || relay.measuredAt < longest.measuredAt) longest = relay
  if (longest !== undefined) ask(longest, now, actions)
}

/**
 * Tells where the node can be reached, if that changed. Ranks change only where one is clearly better. Where nothing is left, that
 * stays for a while which comes back with its relay: those who know it need not learn it anew.
 */
const publish = (state: State, now: number, actions: Actions): void => {
  const usable = new Map<Address, Relay>()
  for (const relay of state.relays.values()) {
    if (relay.standing._tag === "Held" && cost(relay) < Number.POSITIVE_INFINITY) usable.set(relay.via, relay)
  }
  const ranked: Array<Relay> = []
  for (const { via } of state.told) {
    const relay = usable.get(via)
    if (relay !== undefined) ranked.push(relay)
    usable.delete(via)
  }
  for (let i = 1; i < ranked.length; i++) {
    for (let j = i; j > 0 && clearlyBetter(cost(ranked[j]!), cost(ranked[j - 1]!)); j--) {
      ;[ranked[j], ranked[j - 1]] = [ranked[j - 1]!, ranked[j]!]
    }
  }
  for (const relay of usable.values()) {
    const at = ranked.findIndex((other) => cost(relay) < cost(other))
    ranked.splice(at < 0 ? ranked.length : at, 0, relay)
  }
  // More are held while it is not known yet which are the best.
  ranked.length = Math.min(ranked.length, state.slots)
  const kept = state.told.filter(({ via }) => (state.relays.get(via)?.backUntil ?? 0) > now)
  const slots = ranked.length === 0 ? kept : ranked.map(({ tracker, via }): Slot => ({ via, tracker: tracker! }))
  const same =
    slots.length === state.told.length &&
    slots.every(({ tracker, via }, i) => via === state.told[i]!.via && tracker === state.told[i]!.tracker)
  if (same) return
  state.told = slots
  actions.push({ _tag: "Tell", told: { _tag: "Slots", slots } })
}

/** When something is next due. */
const due = (state: State, now: number): number => {
  let at = state.exploreAt
  for (const { retryAt, standing } of state.relays.values()) {
    if (standing._tag === "Asking") {
      const hedge = standing.since + HEDGE_MS
      at = Math.min(at, now < hedge ? hedge : standing.since + ANSWER_TIMEOUT_MS)
    } else if (standing._tag === "Held") {
      const answer = standing.asked === undefined ? standing.renewAt : standing.asked + ANSWER_TIMEOUT_MS
      at = Math.min(at, answer, standing.until)
    } else if (retryAt > now) at = Math.min(at, retryAt)
  }
  return at
}

const go = (state: State, now: number, actions: Actions): void => {
  if (!state.started) return
  renew(state, now, actions)
  trim(state, now, actions)
  fill(state, now, actions)
  publish(state, now, actions)
  const at = due(state, now)
  if (at >= state.wakeAt || at === Number.POSITIVE_INFINITY) return
  state.wakeAt = at
  actions.push({ _tag: "After", ms: Math.max(1, Math.ceil(at - now)), timer: "Look" })
}

const begin = (state: State, now: number, actions: Actions): void => {
  const first = !state.started
  state.started = true
  if (first) state.exploreAt = now + EXPLORE_MS * (0.75 + state.random() / 2)
  let left = ASKED_AT_START
  for (const relay of state.relays.values()) {
    if (first) relay.goneAt = now
    if (relay.standing._tag !== "Idle") continue
    relay.pauseMs = BACKOFF_MS.first
    if (first && left-- > 0) ask(relay, now, actions)
    else relay.retryAt = now
  }
}

const step = (
  state: State,
  event: Event<Message, Timer, Command>
): readonly [State, ReadonlyArray<Action<Message, Timer, Told>>] => {
  const actions: Actions = []
  const { now } = event
  if (event._tag === "Command") begin(state, now, actions)
  else if (event._tag === "Timer") {
    if (now >= state.wakeAt) state.wakeAt = Number.POSITIVE_INFINITY
  } else {
    const relay = state.relays.get(event._tag === "Message" ? event.from : event.peer)
    if (relay === undefined) return [state, actions]
    if (event._tag === "Message") heard(state, relay, event.message, now, actions)
    else if (event._tag === "LinkDown" && relay.standing._tag !== "Idle") failed(state, relay, now)
  }
  go(state, now, actions)
  return [state, actions]
}

/** Holds slots at relays. */
export const machine: Machine<State, Message, Timer, Command, Told> = { step }
