/**
 * Punch: how two nodes on a relayed connection agree when to begin a direct one (RFC 5128, 3.4; libp2p's DCUtR).
 *
 * Who dialled the relayed connection leads. Both learn where the outside sees the port that they will use; the leader measures
 * a round trip over the relay, says "go", and begins half a round trip later, when the other end hears it. Both then dial each other
 * at the same moment, so that each router takes the other's packet for an answer. Where that fails, the connection stays
 * relayed and the leader tries again, after pauses that grow.
 *
 * A machine (`@parley/core/Machine`) of one relayed connection at one of its ends. Its driver owns the sockets: between `Observe`
 * and `Rest` there is one set of them, and there is never a second one.
 */
import type { Action, Event, Machine } from "@parley/core/Machine"

/** How long an attempt may take until it comes to dialling. */
export const AGREE_MS = 5_000
/** How long both ends dial, beside two round trips: a lost first packet is sent again after 1 s (RFC 6298, 2.1). */
export const WINDOW_MS = 2_000
/** Longest round trip that is waited half of: the relay would be of no use beyond it. */
export const MAX_RTT_MS = 2_000
/** First and longest pause between attempts. Each pause doubles, with up to a half more at random. */
export const PAUSE_MS = { first: 5_000, longest: 600_000 }
/** Offers that an end follows at once, and how long it takes until it follows one more: a leader who keeps to the pauses makes fewer. */
export const OFFERS = { atOnce: 3, everyMs: 5_000 }
/** Round trips that a leader may measure in one attempt. */
export const MAX_PINGS = 3

/** What the two ends tell each other. `port`: where its sender listens for everybody, 0 where it does not. */
export type Message =
  | { readonly _tag: "Offer"; readonly port: number }
  | { readonly _tag: "Answer"; readonly port: number }
  | { readonly _tag: "Ping" }
  | { readonly _tag: "Pong" }
  | { readonly _tag: "Go" }

/** What a timer is for; it counts only while its step lasts. */
export interface Timer {
  readonly what: "Retry" | "Begin" | "Late" | "Over"
  readonly step: number
}

/** What the driver says. */
export type Command =
  /** The relayed connection stands, and this end dialled it. */
  | { readonly _tag: "Start" }
  /** The outside has told where it sees this end, or will not. */
  | { readonly _tag: "Observed"; readonly ok: boolean }
  /** A direct connection stands. */
  | { readonly _tag: "Connected" }

/** What the driver shall do. */
export type Told =
  /** Take a port, and find out where it is seen. */
  | { readonly _tag: "Observe" }
  /** Dial the peer now. `port`: where it says that it listens. */
  | { readonly _tag: "Dial"; readonly port: number; readonly rttMs: number }
  /** Give the sockets up, but for a connection that stands. */
  | { readonly _tag: "Rest"; readonly direct: boolean }

/** How far an attempt is. */
export type Phase = "Idle" | "Agreeing" | "Measuring" | "Waiting" | "Dialling" | "Over"

/** One end of a relayed connection. Its fields change with each step. */
export interface State {
  readonly peer: string
  readonly leads: boolean
  readonly port: () => number
  readonly random: () => number
  phase: Phase
  /** Timers of earlier steps are stale. */
  step: number
  failures: number
  observed: boolean
  /** What the other end said of its listening port; undefined until it answered. */
  theirs: number | undefined
  pings: number
  /** When the ping or the pong left; then, at the leader, how long the round trip took. */
  pingAt: number
  /** Offers that may still be followed, and when that was last reckoned. */
  offers: number
  offersAt: number
}

/** An end of a relayed connection to a peer; `port` is asked where this node listens for everybody. */
export const make = (peer: string, leads: boolean, port: () => number, random: () => number): State => ({
  peer,
  leads,
  port,
  random,
  phase: "Idle",
  step: 0,
  failures: 0,
  observed: false,
  theirs: undefined,
  pings: 0,
  pingAt: 0,
  offers: OFFERS.atOnce,
  offersAt: Number.NEGATIVE_INFINITY
})

type Actions = Array<Action<Message, Timer, Told>>

/** How long to wait after so many failures in a row. */
export const pauseAfter = (failures: number, random: () => number): number =>
  Math.min(PAUSE_MS.first * 2 ** Math.min(failures - 1, 20), PAUSE_MS.longest) * (1 + random() / 2)

const enter = (state: State, phase: Phase): number => {
  state.phase = phase
  return ++state.step
}

const begin = (state: State, actions: Actions): void => {
  const step = enter(state, "Agreeing")
  state.observed = false
  state.theirs = undefined
  state.pings = 0
  actions.push({ _tag: "Tell", told: { _tag: "Observe" } })
  actions.push({ _tag: "After", ms: AGREE_MS, timer: { what: "Late", step } })
}

/** The attempt is over. */
const end = (state: State, direct: boolean, actions: Actions): void => {
  const step = enter(state, direct && state.leads ? "Over" : "Idle")
  actions.push({ _tag: "Close", peer: state.peer })
  actions.push({ _tag: "Tell", told: { _tag: "Rest", direct } })
  if (direct || !state.leads) return
  state.failures++
  actions.push({ _tag: "After", ms: pauseAfter(state.failures, state.random), timer: { what: "Retry", step } })
}

