/**
 * A verdict that a third party can check offline: the question, the answers with their executors' receipts, and the
 * outcome, signed by who asked.
 *
 * What the receipts prove, because each executor signed it: this agent gave this output for this input, for this asker,
 * in this task. What the outcome is follows from the answers, and is computed again.
 *
 * What only the asker states, and its signature makes it stand by: whom it invited, what trust and scores they had, which
 * answers it left out, the order and latency of answers, and their quality. A certificate convinces as far as its asker is
 * believed in these; nobody else can change them.
 *
 * The signature covers `parley/certificate/1`, a line feed, and the RFC 8785 text of the certificate without `sig`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import { parseId } from "@parley/core/Capability"
import type { Identity } from "@parley/core/Identity"
import { NodeId } from "@parley/core/NodeId"
import * as Receipt from "@parley/core/Receipt"
import * as SignedBytes from "@parley/core/SignedBytes"
import {
  type Aggregation,
  Answer,
  Invited,
  Outcome,
  type Status,
  type Strategies,
  type StrategyError,
  type Verdict
} from "@parley/core/Strategy"
import { CertificateError, MAX_BYTES, MAX_INVITED } from "./CertificateError.ts"
import { canonicalText } from "./internal/Poll.ts"

export * from "./CertificateError.ts"

/** Longest name of a capability, selection or aggregation, in characters: a name, an `@` and a range fit twice. */
export const MAX_NAME_LENGTH = 512
/** Deepest nesting: that of any JSON taken from a peer, and the levels around a value in a certificate. */
export const MAX_DEPTH = CanonicalJson.MAX_DEPTH + 8

const Name = Schema.String.check(Schema.isMaxLength(MAX_NAME_LENGTH))

/** An answer with the executor's word for it. */
const Witnessed = Schema.Struct({ ...Answer.fields, receipt: Receipt.Receipt })

/** A verdict and what it rests on, as it travels. */
export const Certificate = Schema.Struct({
  v: Schema.Literal(1),
  /** Who asked, and signs. */
  asker: NodeId,
  /** Task id that is in every receipt. */
  task: Schema.String.check(Schema.isPattern(/^[0-9a-f]{32}$/)),
  /** What was asked for: `name` or `name@range`. */
  capability: Name,
  input: Schema.Json,
  selection: Name,
  /** Name of the aggregation, with its argument. */
  aggregation: Name,
  invited: Schema.Array(Invited).check(Schema.isMaxLength(MAX_INVITED)),
  /** In the order in which they came. */
  answers: Schema.Array(Witnessed).check(Schema.isMaxLength(MAX_INVITED)),
  outcome: Outcome,
  /** The asker's signature, base64url. */
  sig: SignedBytes.SignatureText
})
/** A verdict and what it rests on. */
export type Certificate = typeof Certificate.Type

/** What a certificate was found to prove. */
export interface Report {
  readonly asker: NodeId
  readonly task: string
  readonly capability: string
  readonly aggregation: string
  readonly status: Status
  readonly value: Schema.Json | undefined
  readonly confidence: number
  /** Receipts that hold, each of another agent. */
  readonly receipts: number
  readonly invited: number
  /** Agents behind the value. */
  readonly agreeing: number
  readonly rule: string
  /** In one line: `valid: 4 receipts of 4 distinct agents over the same input, threshold 3 of 5`. */
  readonly summary: string
}

type Unsigned = Omit<Certificate, "sig">

const signedBody = (certificate: Unsigned & { readonly sig?: string }): Uint8Array => {
  const { sig: _, ...body } = certificate
  return CanonicalJson.bytes(body)
}

const refused = (reason: CertificateError["reason"]): CertificateError => new CertificateError({ reason })

const malformed = (detail: string): CertificateError => refused({ _tag: "Malformed", detail })

/** The outcome as the aggregation counts these answers. */
const recount = (
  aggregation: Aggregation,
  invited: ReadonlyArray<Invited>,
  answers: ReadonlyArray<Answer>
): Outcome | CertificateError => {
  try {
    const tally = aggregation.tally(invited)
    for (const answer of answers) tally.answer(answer)
    return tally.outcome()
  } catch (cause) {
    return refused({ _tag: "NotCountable", aggregation: aggregation.name, detail: String(cause).slice(0, 300) })
  }
}

const outcomeFields = ["status", "value", "rule", "confidence", "votes", "dissent"] as const

const same = (a: Schema.Json | undefined, b: Schema.Json | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && canonicalText(a) === canonicalText(b))

const shown = (value: unknown): string => (value === undefined ? "none" : JSON.stringify(value).slice(0, 200))

