/**
 * OverlayMachine: an overlay and the broadcast over it as one machine, without a list of members: HyParView's neighbours are
 * Plumtree's.
 */
import type { Action, Event, Machine } from "@parley/core/Machine"
import * as HyParView from "./HyParView.ts"
import * as Plumtree from "./Plumtree.ts"

export type Message = HyParView.Message | Plumtree.Message

export type Timer = HyParView.Timer | Plumtree.Timer

export type Command = HyParView.Command | Plumtree.Publish

export type Told = HyParView.Told | Plumtree.Told

/** What a node's machine is given. */
export interface Terms {
  readonly self: string
  /** Makes the node's random choices. */
  readonly seed: number
  readonly overlay?: Partial<HyParView.Settings>
  readonly broadcast?: Partial<Plumtree.Settings>
}

export interface State {
  readonly overlay: HyParView.State
  readonly broadcast: Plumtree.State
}

/** A node that has not joined. */
export const make = ({ broadcast, overlay, seed, self }: Terms): State => ({
  overlay: HyParView.make(self, seed, overlay),
  broadcast: Plumtree.make(self, seed ^ 0x5bd1_e995, broadcast)
})

type Actions = Array<Action<Message, Timer, Told>>

/** The machine over these two: broken ones in some tests. */
export const over = (
  overlay: typeof HyParView.machine,
  broadcast: typeof Plumtree.machine
): Machine<State, Message, Timer, Command, Told> => {
  const stepOverlay = (state: State, event: Event<HyParView.Message, HyParView.Timer, HyParView.Command>): Actions => {
    const out: Actions = []
    for (const action of overlay.step(state.overlay, event)[1]) {
      out.push(action)
      if (action._tag === "Tell")
        out.push(...stepBroadcast(state, { _tag: "Command", now: event.now, command: action.told }))
    }
    return out
  }
  const stepBroadcast = (
    state: State,
    event: Event<Plumtree.Message, Plumtree.Timer, Plumtree.Command>
  ): ReadonlyArray<Action<Message, Timer, Told>> => broadcast.step(state.broadcast, event)[1]

  const onMessage = (state: State, now: number, from: string, message: Message) => {
    switch (message._tag) {
      case "Gossip":
      case "IHave":
      case "Graft":
      case "Prune":
        return stepBroadcast(state, { _tag: "Message", now, from, message })
      default:
        return stepOverlay(state, { _tag: "Message", now, from, message })
    }
  }
  const onTimer = (state: State, now: number, timer: Timer) => {
    switch (timer._tag) {
      case "LazyPush":
      case "Missing":
      case "Expire":
        return stepBroadcast(state, { _tag: "Timer", now, timer })
      default:
        return stepOverlay(state, { _tag: "Timer", now, timer })
    }
  }
  return {
    step: (state, event) => {
      const { now } = event
      switch (event._tag) {
        case "Message":
          return [state, onMessage(state, now, event.from, event.message)]
        case "Timer":
          return [state, onTimer(state, now, event.timer)]
        case "Command": {
          const { command } = event
          if (command._tag === "Publish") return [state, stepBroadcast(state, { _tag: "Command", now, command })]
          return [state, stepOverlay(state, { _tag: "Command", now, command })]
        }
        case "LinkUp":
        case "LinkDown":
          return [state, stepOverlay(state, event)]
      }
    }
  }
}

export const machine: Machine<State, Message, Timer, Command, Told> = over(HyParView.machine, Plumtree.machine)