const dial = (state: State, rttMs: number, actions: Actions): void => {
  const step = enter(state, "Dialling")
  const told: Told = { _tag: "Dial", port: state.theirs ?? 0, rttMs }
  actions.push({ _tag: "Tell", told })
  actions.push({ _tag: "After", ms: WINDOW_MS + 2 * rttMs, timer: { what: "Over", step } })
}

/** Both ends know where they are seen. */
const measure = (state: State, now: number, actions: Actions): void => {
  if (!state.observed || state.theirs === undefined) return
  state.phase = "Measuring"
  state.pingAt = now
  actions.push({ _tag: "Send", to: state.peer, message: { _tag: "Ping" } })
}

const mayFollow = (state: State, now: number): boolean => {
  const since = state.offersAt === Number.NEGATIVE_INFINITY ? 0 : now - state.offersAt
  state.offers = Math.min(OFFERS.atOnce, state.offers + since / OFFERS.everyMs)
  state.offersAt = now
  if (state.offers < 1) return false
  state.offers--
  return true
}

const lead = (state: State, message: Message, now: number, actions: Actions): void => {
  if (message._tag === "Answer" && state.phase === "Agreeing" && state.theirs === undefined) {
    state.theirs = message.port
    return measure(state, now, actions)
  }
  if (message._tag !== "Pong" || state.phase !== "Measuring") return broken(state, actions)
  const rttMs = Math.min(MAX_RTT_MS, Math.max(0, now - state.pingAt))
  const step = enter(state, "Waiting")
  state.pingAt = rttMs
  actions.push({ _tag: "Send", to: state.peer, message: { _tag: "Go" } })
  actions.push({ _tag: "After", ms: rttMs / 2, timer: { what: "Begin", step } })
}

const follow = (state: State, message: Message, now: number, actions: Actions): void => {
  switch (message._tag) {
    case "Offer":
      if (state.phase !== "Idle") return broken(state, actions)
      if (!mayFollow(state, now)) return void actions.push({ _tag: "Close", peer: state.peer })
      begin(state, actions)
      state.theirs = message.port
      return
    case "Ping":
      if (!state.observed || state.phase !== "Agreeing" || ++state.pings > MAX_PINGS) break
      state.pingAt = now
      actions.push({ _tag: "Send", to: state.peer, message: { _tag: "Pong" } })
      return
    case "Go":
      if (!state.observed || state.phase !== "Agreeing" || state.pings === 0) break
      return dial(state, Math.min(MAX_RTT_MS, Math.max(0, now - state.pingAt)), actions)
  }
  broken(state, actions)
}

/** The peer says what has no place here. */
const broken = (state: State, actions: Actions): void => {
  if (state.phase === "Idle" || state.phase === "Over") actions.push({ _tag: "Close", peer: state.peer })
  else end(state, false, actions)
}

const onTimer = (state: State, { what, step }: Timer, actions: Actions): void => {
  // The time to agree runs on while the leader measures.
  if (step !== state.step) return
  if (what === "Retry") {
    begin(state, actions)
    actions.push({ _tag: "Send", to: state.peer, message: { _tag: "Offer", port: state.port() } })
  } else if (what === "Begin") dial(state, state.pingAt, actions)
  else end(state, false, actions)
}

const onCommand = (state: State, command: Command, now: number, actions: Actions): void => {
  const active = state.phase !== "Idle" && state.phase !== "Over"
  switch (command._tag) {
    case "Start":
      if (!state.leads || state.phase !== "Idle") return
      return onTimer(state, { what: "Retry", step: state.step }, actions)
    case "Observed":
      if (state.phase !== "Agreeing" || state.observed) return
      if (!command.ok) return end(state, false, actions)
      state.observed = true
      if (state.leads) return measure(state, now, actions)
      actions.push({ _tag: "Send", to: state.peer, message: { _tag: "Answer", port: state.port() } })
      return
    case "Connected":
      state.failures = 0
      if (active) end(state, true, actions)
  }
}

/** The machine. The one peer of each is the other end of its relayed connection; a link to it is the stream of one attempt. */
export const machine: Machine<State, Message, Timer, Command, Told> = {
  step: (
    state: State,
    event: Event<Message, Timer, Command>
  ): readonly [State, ReadonlyArray<Action<Message, Timer, Told>>] => {
    const actions: Actions = []
    switch (event._tag) {
      case "Message":
        if (state.phase === "Over") actions.push({ _tag: "Close", peer: state.peer })
        else (state.leads ? lead : follow)(state, event.message, event.now, actions)
        break
      case "Timer":
        onTimer(state, event.timer, actions)
        break
      case "Command":
        onCommand(state, event.command, event.now, actions)
        break
      case "LinkDown":
        // Who has begun to dial goes on: the other end may have what it wanted.
        if (state.phase !== "Idle" && state.phase !== "Over" && state.phase !== "Dialling") end(state, false, actions)
        break
      case "LinkUp":
        break
    }
    return [state, actions]
  }
}
