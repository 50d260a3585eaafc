/**
 * GossipMachine: overlay, broadcast, failure detection and anti-entropy of one node as one machine.
 *
 * - The overlay's neighbours are those over whom broadcast runs, whom failure detection watches, and who are offered what is new.
 * - Whom failure detection holds for dead is no neighbour any more; who answers after that is asked to be one again, so that
 *   the sides of a partition grow together when it heals.
 * - Anti-entropy holds the statements of failure detection, and whatever the layer above gives it: records and tombstones.
 * - A link is closed when no part needs it.
 *
 * Its messages, timers and commands are those of its parts, told apart by `_tag`.
 */
import type { Action, Event, Machine } from "@parley/core/Machine"
import * as AntiEntropy from "./AntiEntropy.ts"
import type * as HyParView from "./HyParView.ts"
import { MAX_LOST } from "./HyParViewLimits.ts"
import * as OverlayMachine from "./OverlayMachine.ts"
import type * as Plumtree from "./Plumtree.ts"
import * as Swim from "./Swim.ts"
import { FORGET_MS, GUEST_MS } from "./SwimTimes.ts"

/** What anti-entropy holds: what the layer above gave, as it crosses the wire, or a statement of failure detection. */
export type Held = Uint8Array | Swim.Statement

/** What crosses the wire. */
export type Message = OverlayMachine.Message | Swim.Message | AntiEntropy.Message<Held>

export type Timer =
  | OverlayMachine.Timer
  | Swim.Timer
  | AntiEntropy.Timer
  /** A link that one part needs no more, and another did a moment ago. */
  | { readonly _tag: "CloseGuest"; readonly peer: string }

/** What the layer above wants. */
export type Command =
  | OverlayMachine.Command
  | Extract<AntiEntropy.Command<Uint8Array>, { readonly _tag: "Put" | "Drop" | "Ignore" }>

/** What the layer above hears. */
export type Told =
  | OverlayMachine.Told
  | Extract<Swim.Told, { readonly _tag: "MemberUp" | "MemberSuspect" | "MemberDown" | "MemberLeft" }>
  | AntiEntropy.Told<Uint8Array>

/** What a node's machine is given. */
export interface Terms extends Swim.Terms {
  readonly overlay?: Partial<HyParView.Settings>
  readonly broadcast?: Partial<Plumtree.Settings>
}

export interface State {
  readonly self: string
  /** Overlay and broadcast. */
  readonly mesh: OverlayMachine.State
  readonly swim: Swim.State
  readonly entropy: AntiEntropy.State<Held>
  /** When failure detection or anti-entropy used the link to one who is no neighbour. */
  readonly guests: Map<string, number>
  started: boolean
}

/** Statements are held until failure detection releases them. */
const HELD_MS = 1e12
/** Guests remembered; past it the one of longest ago is forgotten, and its link may close early. */
const MAX_GUESTS = 256

/** A node that has not joined. `seed` makes its random choices. */
export const make = (terms: Terms): State => ({
  self: terms.self,
  mesh: OverlayMachine.make(terms),
  swim: Swim.make({ ...terms, seed: terms.seed ^ 0x2545_f491 }),
  entropy: AntiEntropy.make<Held>({ self: terms.self, seed: terms.seed ^ 0x1b87_3593 }),
  guests: new Map(),
  started: false
})

type Actions = Array<Action<Message, Timer, Told>>

const entropyMachine = AntiEntropy.machine<Held>()

const command = <Command>(now: number, wanted: Command) => ({ _tag: "Command", now, command: wanted }) as const

const isBeside = (state: State, peer: string): boolean =>
  state.mesh.overlay.active.has(peer) || state.mesh.overlay.asked.has(peer)

/** Failure detection or anti-entropy sends to, or hears, a peer. */
const visit = (state: State, peer: string, now: number): void => {
  if (state.mesh.overlay.active.has(peer)) return
  state.guests.delete(peer)
  state.guests.set(peer, now)
  if (state.guests.size > MAX_GUESTS) state.guests.delete(state.guests.keys().next().value!)
}

const stepMesh = (
  state: State,
  event: Event<OverlayMachine.Message, OverlayMachine.Timer, OverlayMachine.Command>,
  out: Actions
): void => {
  for (const action of OverlayMachine.machine.step(state.mesh, event)[1]) {
    if (action._tag === "Close") close(state, action.peer, event.now, out)
    else out.push(action)
    if (action._tag !== "Tell" || action.told._tag === "Deliver") continue
    const { _tag, peer } = action.told
    const isUp = _tag === "NeighborUp"
    if (isUp) state.guests.delete(peer)
    stepSwim(state, command(event.now, { _tag: "Watch", peer, watched: isUp }), out)
    stepEntropy(state, command(event.now, { _tag: "Beside", peer, beside: isUp }), out)
  }
}

/** The overlay needs the link no more. Where others just used it, they may wait for an answer on it. */
const close = (state: State, peer: string, now: number, out: Actions): void => {
  const usedAt = state.guests.get(peer)
  if (usedAt === undefined || now - usedAt >= GUEST_MS) {
    state.guests.delete(peer)
    out.push({ _tag: "Close", peer })
  } else out.push({ _tag: "After", ms: usedAt + GUEST_MS - now, timer: { _tag: "CloseGuest", peer } })
}