/** The first part in which a stated outcome differs from the one that follows. */
const difference = (
  stated: Outcome,
  counted: Outcome,
  fields: ReadonlyArray<(typeof outcomeFields)[number]>
): CertificateError | undefined => {
  for (const field of fields) {
    if (!same(stated[field], counted[field])) {
      return refused({
        _tag: "WrongOutcome",
        field,
        stated: shown(stated[field]),
        counted: shown(counted[field])
      })
    }
  }
  return undefined
}

/**
 * The certificate of a verdict, signed by who asked.
 *
 * Only answers with a receipt are in it. Where some have none, the outcome is counted again without them by
 * `aggregation` (the one that made the verdict), and must come to the same status and value; without an aggregation a
 * missing receipt is refused. What `verify` would refuse in the receipts is refused here too.
 */
export const make = (
  identity: Identity["Service"],
  verdict: Omit<Verdict, "value" | "dissent" | "failures">,
  options: { readonly aggregation?: Aggregation } = {}
): Certificate | CertificateError => {
  const { aggregation, capability, input, invited, outcome: stated, selection, task } = verdict
  const answers: Array<Certificate["answers"][number]> = []
  for (const { receipt, ...answer } of verdict.answers) {
    if (receipt !== undefined) answers.push({ ...answer, receipt })
    else if (options.aggregation === undefined) return refused({ _tag: "NoReceipt", node: answer.node })
  }
  let outcome = stated
  if (answers.length < verdict.answers.length && options.aggregation !== undefined) {
    const counted = recount(options.aggregation, invited, answers)
    if (counted instanceof CertificateError) return counted
    const changed = difference(stated, counted, ["status", "value"])
    if (changed !== undefined) return changed
    outcome = counted
  }
  const body: Unsigned = {
    v: 1,
    asker: identity.nodeId,
    task,
    capability,
    input,
    selection,
    aggregation,
    invited,
    answers,
    outcome
  }
  let sig: string
  try {
    sig = SignedBytes.sign(identity, "certificate", signedBody(body))
  } catch (cause) {
    return malformed(cause instanceof Error ? cause.message : String(cause))
  }
  // As everyone else will read it: what JSON leaves out is left out here.
  const certificate = decode(JSON.stringify({ ...body, sig }))
  return certificate instanceof CertificateError ? certificate : (checkWitnesses(certificate) ?? certificate)
}

const isCertificate = Schema.is(Certificate)
const describe = Schema.decodeUnknownResult(Certificate)

/**
 * Reads a certificate: JSON text, its UTF-8, or a parsed value. Checks its size, depth and shape, and not what it says.
 *
 * Members that this version does not know are kept; the asker's signature covers them.
 */
export const decode = (input: unknown): Certificate | CertificateError => {
  let value = input
  if (typeof input === "string" || input instanceof Uint8Array) {
    const parsed = CanonicalJson.parse(input, { maxBytes: MAX_BYTES, maxDepth: MAX_DEPTH })
    if (parsed._tag === "Failure") {
      const { reason } = parsed.failure
      return reason._tag === "TooLarge"
        ? refused({ _tag: "TooLarge", bytes: reason.bytes })
        : malformed(parsed.failure.message)
    }
    value = parsed.success
  } else if (!CanonicalJson.isWithinDepth(value, MAX_DEPTH))
    return malformed(`it is nested deeper than ${MAX_DEPTH} levels`)
  if (typeof value !== "object" || value === null) return malformed("it is not a JSON object")
  const { answers, invited, v } = value as { readonly [key: string]: unknown }
  if (v !== 1) return refused({ _tag: "UnknownVersion", version: shown(v).slice(0, 32) })
  for (const list of [answers, invited]) {
    if (Array.isArray(list) && list.length > MAX_INVITED) return malformed(`more than ${MAX_INVITED} agents`)
  }
  if (isCertificate(value)) return value
  const result = describe(value)
  return malformed(
    result._tag === "Failure"
      ? result.failure.message.replaceAll(/\s*\n\s*/g, " ").slice(0, 300)
      : "it has another shape"
  )
}

/** Whether a capability that answered is one of those asked for. Ranges of versions are the asker's statement. */
const isAskedFor = (asked: string, answered: string): boolean => {
  const { name } = parseId(asked)
  if (!/^[a-z0-9][a-z0-9._-]*\*?$/.test(name)) return true
  const actual = parseId(answered).name
  return name.endsWith("*") ? actual.startsWith(name.slice(0, -1)) : actual === name
}

