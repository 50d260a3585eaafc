/**
 * Audit: whether a registry's evidence chain is what it was, and whether what the registry concluded follows from it.
 *
 * Of each link it checks that its hash follows from the one before and the report; that a receipt is signed by the agent, for this
 * task, capability and reviewer; that nobody reviewed itself, nor a task twice. Of each statement that was handed out before it
 * checks the signature, that its link of the chain still has the hash it names, and that its standings come out of the reports
 * again, to the bit. Of each head that was seen before it checks that it still stands.
 *
 * A registry that rewrites its history has to give other hashes from the first changed link on. Whoever kept a statement or a head
 * from behind that link finds out, and where: after the last kept hash that holds, up to the first that does not.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { parseId } from "@parley/core/Capability"
import type { NodeId } from "@parley/core/NodeId"
import * as Receipt from "@parley/core/Receipt"
import * as Chain from "./Chain.ts"
import type { Report } from "./Event.ts"
import type { Standing } from "./Model.ts"
import * as ReputationModel from "./ReputationModel.ts"
import * as Statement from "./Statement.ts"

/** Most findings that are listed; more are counted. */
export const MAX_FINDINGS = 100
/** Most statements that one audit compares. */
export const MAX_STATEMENTS = 1_000

/** Something is wrong. `seq` is the link at which it shows. */
export type Finding =
  /** Links are missing, or in another order. */
  | { readonly _tag: "Gap"; readonly seq: number; readonly found: number }
  /** The hash does not follow from the link before and the report: one of the two was changed. */
  | { readonly _tag: "Broken"; readonly seq: number; readonly stated: string; readonly computed: string }
  /** The receipt is not the agent's word for this task. */
  | { readonly _tag: "BadReceipt"; readonly seq: number; readonly detail: string }
  | { readonly _tag: "SelfReview"; readonly seq: number; readonly agent: string }
  | { readonly _tag: "SecondReview"; readonly seq: number; readonly first: number; readonly task: string }
  /** A hash that was seen before is another one now: a link after `after`, the last one that holds, up to `seq` was changed. */
  | {
      readonly _tag: "Rewritten"
      readonly seq: number
      readonly after: number
      readonly seen: string
      readonly now: string
    }
  /** A link that was seen before is no longer there. */
  | { readonly _tag: "Shortened"; readonly seq: number; readonly last: number }
  /** A statement is none of this registry. */
  | { readonly _tag: "BadStatement"; readonly seq: number; readonly detail: string }
  /** A statement says what does not follow from the reports up to its link. */
  | {
      readonly _tag: "WrongStanding"
      readonly seq: number
      readonly agent: string
      readonly capability: string | null
      readonly field: string
      readonly stated: number | string
      readonly computed: number | string
    }

/** What an audit found. */
export interface Result {
  readonly ok: boolean
  /** The chain's head as computed from its reports: keep it for the next audit. */
  readonly head: Chain.Head
  readonly reports: number
  /** Reports with a receipt that holds. */
  readonly attested: number
  /** Agents that reports are about, and who reported. */
  readonly agents: number
  readonly reviewers: number
  /** Statements whose standings were computed again. */
  readonly statements: number
  /** Hashes seen before that still stand. */
  readonly seen: number
  /** The first `MAX_FINDINGS`, in the order of the chain. */
  readonly findings: ReadonlyArray<Finding>
  /** How many there are in all. */
  readonly found: number
}

/** What a chain is compared with. */
export interface Against {
  /** The registry whose statements these are; else that of the first statement. */
  readonly registry?: NodeId
  /** Statements handed out before, as they were read; each is verified. */
  readonly statements?: ReadonlyArray<unknown>
  /** Heads seen before. */
  readonly heads?: ReadonlyArray<Chain.Head>
}

