/** What the demo came to: one line of JSON, and the list of what did not happen. */
import type { NodeId } from "@parley/core/NodeId"
import type { Verdict } from "@parley/core/Strategy"
import { type Role, SLOW_MS } from "./Cast.ts"
import type { Task } from "./Chronicle.ts"
import type { Description } from "./Describe.ts"
import type { Seen } from "./Page.ts"

/** All that happened. */
export interface Report {
  /** Agents found, each in a process of its own; the requester is not among them. */
  readonly agents: number
  /** Capabilities that the plain words matched. */
  readonly matched: number
  readonly verdict: Verdict<Description>
  readonly certified: boolean
  /** The task that all were asked, and the call after the kill. */
  readonly first: Task
  readonly second: Task
  readonly answeredAgain: boolean
  /** Who plays which role. */
  readonly roles: { readonly [role in Role]: NodeId | undefined }
  /** Agents that serve something else. */
  readonly strangers: ReadonlyArray<NodeId>
  /** What the registry has seen, where there is one. */
  readonly seen: Seen | undefined
  readonly nameOf: (node: NodeId) => string
}

const liarsOf = ({ verdict }: Report): ReadonlyArray<NodeId> =>
  verdict.status !== "reached" ? [] : verdict.dissent.filter(({ _tag }) => _tag === "Different").map(({ node }) => node)

const named = ({ standings }: Seen, nameOf: Report["nameOf"]) =>
  standings.map(({ node, ...rest }) => ({ name: nameOf(node), ...rest }))

/** The last line with `--json`. */
export const toJson = (report: Report): string => {
  const { agents, certified, first, nameOf, second, seen, verdict } = report
  const { aggregation, answers, confidence, invited, rule, status, value } = verdict
  return JSON.stringify({
    verdict: {
      status,
      ...(value === undefined ? {} : { value }),
      confidence,
      rule,
      aggregation,
      invited: invited.length,
      answered: answers.length
    },
    certificateVerified: certified,
    agents,
    relayed: first.relayed.length + second.relayed.length,
    countered: first.countered.length + second.countered.length,
    failovers: first.failovers.length + second.failovers.length,
    liars: liarsOf(report).map(nameOf),
    ...(seen === undefined ? {} : { registry: { ...seen, standings: named(seen, nameOf) } })
  })
}

const unseen = ({ roles: { liar }, seen, verdict }: Report): ReadonlyArray<readonly [boolean, string]> => {
  if (seen === undefined) return []
  const scores = (node: NodeId) => seen.standings.find((standing) => standing.node === node)
  const honest = (verdict.votes[0]?.nodes ?? []).map((node) => scores(node)?.score ?? 0)
  const lied = liar === undefined ? undefined : scores(liar)
  return [
    [
      seen.online >= 7,
      `eight agents but for the killed one were to be online at the registry, and ${seen.online} were`
    ],
    [seen.traces > 0, "the registry has heard nothing of the tasks"],
    [seen.published, "the verdict was not published with its certificate"],
    [
      lied !== undefined && lied.attested > 0 && honest.every((score) => score > lied.score),
      "the registry does not trust the liar less than those who agreed, for an attested report"
    ]
  ]
}

/** What should have happened and did not, in words. Empty: all of it did. */
export const missing = (report: Report): ReadonlyArray<string> => {
  const { agents, answeredAgain, certified, first, matched, roles: players, second, strangers, verdict } = report
  const { full, killed, liar, relayed, slow } = players
  const liars = liarsOf(report)
  const behind = verdict.votes[0]?.nodes ?? []
  const is = (node: NodeId | undefined, nodes: ReadonlyArray<NodeId>): boolean =>
    node !== undefined && nodes.includes(node)
  const happened: ReadonlyArray<readonly [boolean, string]> = [
    [agents === 7, `seven agents were to be found, and ${agents} were`],
    [matched > 0, "no capability matched the plain words"],
    [verdict.status === "reached", `no verdict was reached: it is ${verdict.status}`],
    [
      strangers.every((node) => !verdict.invited.some((invited) => invited.node === node)),
      "an agent was asked that serves another capability or major version"
    ],
    [
      liars.length === 1 && is(liar, liars) && !is(liar, behind),
      "nobody was outvoted as the one liar: either nobody lied, or the lie was not told from the truth"
    ],
    [certified, "no certificate was made, verified, and told from a forged one"],
    [is(relayed, first.relayed), "no agent was reached through the relay"],
    [is(full, first.countered), "no agent that was full countered, was waited for and then answered"],
    [
      slow !== undefined && ((first.answered.get(slow) ?? 0) >= SLOW_MS || first.cancelled.has(slow)),
      `no slow agent (${SLOW_MS} ms) answered late but in time, or was cancelled when the verdict stood without it`
    ],
    [
      is(killed, second.failovers) && second.failed[0]?.peer === killed,
      "no killed agent was tried first, so that the call went on to the next"
    ],
    [answeredAgain, "nobody answered the call after the kill"],
    ...unseen(report)
  ]
  return happened.filter(([done]) => !done).map(([, what]) => what)
}
