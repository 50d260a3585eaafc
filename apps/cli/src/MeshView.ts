/**
 * The mesh as one node sees it, and what changed in it from one look to the next; drawn for a terminal, or told in lines.
 */
import type { NodeId } from "@parley/core/NodeId"
import * as Output from "./Output.ts"

/** How another node stands to this one: connected directly or through a relay, or only known by its record. */
export type Standing = "direct" | "relayed" | "known"

/** Another node. */
export interface Member {
  readonly node: NodeId
  readonly name: string
  readonly standing: Standing
  /** Where its connection leads, or what it publishes first. */
  readonly address: string
  readonly capabilities: ReadonlyArray<string>
}

/** Everybody whom a node sees. */
export type View = ReadonlyMap<NodeId, Member>

/** What happened to one node. */
export interface Change {
  readonly event: "found" | "connected" | "rerouted" | "disconnected" | "changed" | "gone"
  readonly member: Member
}

const order: { readonly [S in Standing]: number } = { direct: 0, relayed: 1, known: 2 }

const eventOf = (before: Member | undefined, after: Member): Change["event"] | undefined => {
  if (before === undefined) return after.standing === "known" ? "found" : "connected"
  if (before.standing !== after.standing) {
    if (before.standing === "known") return "connected"
    return after.standing === "known" ? "disconnected" : "rerouted"
  }
  const same = before.name === after.name && before.capabilities.join() === after.capabilities.join()
  return same ? undefined : "changed"
}

/** What happened between two looks. */
export const changes = (before: View, after: View): ReadonlyArray<Change> => {
  const found: Array<Change> = []
  for (const member of after.values()) {
    const event = eventOf(before.get(member.node), member)
    if (event !== undefined) found.push({ event, member })
  }
  for (const member of before.values()) if (!after.has(member.node)) found.push({ event: "gone", member })
  return found
}

const nameOf = ({ name, node }: Member): string =>
  name === "" ? Output.short(node) : `${Output.harmless(Output.oneLine(name)).slice(0, 24)} (${Output.short(node)})`

/** A change as a line. */
export const line = ({ event, member }: Change): string => {
  const how =
    member.standing === "known" || event === "gone" ? "" : `  ${member.standing}, ${Output.harmless(member.address)}`
  const serves = member.capabilities.length === 0 ? "" : `  serves ${Output.harmless(member.capabilities.join(", "))}`
  return `${event.padEnd(12)}  ${nameOf(member)}${event === "gone" ? "" : `${how}${serves}`}`
}

/** A change for a program. */
export const json = ({ event, member }: Change, at: number): object => ({
  at: new Date(at).toISOString(),
  event,
  ...member
})

const branch: { readonly [S in Standing]: string } = { direct: "├──", relayed: "├╌╌", known: "╎  " }

/** Lines that the events at the bottom take, at most a third of the screen. */
const eventRows = (rows: number): number => Math.max(1, Math.min(8, Math.floor(rows / 3)))

/** The mesh as a tree with this node at its top and the latest events below, in as many rows and columns as there are. */
export const draw = (
  self: string,
  view: View,
  events: ReadonlyArray<string>,
  columns: number,
  rows: number
): ReadonlyArray<string> => {
  const members = [...view.values()].sort(
    (a, b) => order[a.standing] - order[b.standing] || (a.name < b.name ? -1 : 1) || (a.node < b.node ? -1 : 1)
  )
  const count = (standing: Standing): number => members.filter((each) => each.standing === standing).length
  const head = `${self}  ${count("direct")} direct, ${count("relayed")} relayed, ${count("known")} known`
  const shownEvents = events.slice(-eventRows(rows))
  const room = Math.max(1, rows - shownEvents.length - 4)
  const shown = members.length > room ? members.slice(0, room - 1) : members
  const body = Output.table(
    shown.map((each) => [
      `${branch[each.standing]} ${nameOf(each)}`,
      each.standing,
      Output.harmless(each.address),
      Output.harmless(each.capabilities.join(", "))
    ]),
    undefined,
    columns
  )
  return [
    head,
    ...(shown.length === 0 ? ["nobody is seen yet"] : body.split("\n")),
    ...(shown.length < members.length ? [`╎   … ${members.length - shown.length} more`] : []),
    "",
    ...shownEvents
  ]
    .slice(0, Math.max(1, rows - 1))
    .map((text) => Output.cut(text, columns))
}