/** One sentence for people. */
export const describe = (finding: Finding): string => {
  switch (finding._tag) {
    case "Gap":
      return `link ${finding.seq} is missing: the next one is ${finding.found}`
    case "Broken":
      return `link ${finding.seq}: its hash does not follow from the report and the link before; one of them was changed`
    case "BadReceipt":
      return `link ${finding.seq}: ${finding.detail}`
    case "SelfReview":
      return `link ${finding.seq}: ${finding.agent} reports on itself`
    case "SecondReview":
      return `link ${finding.seq}: a second review of task ${finding.task}; the first is link ${finding.first}`
    case "Rewritten":
      return `history was rewritten: link ${finding.seq} had the hash ${finding.seen}, now it is ${finding.now}; the change lies after link ${finding.after}`
    case "Shortened":
      return `history was cut: link ${finding.seq} was seen before, and the chain now ends at ${finding.last}`
    case "BadStatement":
      return `a statement does not count: ${finding.detail}`
    case "WrongStanding":
      return `the statement about ${finding.agent} at link ${finding.seq} says ${finding.field} ${finding.stated}${
        finding.capability === null ? "" : ` in ${finding.capability}`
      }; the reports come to ${finding.computed}`
  }
}

/** What is wrong with a report's receipt, if it has one. */
const receiptFault = ({ agent, capability, receipt, reviewer, task }: Report): string | undefined => {
  if (receipt === undefined) return undefined
  const verdict = Receipt.verify(receipt)
  if (verdict !== true) return verdict.message
  const of = parseId(receipt.capability).name
  if (receipt.executor !== agent) return `the receipt is of ${receipt.executor}, the report about ${agent}`
  if (receipt.caller !== reviewer) return `the receipt is for ${receipt.caller}, the report by ${reviewer}`
  if (receipt.task !== task) return `the receipt is for task ${receipt.task}, the report about ${task}`
  if (of !== capability) return `the receipt is for ${of}, the report about ${capability}`
  return undefined
}

/** A replay of the chain with the seeds that statements name, and what weights they need. */
interface Replay {
  readonly model: ReputationModel.ReputationModel
  /** By link: weights to be settled there, and what puts them into effect. */
  readonly settling: Map<number, (() => void) | undefined>
}

/** Takes a chain link by link. */
export class Auditor {
  readonly #findings: Array<Finding> = []
  #found = 0
  #head = Chain.START
  #attested = 0
  #checked = 0
  #held = 0
  #lastHeld = 0
  readonly #agents = new Set<string>()
  readonly #reviewers = new Set<string>()
  readonly #reviewed = new Map<string, number>()
  /** By link: hashes seen before, and statements. */
  readonly #seen = new Map<number, Set<string>>()
  readonly #statements = new Map<number, Array<Statement.Statement>>()
  readonly #replays = new Map<string, Replay>()
  #lastSeen = 0

  constructor({ heads = [], registry, statements = [] }: Against = {}) {
    let signer = registry
    for (const value of statements.slice(0, MAX_STATEMENTS)) {
      const statement = Statement.verify(value, signer === undefined ? {} : { registry: signer })
      if (statement instanceof Statement.StatementRefused) {
        this.#find({ _tag: "BadStatement", seq: 0, detail: statement.message })
        continue
      }
      signer ??= statement.registry
      this.#expect(statement)
    }
    for (const { hash, seq } of heads) if (seq > 0) this.#saw(seq, hash)
    this.#arrive()
  }

