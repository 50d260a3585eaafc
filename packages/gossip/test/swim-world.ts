/**
 * Failure detection and anti-entropy over an overlay as plain as can be, for tests that are about neither HyParView nor Plumtree:
 * whoever has fewer than five neighbours greets a random member, and whoever has more than eight drops one.
 */
import type { Action, Event, Machine } from "@parley/core/Machine"
import { fromSeed, type Seeded } from "@parley/core/testing/Seeded"
import { Simulation } from "@parley/core/testing/Simulation"
import * as AntiEntropy from "../src/AntiEntropy.ts"
import * as Swim from "../src/Swim.ts"

type Payload = Swim.Statement | string
type Entropy = AntiEntropy.State<Payload>

export type Message =
  | Swim.Message
  | AntiEntropy.Message<Payload>
  | { readonly _tag: "Hello" }
  | { readonly _tag: "Bye" }
export type Timer = Swim.Timer | AntiEntropy.Timer
export type Command =
  | { readonly _tag: "Start"; readonly contacts: ReadonlyArray<string> }
  | { readonly _tag: "Leave" }
  /** Knows these members from the start. */
  | { readonly _tag: "Know"; readonly statements: ReadonlyArray<Swim.Statement> }
  | { readonly _tag: "Keep"; readonly key: string; readonly version: number; readonly text: string }
export type Told = Swim.Told

const LEAST = 5
const MOST = 8
const TTL_MS = 600_000

export interface State {
  readonly self: string
  readonly swim: Swim.State
  readonly entropy: Entropy
  readonly beside: Set<string>
  readonly random: Seeded
  /** Members that live, as far as is known. */
  readonly living: Set<string>
  /** It is being told of the members, and greets none yet. */
  learning: boolean
}

/** Which parts a world is made of: broken ones in some tests. */
export interface Parts {
  readonly swim: typeof Swim.machine
  readonly entropy: Machine<
    Entropy,
    AntiEntropy.Message<Payload>,
    AntiEntropy.Timer,
    AntiEntropy.Command<Payload>,
    AntiEntropy.Told<Payload>
  >
}

export const parts: Parts = { swim: Swim.machine, entropy: AntiEntropy.machine<Payload>() }

const nobody = new Uint8Array(0)

/** A node that has not started. Its statements are believed without a signature. */
export const make = (self: string, seed: number, incarnation = 1): State => ({
  self,
  swim: Swim.make({ self, seed, incarnation, sign: () => nobody, verify: () => true }),
  entropy: AntiEntropy.make<Payload>({ self, seed: seed + 1 }),
  beside: new Set(),
  random: fromSeed(seed + 2),
  living: new Set(),
  learning: false
})

