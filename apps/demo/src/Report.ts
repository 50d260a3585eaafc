/** What the demo came to: one line of JSON, and the list of what did not happen. */
import type { NodeId } from "@parley/core/NodeId"
import type { Verdict } from "@parley/core/Strategy"
import { type Role, SLOW_MS } from "./Cast.ts"
import type { Task } from "./Chronicle.ts"
import type { Description } from "./Describe.ts"

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
  readonly nameOf: (node: NodeId) => string
}

const liarsOf = ({ verdict }: Report): ReadonlyArray<NodeId> =>
  verdict.status !== "reached" ? [] : verdict.dissent.filter(({ _tag }) => _tag === "Different").map(({ node }) => node)

/** The last line with `--json`. */
export const toJson = (report: Report): string => {
  const { agents, certified, first, nameOf, second, verdict } = report
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
    liars: liarsOf(report).map(nameOf)
  })
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
    [answeredAgain, "nobody answered the call after the kill"]
  ]
  return happened.filter(([done]) => !done).map(([, what]) => what)
}
