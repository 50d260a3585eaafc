/**
 * A statement: what a registry concluded about an agent, signed, so that the agent can show it to others offline.
 *
 * It names the evidence it rests on by the head of the evidence chain: who holds a statement holds a hash over every report of
 * that registry up to then, and `Audit` finds out later whether one of them was changed. It names the seeds and the link after
 * which reviewers' weights were settled, so that anybody can compute the same standings from the chain.
 *
 * The signature covers `parley/statement/1`, a line feed, and the RFC 8785 text of the statement without `sig`. It convinces as
 * far as the registry is believed; nobody else can change it.
 */
import * as Schema from "effect/Schema"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { Identity } from "@parley/core/Identity"
import { NodeId } from "@parley/core/NodeId"
import * as SignedBytes from "@parley/core/SignedBytes"
import { Head } from "./Chain.ts"
import { AgentId, MAX_ID_LENGTH, MAX_LIST, Standing } from "./Model.ts"
import { MAX_SEEDS, type ReputationModel } from "./ReputationModel.ts"

/** Longest statement read from text, in bytes: 64 capabilities of the longest names several times. */
export const MAX_BYTES = 65_536
/** How long a statement holds where nothing else is said, in milliseconds (a day), and at most (30 days: a half-life). */
export const DEFAULT_LIFETIME_MS = 86_400_000
export const MAX_LIFETIME_MS = 30 * 86_400_000
/** How far clocks may differ, in milliseconds: five minutes, as for agent records. */
export const CLOCK_SKEW_MS = 300_000

/** A signed statement as it travels. */
export const Statement = Schema.Struct({
  v: Schema.Literal(1),
  /** The registry that says so, and signs. */
  registry: NodeId,
  agent: AgentId,
  /** Overall first; of the capabilities, the 64 with most evidence, by name. */
  standings: Schema.Array(Standing).check(Schema.isMinLength(1), Schema.isMaxLength(MAX_LIST + 1)),
  /** The last link of the evidence chain that was taken into account. */
  chain: Head,
  /** The link after which reviewers' weights were settled. */
  settled: Schema.Natural,
  /** Identities that were trusted beforehand; none: the first ones that showed a receipt. */
  seeds: Schema.Array(Schema.String.check(Schema.isMaxLength(MAX_ID_LENGTH))).check(Schema.isMaxLength(MAX_SEEDS)),
  /** Milliseconds since 1970 on the registry's clock. */
  issuedAt: Schema.Natural,
  /** Milliseconds since 1970; at most `MAX_LIFETIME_MS` after `issuedAt`. */
  expiresAt: Schema.Natural,
  /** The registry's signature, base64url. */
  sig: SignedBytes.SignatureText
})
/** A signed statement. */
export type Statement = typeof Statement.Type

/** The statement is not one. */
export class Malformed extends Schema.TaggedClass<Malformed>()("Malformed", { detail: Schema.String }) {}
/** The signature is not the registry's over these fields. */
export class BadSignature extends Schema.TaggedClass<BadSignature>()("BadSignature", { registry: NodeId }) {}
/** Its time is over, or has not come. */
export class OutOfTime extends Schema.TaggedClass<OutOfTime>()("OutOfTime", {
  issuedAt: Schema.Natural,
  expiresAt: Schema.Natural,
  now: Schema.Finite
}) {}
/** It is a true statement, but of another registry or about another agent. */
export class Mismatch extends Schema.TaggedClass<Mismatch>()("Mismatch", {
  field: Schema.Literals(["registry", "agent"]),
  expected: Schema.String,
  actual: Schema.String
}) {}

/** Why a statement does not count. */
export class StatementRefused extends Schema.TaggedError<StatementRefused>()("StatementRefused", {
  reason: Schema.Union([Malformed, BadSignature, OutOfTime, Mismatch])
}) {
  override get message() {
    const { reason } = this
    switch (reason._tag) {
      case "Malformed":
        return `Not a statement: ${reason.detail}`
      case "BadSignature":
        return `The statement is not signed by ${reason.registry}: it says nothing`
      case "OutOfTime":
        return reason.now > reason.expiresAt
          ? `The statement expired at ${new Date(reason.expiresAt).toISOString()}: ask the agent for a newer one`
          : `The statement was issued at ${new Date(reason.issuedAt).toISOString()}, which is still to come: check both clocks`
      case "Mismatch":
        return `The statement is of another ${reason.field}: expected ${reason.expected}, it says ${reason.actual}`
    }
  }
}