export const machine = ({ entropy, swim }: Parts): Machine<State, Message, Timer, Command, Told> => {
  type Out = Array<Action<Message, Timer, Told>>

  const stepSwim = (state: State, event: Event<Swim.Message, Swim.Timer, Swim.Command>, out: Out): void => {
    for (const action of swim.step(state.swim, event)[1]) {
      if (action._tag === "Close" && state.beside.has(action.peer)) continue
      if (action._tag === "Tell") onTold(state, action.told, event.now, out)
      else out.push(action)
    }
  }
  const stepEntropy = (
    state: State,
    event: Event<AntiEntropy.Message<Payload>, AntiEntropy.Timer, AntiEntropy.Command<Payload>>,
    out: Out
  ): void => {
    for (const action of entropy.step(state.entropy, event)[1]) {
      if (action._tag !== "Tell") {
        out.push(action)
        continue
      }
      const { from, item } = action.told
      if (typeof item.payload === "string")
        stepEntropy(state, command(event.now, { _tag: "Put", item, ttlMs: TTL_MS, spread: true, from }), out)
      else stepSwim(state, command(event.now, { _tag: "Hear", statements: [item.payload], from }), out)
    }
  }
  const beside = (state: State, now: number, peer: string, is: boolean, out: Out): void => {
    if (is === state.beside.has(peer) || peer === state.self) return
    if (is) state.beside.add(peer)
    else state.beside.delete(peer)
    stepSwim(state, command(now, { _tag: "Watch", peer, watched: is }), out)
    stepEntropy(state, command(now, { _tag: "Beside", peer, beside: is }), out)
    if (!is) return fill(state, now, out)
    if (state.beside.size <= MOST) return
    const dropped = state.random.pick([...state.beside])
    out.push({ _tag: "Send", to: dropped, message: { _tag: "Bye" } })
    beside(state, now, dropped, false, out)
  }
  const greet = (state: State, now: number, peer: string, out: Out): void => {
    if (state.beside.has(peer)) return
    out.push({ _tag: "Send", to: peer, message: { _tag: "Hello" } })
    beside(state, now, peer, true, out)
  }
  const fill = (state: State, now: number, out: Out): void => {
    const others = [...state.living].filter((peer) => !state.beside.has(peer))
    if (state.beside.size < LEAST && others.length > 0) greet(state, now, state.random.pick(others), out)
  }
  const onTold = (state: State, told: Swim.Told, now: number, out: Out): void => {
    out.push({ _tag: "Tell", told })
    switch (told._tag) {
      case "MemberUp":
        state.living.add(told.peer)
        if (!state.learning) fill(state, now, out)
        return
      case "MemberDown":
      case "MemberLeft":
        state.living.delete(told.peer)
        return beside(state, now, told.peer, false, out)
      case "Met":
        stepEntropy(state, command(now, { _tag: "Exchange", peer: told.peer }), out)
        if (told.returned) greet(state, now, told.peer, out)
        return
      case "Hold": {
        const { key, statement, version } = told
        const item = { key, version, payload: statement, bytes: 110 }
        return stepEntropy(state, command(now, { _tag: "Put", item, ttlMs: TTL_MS, spread: false }), out)
      }
      case "Release":
        return stepEntropy(state, command(now, { _tag: "Drop", key: told.key }), out)
      case "Pass":
        return stepEntropy(state, command(now, { ...told, _tag: "Ignore", ttlMs: TTL_MS }), out)
      default:
    }
  }

  return {
    step: (state, event) => {
      const out: Out = []
      const { now } = event
      switch (event._tag) {
        case "LinkDown":
        case "LinkUp":
          stepSwim(state, event, out)
          stepEntropy(state, event, out)
          if (event._tag === "LinkDown") beside(state, now, event.peer, false, out)
          break
        case "Timer":
          if (event.timer._tag === "SwimWake") stepSwim(state, { ...event, timer: event.timer }, out)
          else stepEntropy(state, { ...event, timer: event.timer }, out)
          break
        case "Message": {
          const { from, message } = event
          switch (message._tag) {
            case "Hello":
              beside(state, now, from, true, out)
              break
            case "Bye":
              beside(state, now, from, false, out)
              break
            case "Ping":
            case "Ack":
            case "News":
            case "PingRequest":
            case "PingResult":
              stepSwim(state, { _tag: "Message", now, from, message }, out)
              break
            default:
              stepEntropy(state, { _tag: "Message", now, from, message }, out)
          }
          break
        }
        case "Command":
          switch (event.command._tag) {
            case "Start":
              stepSwim(state, command(now, { _tag: "SwimStart" }), out)
              for (const contact of event.command.contacts) greet(state, now, contact, out)
              break
            case "Know":
              state.learning = true
              stepSwim(state, command(now, { _tag: "Hear", statements: event.command.statements, from: "" }), out)
              state.learning = false
              for (let i = 0; i < LEAST; i++) fill(state, now, out)
              break
            case "Leave":
              stepSwim(state, command(now, { _tag: "SwimLeave" }), out)
              break
            default: {
              const { key, text, version } = event.command
              const item = { key, version, payload: text, bytes: text.length }
              stepEntropy(state, command(now, { _tag: "Put", item, ttlMs: TTL_MS, spread: true }), out)
            }
          }
      }
      return [state, out]
    }
  }
}

const command = <C>(now: number, wanted: C) => ({ _tag: "Command", now, command: wanted }) as const

export type World = Simulation<State, Message, Timer, Command, Told>

/** A mesh of so many nodes, `n0` to `n<count - 1>`, that know each other. */
export const world = (
  seed: number,
  count: number,
  hear: (node: string, told: Told, now: number) => void = () => {},
  made: Parts = parts
): World => {
  const said: Array<Swim.Statement> = []
  const names: Array<string> = []
  const mesh: World = new Simulation({
    seed,
    machine: machine(made),
    delay: (random) => 5 + random.int(40),
    told: (node, told, now) => {
      if (told._tag === "Hold" && names.length < count) said.push(told.statement)
      hear(node, told, now)
    }
  })
  for (let i = 0; i < count; i++) {
    start(mesh, seed, i, 0)
    names.push(`n${i}`)
  }
  for (const name of names) mesh.command(name, { _tag: "Know", statements: said })
  mesh.runFor(1_000)
  return mesh
}

/** Starts node `n<i>`, or starts it again, with so many contacts. */
export const start = (mesh: World, seed: number, i: number, contacts: number): void => {
  const name = `n${i}`
  const others = mesh.alive()
  mesh.add(name, make(name, seed * 100_003 + i, 1 + Math.floor(mesh.now)))
  mesh.command(name, { _tag: "Start", contacts: Array.from({ length: contacts }, () => mesh.random.pick(others)) })
}
