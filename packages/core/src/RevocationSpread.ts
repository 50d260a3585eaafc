/**
 * How a list of revocations reaches every member, as a pure machine: whoever meets somebody hands over what it has, and whoever hears
 * a newer list hands it on once. Members are connected as a mesh, so a list crosses each link about once.
 */
import type * as Machine from "./Machine.ts"
import * as CanonicalJson from "./CanonicalJson.ts"
import type { NetworkOf } from "./MemberCertificate.ts"
import * as Revocations from "./Revocations.ts"

/** A list as text, from nobody in particular: it counts by the root's signature. */
export type Message = string
/** The list that this node was given, as by a file. */
export type Command = Message
/** A newer list stands. */
export type Told = Revocations.Revocations

/** What one member knows. */
export interface State {
  readonly of: NetworkOf
  known: Revocations.Revocations | undefined
  /** The list as it is sent. */
  text: string
  readonly links: Set<string>
}

type Actions = ReadonlyArray<Machine.Action<Message, never, Told>>
const nothing: Actions = []

/** A member that knows a list, or none. */
export const make = (of: NetworkOf, known?: Revocations.Revocations): State => ({
  of,
  known,
  text: known === undefined ? "" : JSON.stringify(known),
  links: new Set()
})

const parse = (text: string): unknown => {
  if (text.length > Revocations.MAX_REVOCATIONS_BYTES) return undefined
  const parsed = CanonicalJson.parse(text, { maxBytes: Revocations.MAX_REVOCATIONS_BYTES, maxDepth: 4 })
  return parsed._tag === "Success" ? parsed.success : undefined
}

/** Whether it could be newer, before its signature is looked at. */
const mayBeNewer = (value: unknown, known: Revocations.Revocations | undefined): boolean => {
  if (typeof value !== "object" || value === null) return false
  const { number, sig } = value as { readonly number?: unknown; readonly sig?: unknown }
  return typeof number === "number" && typeof sig === "string" && Revocations.isNewer({ number, sig }, known)
}

const take = (state: State, text: string, from: string | undefined): Actions => {
  const value = parse(text)
  if (!mayBeNewer(value, state.known)) return nothing
  const list = Revocations.read(value, state.of)
  if (typeof list === "string") return nothing
  state.known = list
  state.text = JSON.stringify(list)
  const sends = [...state.links]
    .filter((peer) => peer !== from)
    .map((to) => ({ _tag: "Send" as const, to, message: state.text }))
  return [...sends, { _tag: "Tell", told: list }]
}

/** The machine. It needs no timer. */
export const machine: Machine.Machine<State, Message, never, Command, Told> = {
  step: (state, event) => {
    switch (event._tag) {
      case "LinkUp":
        state.links.add(event.peer)
        return [state, state.text === "" ? nothing : [{ _tag: "Send", to: event.peer, message: state.text }]]
      case "LinkDown":
        state.links.delete(event.peer)
        return [state, nothing]
      case "Message":
        return [state, take(state, event.message, event.from)]
      case "Command":
        return [state, take(state, event.command, undefined)]
      case "Timer":
        return [state, nothing]
    }
  }
}