/** Everything that can be wrong with the agents, their answers and their receipts. */
const checkWitnesses = (certificate: Certificate): CertificateError | undefined => {
  const { answers, asker, capability, input, invited, task } = certificate
  const places = new Set<NodeId>()
  for (const { node } of invited) {
    if (places.has(node)) return refused({ _tag: "InvitedTwice", node })
    places.add(node)
  }
  const inputHash = CanonicalJson.hash(input)
  const answered = new Set<NodeId>()
  for (const answer of answers) {
    const { node } = answer
    if (!places.has(node)) return refused({ _tag: "NotInvited", node })
    if (answered.has(node)) return refused({ _tag: "AnsweredTwice", node })
    answered.add(node)
    const expected = {
      task,
      capability: answer.capability,
      executor: node,
      caller: asker,
      inputHash,
      outputHash: CanonicalJson.hash(answer.value)
    }
    const verdict = Receipt.verify(answer.receipt, expected)
    if (verdict !== true) {
      const { reason } = verdict
      switch (reason._tag) {
        case "Mismatch":
          return refused({ ...reason, _tag: "WrongReceipt", node })
        case "BadSignature":
          return refused({ _tag: "BadReceiptSignature", node })
        case "Malformed":
          return malformed(`the receipt of ${node}: ${reason.detail}`)
      }
    }
    if (!isAskedFor(capability, answer.capability)) {
      return refused({ _tag: "WrongCapability", node, expected: capability, actual: answer.capability })
    }
  }
  return undefined
}

const report = (certificate: Certificate): Report => {
  const { aggregation, answers, asker, capability, invited, outcome, task } = certificate
  const { confidence, dissent, rule, status, value } = outcome
  const plural = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`
  const counts = `${plural(answers.length, "receipt")} of ${plural(answers.length, "distinct agent")} over the same input`
  const threshold = /^\d+ of \d+$/.test(rule) ? `threshold ${rule}` : `rule: ${rule}`
  return {
    asker,
    task,
    capability,
    aggregation,
    status,
    value,
    confidence,
    receipts: answers.length,
    invited: invited.length,
    agreeing: status === "reached" ? answers.length - dissent.length : 0,
    rule,
    summary: `valid: ${counts}, ${threshold}${status === "reached" ? "" : `; ${status}`}`
  }
}

const checked = (certificate: unknown): Effect.Effect<Certificate, CertificateError> =>
  Effect.suspend(() => {
    const decoded = decode(certificate)
    if (decoded instanceof CertificateError) return Effect.fail(decoded)
    try {
      const problem = checkWitnesses(decoded)
      return problem === undefined ? Effect.succeed(decoded) : Effect.fail(problem)
    } catch (cause) {
      // A text with half a surrogate pair has no canonical form, so no receipt can be for it.
      return Effect.fail(malformed(cause instanceof Error ? cause.message : String(cause)))
    }
  })

const isSigned = (certificate: Certificate): boolean => {
  try {
    return SignedBytes.verify(certificate.asker, "certificate", signedBody(certificate), certificate.sig)
  } catch {
    return false
  }
}

const notCountable = ({ detail, strategy }: StrategyError) =>
  refused({ _tag: "NotCountable", aggregation: strategy, detail })

/**
 * Checks a certificate, text or value, with nothing but itself and the aggregations that `strategies` knows.
 *
 * In this order, and the first thing wrong is the error: size, depth and shape; no agent invited or answering twice, none
 * answering uninvited; each receipt is for this task, capability, executor, asker, input and output, and signed; the named
 * aggregation comes to the same outcome over the same answers; the asker's signature.
 */
export const verify = (
  certificate: unknown,
  strategies: Strategies["Service"]
): Effect.Effect<Report, CertificateError> =>
  Effect.gen(function* () {
    const checkedCertificate = yield* checked(certificate)
    const { answers, input, invited, outcome } = checkedCertificate
    const aggregation = yield* Effect.mapError(strategies.aggregation(checkedCertificate.aggregation), notCountable)
    const { prepare } = aggregation
    const prepared =
      prepare === undefined
        ? answers
        : yield* Effect.mapError(
            Effect.forEach(answers, (answer) => prepare(answer, input)),
            notCountable
          )
    const counted = recount(aggregation, invited, prepared)
    if (counted instanceof CertificateError) return yield* counted
    const changed = difference(outcome, counted, outcomeFields)
    if (changed !== undefined) return yield* changed
    if (!isSigned(checkedCertificate)) {
      return yield* refused({ _tag: "BadAskerSignature", asker: checkedCertificate.asker })
    }
    return report(checkedCertificate)
  })