const isStatement = Schema.is(Statement)
const describe = Schema.decodeUnknownResult(Statement)
const refused = (reason: StatementRefused["reason"]): StatementRefused => new StatementRefused({ reason })

const signedBody = (statement: Omit<Statement, "sig"> & { readonly sig?: string }): Uint8Array => {
  const { sig: _, ...body } = statement
  return CanonicalJson.bytes(body)
}

/** What a statement is made of. */
export interface Fields {
  readonly agent: string
  /** The chain's head: of exactly those reports that the reputation has taken in. */
  readonly head: Head
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly lifetimeMs?: number
}

/** Signs what a reputation says of an agent. Throws a `RangeError` where the head is not that of the reputation's reports. */
export const make = (identity: Identity["Service"], reputation: ReputationModel, fields: Fields): Statement => {
  const { agent, head, lifetimeMs = DEFAULT_LIFETIME_MS, now } = fields
  if (head.seq !== reputation.reports()) {
    throw new RangeError(
      `the chain has ${head.seq} links, and the reputation has taken in ${reputation.reports()} reports`
    )
  }
  const body = {
    v: 1 as const,
    registry: identity.nodeId,
    agent,
    standings: shown(reputation, agent, now),
    chain: { seq: head.seq, hash: head.hash },
    settled: reputation.settled(),
    seeds: reputation.configuredSeeds(),
    issuedAt: now,
    expiresAt: now + Math.min(lifetimeMs, MAX_LIFETIME_MS)
  }
  return { ...body, sig: SignedBytes.sign(identity, "statement", signedBody(body)) }
}

/** An agent's standings as a statement shows them: overall, and the capabilities with most evidence by name. */
export const shown = (reputation: ReputationModel, agent: string, now: number): ReadonlyArray<Standing> => {
  const [overall, ...named] = reputation.standings(agent, now)
  const most = [...named].sort((a, b) => b.weight - a.weight).slice(0, MAX_LIST)
  return [overall!, ...named.filter((each) => most.includes(each))]
}

/** What a statement must be. */
export interface Expected {
  /** Milliseconds since the epoch; without it time does not matter, as when old statements are audited. */
  readonly now?: number
  /** The registry that is believed. Without it any registry's statement verifies: then say whose it is. */
  readonly registry?: NodeId
  readonly agent?: string
}

/** Whether a statement holds: its shape, its registry's signature, its time, and what is expected. Needs nothing but the statement. */
export const verify = (value: unknown, expected: Expected = {}): Statement | StatementRefused => {
  if (!CanonicalJson.isWithinDepth(value)) {
    return refused(new Malformed({ detail: `nested deeper than ${CanonicalJson.MAX_DEPTH} levels` }))
  }
  if (!isStatement(value)) {
    const result = describe(value)
    const detail = result._tag === "Failure" ? String(result.failure).slice(0, 300) : "it has another shape"
    return refused(new Malformed({ detail }))
  }
  const { agent, expiresAt, issuedAt, registry } = value
  if (expiresAt < issuedAt || expiresAt - issuedAt > MAX_LIFETIME_MS) {
    return refused(
      new Malformed({ detail: `it holds for ${expiresAt - issuedAt} ms; from 0 to ${MAX_LIFETIME_MS} may be` })
    )
  }
  for (const [field, actual] of [["registry", registry] as const, ["agent", agent] as const]) {
    const wanted = expected[field]
    if (wanted !== undefined && wanted !== actual) return refused(new Mismatch({ field, expected: wanted, actual }))
  }
  let body: Uint8Array
  try {
    body = signedBody(value)
  } catch (cause) {
    return refused(new Malformed({ detail: cause instanceof Error ? cause.message : String(cause) }))
  }
  if (body.length > MAX_BYTES) return refused(new Malformed({ detail: `more than ${MAX_BYTES} bytes` }))
  if (!SignedBytes.verify(registry, "statement", body, value.sig)) return refused(new BadSignature({ registry }))
  const { now } = expected
  if (now !== undefined && (now > expiresAt || now < issuedAt - CLOCK_SKEW_MS)) {
    return refused(new OutOfTime({ issuedAt, expiresAt, now }))
  }
  return value
}

/** Reads and verifies a statement from JSON text or its UTF-8. */
export const decode = (text: string | Uint8Array, expected: Expected = {}): Statement | StatementRefused => {
  const parsed = CanonicalJson.parse(text, { maxBytes: MAX_BYTES })
  return parsed._tag === "Failure"
    ? refused(new Malformed({ detail: parsed.failure.message }))
    : verify(parsed.success, expected)
}
