/** ActiveView: who is a neighbour in an overlay (see ../HyParView.ts), who must make room, and who is asked to be one. */
import type { Action } from "@parley/core/Machine"
import type { Message, State, Timer, Told } from "../HyParView.ts"
import * as Limits from "../HyParViewLimits.ts"

export type Actions = Array<Action<Message, Timer, Told>>

export const send = (out: Actions, to: string, message: Message): void => void out.push({ _tag: "Send", to, message })

export const remember = (state: State, peer: string, source: string, proven = false): void => {
  if (peer !== state.self && !state.active.has(peer)) state.passive.add(peer, source, proven)
}

export const anyNeighbour = (state: State, but: string, alsoBut = ""): string | undefined =>
  state.random.pick([...state.active.keys()].filter((peer) => peer !== but && peer !== alsoBut))

/** Those that strangers cannot have dropped: chosen by this node, the longest-standing first. */
const kept = (state: State): ReadonlyArray<string> => {
  const chosen: Array<string> = []
  // A map keeps the order of adding, which is that of age.
  for (const [peer, neighbour] of state.active) {
    if (neighbour.chosen && chosen.push(peer) === Limits.KEPT) break
  }
  return chosen
}

export const add = (state: State, peer: string, chosen: boolean, now: number, out: Actions): void => {
  state.asked.delete(peer)
  state.passive.delete(peer)
  state.lost.delete(peer)
  if (state.active.has(peer)) return
  state.active.set(peer, { since: now, chosen })
  out.push({ _tag: "Tell", told: { _tag: "NeighborUp", peer } })
}

export const lookFor = (state: State, peer: string, now: number): void => {
  state.lost.delete(peer)
  state.lost.set(peer, now)
  if (state.lost.size > Limits.MAX_LOST) state.lost.delete(state.lost.keys().next().value!)
}

/** Takes a peer out of the active view. It stays a contact, or is looked for, or neither. */
export const remove = (
  state: State,
  peer: string,
  then: "dropped" | "contact" | "lost" | "gone",
  now: number,
  out: Actions
): boolean => {
  const neighbour = state.active.get(peer)
  if (neighbour === undefined) return false
  state.active.delete(peer)
  state.attempts = 0
  out.push({ _tag: "Tell", told: { _tag: "NeighborDown", peer, dropped: then === "dropped" } })
  if (then === "contact" || then === "dropped") remember(state, peer, peer, now - neighbour.since >= Limits.PROVEN_MS)
  else if (then === "lost") lookFor(state, peer, now)
  if (state.active.size === 0) state.introduced = false
  return true
}

const disconnect = (state: State, peer: string, now: number, out: Actions): void => {
  remove(state, peer, "dropped", now, out)
  send(out, peer, { _tag: "Disconnect", leaving: false })
  out.push({ _tag: "Close", peer })
}

/** Whether a stranger may have a free place. */
export const hasRoom = (state: State): boolean => {
  const { active: size } = state.settings
  return state.active.size < size && state.active.size - kept(state).length < size - Limits.KEPT
}

/** Makes room for a stranger, where there is none, by dropping a neighbour; false where that may not be. */
export const evict = (state: State, now: number, out: Actions): boolean => {
  if (hasRoom(state)) return true
  const keep = kept(state)
  const droppable = [...state.active.keys()].filter((peer) => !keep.includes(peer))
  const one = state.random.pick(droppable)
  if (one === undefined || !state.evictions.spend("", 1, now)) return false
  disconnect(state, one, now, out)
  return true
}

export const ask = (state: State, peer: string, chosen: boolean, message: Message, out: Actions): void => {
  const number = state.requests++
  state.asked.set(peer, { number, chosen })
  send(out, peer, message)
  out.push({
    _tag: "After",
    ms: state.settings.neighborTimeoutMs,
    timer: { _tag: "NeighborTimeout", peer, request: number }
  })
}

/** Asks contacts until requests and neighbours together fill the active view. */
export const refill = (state: State, now: number, out: Actions): void => {
  if (!state.started || state.left) return
  tryLost(state, now, out)
  let wanted = state.settings.active - state.active.size
  for (const { chosen } of state.asked.values()) if (chosen) wanted--
  if (wanted > 0) {
    const alone = state.active.size === 0
    const pause = alone ? Limits.ALONE_MS : Limits.REFUSED_MS
    const candidates = state.passive.willing(now, pause).filter((peer) => !state.asked.has(peer))
    // Who has nobody asks few: the first who takes it in tells others.
    for (const peer of state.random.sample(candidates, alone ? Math.min(wanted, 2) : wanted)) {
      if (alone && !state.introduced) ask(state, peer, true, { _tag: "Join" }, out)
      else ask(state, peer, true, { _tag: "Neighbor", priority: alone ? "high" : "low" }, out)
    }
  }
  lookAgain(state, out)
}

const lookAgain = (state: State, out: Actions): void => {
  if (state.refilling || (state.active.size >= state.settings.active && state.lost.size === 0)) return
  state.refilling = true
  const ms = state.settings.refillMs * (state.active.size === 0 ? 1 : 2 ** Math.min(state.attempts++, 3))
  out.push({ _tag: "After", ms: state.random.about(ms), timer: { _tag: "Refill" } })
}

/** Looks for a neighbour that was lost: it may be alive on the other side of what was a partition. */
const tryLost = (state: State, now: number, out: Actions): void => {
  if (now - state.triedLostAt < Limits.LOST_EVERY_MS) return
  for (const [peer, at] of state.lost) {
    if (now - at > Limits.LOST_MS && state.active.size > 0) {
      state.lost.delete(peer)
      continue
    }
    if (state.asked.has(peer)) continue
    state.triedLostAt = now
    // Behind the others, for the next turn.
    state.lost.delete(peer)
    state.lost.set(peer, at)
    ask(state, peer, false, { _tag: "Neighbor", priority: "high" }, out)
    return
  }
}