const stepSwim = (state: State, event: Event<Swim.Message, Swim.Timer, Swim.Command>, out: Actions): void => {
  for (const action of Swim.machine.step(state.swim, event)[1]) {
    if (action._tag === "Tell") onMember(state, action.told, event.now, out)
    else if (action._tag !== "Close") {
      if (action._tag === "Send") visit(state, action.to, event.now)
      out.push(action)
    } else if (!isBeside(state, action.peer)) {
      state.guests.delete(action.peer)
      out.push(action)
    }
  }
}

const onMember = (state: State, told: Swim.Told, now: number, out: Actions): void => {
  switch (told._tag) {
    case "Hold": {
      const { key, statement, version } = told
      const item = { key, version, payload: statement, bytes: STATEMENT_BYTES }
      return stepEntropy(state, command(now, { _tag: "Put", item, ttlMs: HELD_MS, spread: false }), out)
    }
    case "Release":
      return stepEntropy(state, command(now, { _tag: "Drop", key: told.key }), out)
    case "Pass": {
      const { key, version } = told
      return stepEntropy(state, command(now, { _tag: "Ignore", key, version, ttlMs: FORGET_MS }), out)
    }
    case "Met":
      stepEntropy(state, command(now, { _tag: "Exchange", peer: told.peer }), out)
      if (told.returned) stepMesh(state, command(now, { _tag: "Reunite", peer: told.peer }), out)
      return
    default:
      out.push({ _tag: "Tell", told })
      if (told._tag === "MemberDown") stepMesh(state, command(now, { _tag: "Forget", peer: told.peer }), out)
  }
}

/** What a statement takes on the wire: an accusation, which is the larger. */
const STATEMENT_BYTES = 135

const stepEntropy = (
  state: State,
  event: Event<AntiEntropy.Message<Held>, AntiEntropy.Timer, AntiEntropy.Command<Held>>,
  out: Actions
): void => {
  for (const action of entropyMachine.step(state.entropy, event)[1]) {
    if (action._tag === "Send") visit(state, action.to, event.now)
    if (action._tag !== "Tell") {
      out.push(action)
      continue
    }
    const { from, item } = action.told
    const { payload } = item
    if (payload instanceof Uint8Array)
      out.push({ _tag: "Tell", told: { _tag: "Came", item: { ...item, payload }, from } })
    else stepSwim(state, command(event.now, { _tag: "Hear", statements: [payload], from }), out)
  }
}

const onMessage = (state: State, now: number, from: string, message: Message, out: Actions): void => {
  switch (message._tag) {
    case "Ping":
    case "Ack":
    case "PingRequest":
    case "PingResult":
    case "News":
      visit(state, from, now)
      return stepSwim(state, { _tag: "Message", now, from, message }, out)
    case "Digest":
    case "Entries":
    case "Offer":
    case "Want":
    case "Items":
      visit(state, from, now)
      return stepEntropy(state, { _tag: "Message", now, from, message }, out)
    default:
      return stepMesh(state, { _tag: "Message", now, from, message }, out)
  }
}

const onTimer = (state: State, now: number, timer: Timer, out: Actions): void => {
  switch (timer._tag) {
    case "SwimWake":
      return stepSwim(state, { _tag: "Timer", now, timer }, out)
    case "EntropyWake":
      return stepEntropy(state, { _tag: "Timer", now, timer }, out)
    case "CloseGuest":
      if (state.guests.has(timer.peer) && !isBeside(state, timer.peer)) close(state, timer.peer, now, out)
      return
    default:
      return stepMesh(state, { _tag: "Timer", now, timer }, out)
  }
}

/**
 * Broadcast has missed what this peer brought: it may be in another part of a torn overlay, whose nodes all have neighbours and so
 * nobody in a hurry to take them. Such peers push out none of those who were lost.
 */
const suspectTear = (state: State, peer: string, now: number, out: Actions): void => {
  if (state.mesh.overlay.lost.size < MAX_LOST / 2) stepMesh(state, command(now, { _tag: "Reunite", peer }), out)
}

const onCommand = (state: State, now: number, wanted: Command, out: Actions): void => {
  switch (wanted._tag) {
    case "Put":
      if (wanted.from !== undefined) suspectTear(state, wanted.from, now, out)
      return stepEntropy(state, command(now, wanted), out)
    case "Drop":
    case "Ignore":
      return stepEntropy(state, command(now, wanted), out)
    case "Join":
      if (!state.started) stepSwim(state, command(now, { _tag: "SwimStart" }), out)
      state.started = true
      return stepMesh(state, command(now, wanted), out)
    case "Leave":
      stepSwim(state, command(now, { _tag: "SwimLeave" }), out)
      state.started = false
      return stepMesh(state, command(now, wanted), out)
    default:
      return stepMesh(state, command(now, wanted), out)
  }
}

/** The gossip of one node. */
export const step = (
  state: State,
  event: Event<Message, Timer, Command>
): readonly [State, ReadonlyArray<Action<Message, Timer, Told>>] => {
  const out: Actions = []
  const { now } = event
  switch (event._tag) {
    case "Message":
      onMessage(state, now, event.from, event.message, out)
      break
    case "Timer":
      onTimer(state, now, event.timer, out)
      break
    case "Command":
      onCommand(state, now, event.command, out)
      break
    case "LinkUp":
    case "LinkDown":
      stepSwim(state, event, out)
      stepEntropy(state, event, out)
      if (event._tag === "LinkDown") state.guests.delete(event.peer)
      stepMesh(state, event, out)
  }
  return [state, out]
}

export const machine: Machine<State, Message, Timer, Command, Told> = { step }