  /** The next link, in order. */
  take(link: Chain.Link): void {
    const { report, seq } = link
    const expected = this.#head.seq + 1
    if (seq !== expected) this.#find({ _tag: "Gap", seq: expected, found: seq })
    const follows = Chain.next({ seq: seq - 1, hash: this.#head.hash }, report)
    if (follows.hash !== link.hash) {
      this.#find({ _tag: "Broken", seq, stated: link.hash, computed: follows.hash })
    }
    // What is stated goes on, so that one changed link is found once and not at every later one.
    this.#head = { seq, hash: link.hash }
    this.#look(report, seq)
    for (const { model } of this.#replays.values()) model.apply(report, link.at)
    this.#arrive()
  }

  /** The chain is over. */
  end(): Result {
    const { seq } = this.#head
    if (this.#lastSeen > seq) this.#find({ _tag: "Shortened", seq: this.#lastSeen, last: seq })
    return {
      ok: this.#found === 0,
      head: this.#head,
      reports: seq,
      attested: this.#attested,
      agents: this.#agents.size,
      reviewers: this.#reviewers.size,
      statements: this.#checked,
      seen: this.#held,
      findings: this.#findings,
      found: this.#found
    }
  }

  #find(finding: Finding): void {
    this.#found += 1
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding)
  }

  #saw(seq: number, hash: string): void {
    const seen = this.#seen.get(seq)
    if (seen === undefined) this.#seen.set(seq, new Set([hash]))
    else seen.add(hash)
    this.#lastSeen = Math.max(this.#lastSeen, seq)
  }

  #expect(statement: Statement.Statement): void {
    const { chain, seeds, settled } = statement
    if (settled > chain.seq) {
      this.#find({ _tag: "BadStatement", seq: chain.seq, detail: "its weights are settled after its last link" })
      return
    }
    if (chain.seq > 0) this.#saw(chain.seq, chain.hash)
    const at = this.#statements.get(chain.seq)
    if (at === undefined) this.#statements.set(chain.seq, [statement])
    else at.push(statement)
    const key = JSON.stringify(seeds)
    const replay = this.#replays.get(key) ?? { model: ReputationModel.make({ seeds }), settling: new Map() }
    this.#replays.set(key, replay)
    replay.settling.set(settled, undefined)
  }

  /** What is due at the link that was reached. */
  #arrive(): void {
    const { hash, seq } = this.#head
    for (const { model, settling } of this.#replays.values()) {
      if (settling.has(seq)) settling.set(seq, model.prepare())
    }
    const seen = this.#seen.get(seq)
    if (seen !== undefined) {
      for (const each of seen) {
        if (each === hash) this.#held += 1
        else this.#find({ _tag: "Rewritten", seq, after: this.#lastHeld, seen: each, now: hash })
      }
      if (seen.has(hash) && seen.size === 1) this.#lastHeld = seq
    }
    for (const statement of this.#statements.get(seq) ?? []) {
      if (statement.chain.hash === hash) this.#compare(statement)
    }
  }

  #look(report: Report, seq: number): void {
    const { agent, receipt, reviewer, task } = report
    this.#agents.add(agent)
    this.#reviewers.add(reviewer)
    const fault = receiptFault(report)
    if (fault !== undefined) this.#find({ _tag: "BadReceipt", seq, detail: fault })
    else if (receipt !== undefined) this.#attested += 1
    if (reviewer === agent) this.#find({ _tag: "SelfReview", seq, agent })
    if (reviewer === "") return
    const key = `${reviewer}\n${agent}\n${task}`
    const first = this.#reviewed.get(key)
    if (first === undefined) this.#reviewed.set(key, seq)
    else this.#find({ _tag: "SecondReview", seq, first, task })
  }

  #compare(statement: Statement.Statement): void {
    const { agent, chain, issuedAt, seeds, settled } = statement
    const { model, settling } = this.#replays.get(JSON.stringify(seeds))!
    settling.get(settled)?.()
    const computed = Statement.shown(model, agent, issuedAt)
    this.#checked += 1
    const wrong = (capability: string | null, field: string, stated: number | string, now: number | string) =>
      this.#find({ _tag: "WrongStanding", seq: chain.seq, agent, capability, field, stated, computed: now })
    if (computed.length !== statement.standings.length) {
      return wrong(null, "capabilities", statement.standings.length - 1, computed.length - 1)
    }
    for (const [i, stated] of statement.standings.entries()) {
      const now = computed[i]!
      if (stated.capability !== now.capability) {
        return wrong(stated.capability, "capability", stated.capability ?? "overall", now.capability ?? "overall")
      }
      for (const field of fields)
        if (stated[field] !== now[field]) wrong(stated.capability, field, stated[field], now[field])
    }
  }
}

const fields = ["score", "low", "high", "reports", "attested", "weight", "ema"] as const satisfies ReadonlyArray<
  keyof Standing
>

/** Audits a chain from its first link to its last. */
export const run = <E, R>(links: Stream.Stream<Chain.Link, E, R>, against: Against = {}): Effect.Effect<Result, E, R> =>
  Effect.suspend(() => {
    const auditor = new Auditor(against)
    return Effect.map(
      Stream.runForEach(links, (link) => Effect.sync(() => auditor.take(link))),
      () => auditor.end()
    )
  })
