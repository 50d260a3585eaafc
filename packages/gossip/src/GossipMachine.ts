/**
 * GossipMachine: overlay, broadcast, failure detection and anti-entropy of one node as one machine.
 *
 * Its messages, timers and commands are those of its parts, told apart by `_tag`.
 */
import type { Action, Event, Machine } from "@parley/core/Machine"
import * as HyParView from "./HyParView.ts"
import * as Plumtree from "./Plumtree.ts"

/** What crosses the wire. */
export type Message = HyParView.Message | Plumtree.Message

export type Timer = HyParView.Timer | Plumtree.Timer

/** What the layer above wants. */
export type Command = HyParView.Command | Plumtree.Publish

/** What the layer above hears. */
export type Told = HyParView.Told | Plumtree.Told

export interface State {
  readonly overlay: HyParView.State
  readonly broadcast: Plumtree.State
}

/** What can be set. */
export interface Settings {
  readonly overlay?: Partial<HyParView.Settings>
  readonly broadcast?: Partial<Plumtree.Settings>
}

/** A node that has not joined. `seed` makes its random choices. */
export const make = (self: string, seed: number, settings: Settings = {}): State => ({
  overlay: HyParView.make(self, seed, settings.overlay),
  broadcast: Plumtree.make(self, seed ^ 0x5bd1e995, settings.broadcast)
})

type Actions = Array<Action<Message, Timer, Told>>

const overlay = (
  state: State,
  event: Event<HyParView.Message, HyParView.Timer, HyParView.Command>,
  out: Actions
): void => {
  for (const action of HyParView.step(state.overlay, event)[1]) {
    out.push(action)
    if (action._tag === "Tell") broadcast(state, { _tag: "Command", now: event.now, command: action.told }, out)
  }
}

const broadcast = (
  state: State,
  event: Event<Plumtree.Message, Plumtree.Timer, Plumtree.Command>,
  out: Actions
): void => {
  for (const action of Plumtree.step(state.broadcast, event)[1]) out.push(action)
}

const onMessage = (state: State, now: number, from: string, message: Message, out: Actions): void => {
  switch (message._tag) {
    case "Gossip":
    case "IHave":
    case "Graft":
    case "Prune":
      return broadcast(state, { _tag: "Message", now, from, message }, out)
    default:
      return overlay(state, { _tag: "Message", now, from, message }, out)
  }
}

const onTimer = (state: State, now: number, timer: Timer, out: Actions): void => {
  switch (timer._tag) {
    case "LazyPush":
    case "Missing":
    case "Expire":
      return broadcast(state, { _tag: "Timer", now, timer }, out)
    default:
      return overlay(state, { _tag: "Timer", now, timer }, out)
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
    case "Command": {
      const { command } = event
      if (command._tag === "Publish") broadcast(state, { _tag: "Command", now, command }, out)
      else overlay(state, { _tag: "Command", now, command }, out)
      break
    }
    case "LinkUp":
    case "LinkDown":
      overlay(state, event, out)
  }
  return [state, out]
}

export const machine: Machine<State, Message, Timer, Command, Told> = { step }
