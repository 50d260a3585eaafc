import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Identity from "@parley/core/Identity"
import * as Receipt from "@parley/core/Receipt"
import * as SignedBytes from "@parley/core/SignedBytes"
import type { Aggregation as AnAggregation, Answer, Verdict } from "@parley/core/Strategy"
import { fromSeed } from "@parley/core/testing/Seeded"
import * as Aggregation from "../src/Aggregation.ts"
import * as Certificate from "../src/Certificate.ts"
import * as Consensus from "../src/Consensus.ts"

const identity = (number: number) => Identity.fromSeed(new Uint8Array(32).fill(number))
const asker = identity(100)
const agents = [1, 2, 3, 4, 5, 6].map(identity)
const task = "0123456789abcdef0123456789abcdef"
const input = { table: "a,b\n1,2" }

const answerOf = (
  agent: Identity.Identity["Service"],
  value: Schema.Json,
  fields: Partial<Receipt.Fields> = {}
): Answer => ({
  node: agent.nodeId,
  capability: "csv.describe@1.2.0",
  value,
  latencyMs: 12,
  receipt: Receipt.make(agent, {
    task,
    capability: "csv.describe@1.2.0",
    caller: asker.nodeId,
    inputHash: CanonicalJson.hash(input),
    outputHash: CanonicalJson.hash(value),
    startedAt: 1_000,
    finishedAt: 1_012,
    ...fields
  })
})

/** What a node would conclude from these answers of five agents invited. */
const verdictOf = (answers: ReadonlyArray<Answer>, aggregation: AnAggregation = Aggregation.majorityVote): Verdict => {
  const invited = agents.slice(0, 5).map(({ nodeId }, i) => ({ node: nodeId, trust: 0.5 + i / 100, score: 0.9 }))
  const tally = aggregation.tally(invited)
  for (const answer of answers) tally.answer(answer)
  const outcome = tally.outcome()
  return {
    status: outcome.status,
    value: outcome.value,
    confidence: outcome.confidence,
    rule: outcome.rule,
    votes: outcome.votes,
    dissent: [],
    selection: "top-5",
    aggregation: aggregation.name,
    capability: "csv.describe@^1",
    task,
    input,
    invited,
    answers,
    failures: [],
    outcome
  }
}

const truth = { mean: 812.4, n: 488 }
const answers = [0, 1, 2].map((i) => answerOf(agents[i]!, truth)).concat(answerOf(agents[3]!, { mean: 1200, n: 488 }))

const certificateOf = (verdict: Verdict, options: { readonly aggregation?: AnAggregation } = {}) => {
  const certificate = Certificate.make(asker, verdict, options)
  if (certificate instanceof Certificate.CertificateError) throw certificate
  return certificate
}
const certificate = certificateOf(verdictOf(answers))
const check = (candidate: unknown) => Effect.runSync(Effect.result(Certificate.verify(candidate, Consensus.strategies)))
const reasonOf = (candidate: unknown): Certificate.Reason | undefined => {
  const result = check(candidate)
  return result._tag === "Failure" ? result.failure.reason : undefined
}
/** The certificate with one part changed, by its path. */
const forged = (path: ReadonlyArray<string | number>, value: unknown): unknown => {
  const copy: unknown = structuredClone(certificate)
  let parent = copy as Record<string | number, unknown>
  for (const key of path.slice(0, -1)) parent = parent[key] as typeof parent
  parent[path.at(-1)!] = value
  return copy
}
/** As an asker would do it that lies itself: changed, and signed again. */
const signedAgain = (candidate: unknown): unknown => {
  const { sig: _, ...body } = candidate as Certificate.Certificate
  return { ...body, sig: SignedBytes.sign(asker, "certificate", CanonicalJson.bytes(body)) }
}

describe("Certificate", () => {
  test("a true one is valid, as a value and as text, and says what it proves", () => {
    for (const form of [certificate, JSON.stringify(certificate), CanonicalJson.bytes(certificate)]) {
      const result = check(form)
      expect(result._tag === "Success" ? result.success : result.failure.message).toEqual({
        asker: asker.nodeId,
        task,
        capability: "csv.describe@^1",
        aggregation: "majority-vote",
        status: "reached",
        value: truth,
        confidence: 0.6,
        receipts: 4,
        invited: 5,
        agreeing: 3,
        rule: "3 of 5",
        summary: "valid: 4 receipts of 4 distinct agents over the same input, threshold 3 of 5"
      })
    }
  })

  test("every aggregation that has a name is run again", () => {
    for (const aggregation of [
      Aggregation.weightedVote,
      Aggregation.consensusThreshold(0.5),
      Aggregation.firstResponse,
      Aggregation.longest,
      Aggregation.ensemble,
      Aggregation.median,
      Aggregation.trimmedMean(0.1),
      Aggregation.clusterVote()
    ]) {
      expect(reasonOf(JSON.stringify(certificateOf(verdictOf(answers, aggregation))))).toEqual(undefined)
    }
    const tied = check(certificateOf(verdictOf(answers.slice(2))))
    expect(tied._tag === "Success" ? tied.success.summary : "").toEqual(
      "valid: 2 receipts of 2 distinct agents over the same input, threshold 3 of 5; insufficient"
    )
  })

  const [first, second, , fourth] = agents.map(({ nodeId }) => nodeId)
  const otherHash = "0".repeat(64)
  const otherSignature = `${"A".repeat(85)}A`
  const stranger = agents[5]!
  const wrong = (field: string, node = second) => ({ _tag: "WrongReceipt", node, field })
  const forgeries: ReadonlyArray<readonly [string, ReadonlyArray<string | number>, unknown, object]> = [
    ["version", ["v"], 2, { _tag: "UnknownVersion", version: "2" }],
    ["task", ["task"], "f".repeat(32), wrong("task", first)],
    ["capability", ["capability"], "csv.sum@^1", { _tag: "WrongCapability", node: first, expected: "csv.sum@^1" }],
    ["range of versions", ["capability"], "csv.describe@^2", { _tag: "BadAskerSignature", asker: asker.nodeId }],
    ["input", ["input"], { table: "a,b\n1,3" }, wrong("inputHash", first)],
    ["asker", ["asker"], first, wrong("caller", first)],
    ["selection", ["selection"], "all", { _tag: "BadAskerSignature", asker: asker.nodeId }],
    ["aggregation", ["aggregation"], "ensemble", { _tag: "WrongOutcome", field: "value" }],
    ["aggregation's threshold", ["aggregation"], "consensus-threshold:0.8", { _tag: "WrongOutcome", field: "status" }],
    ["unknown aggregation", ["aggregation"], "by-dice", { _tag: "NotCountable", aggregation: "by-dice" }],
    ["trust", ["invited", 1, "trust"], 0.9, { _tag: "BadAskerSignature", asker: asker.nodeId }],
    ["score", ["invited", 1, "score"], 0.1, { _tag: "BadAskerSignature", asker: asker.nodeId }],
    ["an invited agent", ["invited", 1, "node"], stranger.nodeId, { _tag: "NotInvited", node: second }],
    ["a silent invited agent", ["invited", 4, "node"], stranger.nodeId, { _tag: "BadAskerSignature" }],
    ["an agent invited twice", ["invited", 4, "node"], second, { _tag: "InvitedTwice", node: second }],
    ["fewer invited", ["invited"], certificate.invited.slice(0, 4), { _tag: "WrongOutcome", field: "rule" }],
    ["who answered", ["answers", 1, "node"], agents[4]!.nodeId, wrong("executor", agents[4]!.nodeId)],
    ["who answered, twice", ["answers", 1, "node"], first, { _tag: "AnsweredTwice", node: first }],
    ["a stranger's answer", ["answers", 1], answerOf(stranger, truth), { _tag: "NotInvited", node: stranger.nodeId }],
    ["the same answer twice", ["answers", 1], certificate.answers[0], { _tag: "AnsweredTwice", node: first }],
    ["capability of an answer", ["answers", 1, "capability"], "csv.describe@9.0.0", wrong("capability")],
    ["value", ["answers", 1, "value"], { mean: 1200, n: 488 }, wrong("outputHash")],
    ["latency", ["answers", 1, "latencyMs"], 1, { _tag: "BadAskerSignature" }],
    ["quality", ["answers", 1, "quality"], 1, { _tag: "BadAskerSignature" }],
    ["an answer left out", ["answers"], certificate.answers.slice(0, 3), { _tag: "WrongOutcome", field: "votes" }],
    ["answers in another order", ["answers"], certificate.answers.toReversed(), { _tag: "BadAskerSignature" }],
    ["another's receipt", ["answers", 1, "receipt"], certificate.answers[0]!.receipt, wrong("executor")],
    ["receipt's version", ["answers", 1, "receipt", "v"], 2, { _tag: "Malformed" }],
    ["receipt's task", ["answers", 1, "receipt", "task"], "f".repeat(32), wrong("task")],
    ["receipt's capability", ["answers", 1, "receipt", "capability"], "csv.describe@9.0.0", wrong("capability")],
    ["receipt's executor", ["answers", 1, "receipt", "executor"], fourth, wrong("executor")],
    ["receipt's caller", ["answers", 1, "receipt", "caller"], fourth, wrong("caller")],
    ["receipt's input", ["answers", 1, "receipt", "inputHash"], otherHash, wrong("inputHash")],
    ["receipt's output", ["answers", 1, "receipt", "outputHash"], otherHash, wrong("outputHash")],
    ["receipt's start", ["answers", 1, "receipt", "startedAt"], 999, { _tag: "BadReceiptSignature", node: second }],
    ["receipt's end", ["answers", 1, "receipt", "finishedAt"], 1_013, { _tag: "BadReceiptSignature", node: second }],
    ["receipt's end before its start", ["answers", 1, "receipt", "finishedAt"], 1, { _tag: "Malformed" }],
    [
      "receipt's signature",
      ["answers", 1, "receipt", "sig"],
      otherSignature,
      { _tag: "BadReceiptSignature", node: second }
    ],
    ["no receipt", ["answers", 1, "receipt"], undefined, { _tag: "Malformed" }],
    ["status", ["outcome", "status"], "tied", { _tag: "WrongOutcome", field: "status" }],
    ["agreed value", ["outcome", "value"], { mean: 1200, n: 488 }, { _tag: "WrongOutcome", field: "value" }],
    [
      "confidence",
      ["outcome", "confidence"],
      1,
      { _tag: "WrongOutcome", field: "confidence", stated: "1", counted: "0.6" }
    ],
    ["rule", ["outcome", "rule"], "4 of 5", { _tag: "WrongOutcome", field: "rule" }],
    ["votes", ["outcome", "votes"], certificate.outcome.votes.slice(0, 1), { _tag: "WrongOutcome", field: "votes" }],
    ["a vote's weight", ["outcome", "votes", 0, "weight"], 4, { _tag: "WrongOutcome", field: "votes" }],
    ["dissent", ["outcome", "dissent"], [], { _tag: "WrongOutcome", field: "dissent" }],
    ["a text that has no bytes", ["outcome", "rule"], "\ud800", { _tag: "WrongOutcome", field: "rule" }],
    ["an input that has no bytes", ["input"], "\ud800", { _tag: "Malformed" }],
    ["a member that nobody signed", ["note"], "trust me", { _tag: "BadAskerSignature" }],
    ["signature", ["sig"], otherSignature, { _tag: "BadAskerSignature", asker: asker.nodeId }]
  ]
  for (const [what, path, value, reason] of forgeries) {
    test(`notices a forged ${what}`, () => {
      const actual = reasonOf(forged(path, value))
      expect(actual).toMatchObject(reason)
    })
  }

  test("an asker that signs its own forgery is found out by receipts and recount", () => {
    expect(reasonOf(signedAgain(certificate))).toEqual(undefined)
    for (const [what, path, value, reason] of forgeries) {
      const tag = (reason as { readonly _tag: string })._tag
      if (tag === "BadAskerSignature" || what.endsWith("no bytes")) continue
      expect(reasonOf(signedAgain(forged(path, value)))?._tag).toEqual(tag as Certificate.Reason["_tag"])
    }
  })

  test("the message names the agent", () => {
    const result = check(forged(["answers", 1, "value"], "x"))
    expect(result._tag === "Failure" ? result.failure.message : "").toContain(
      `the receipt of ${second} is for another outputHash`
    )
  })

  test("receipts of another task, or for another asker, do not count", () => {
    for (const [fields, field] of [
      [{ task: "f".repeat(32) }, "task"],
      [{ caller: agents[0]!.nodeId }, "caller"]
    ] as const) {
      const made = Certificate.make(asker, verdictOf([...answers.slice(0, 3), answerOf(agents[3]!, truth, fields)]))
      expect(made instanceof Certificate.CertificateError ? made.reason : "made").toMatchObject(wrong(field, fourth))
    }
  })

  test("answers without a receipt are left out where the outcome stands without them", () => {
    const bare = (index: number) =>
      answers.map((answer, i) => {
        const { receipt: _, ...rest } = answer
        return i === index ? rest : answer
      })
    const refusal = Certificate.make(asker, verdictOf(bare(3)))
    expect(refusal instanceof Certificate.CertificateError ? refusal.reason : "made").toEqual({
      _tag: "NoReceipt",
      node: fourth!
    })
    const without = certificateOf(verdictOf(bare(3)), { aggregation: Aggregation.majorityVote })
    const result = check(without)
    expect(result._tag === "Success" ? result.success.summary : result.failure.message).toEqual(
      "valid: 3 receipts of 3 distinct agents over the same input, threshold 3 of 5"
    )
    const fallen = Certificate.make(asker, verdictOf(bare(0)), { aggregation: Aggregation.majorityVote })
    expect(fallen instanceof Certificate.CertificateError ? fallen.reason : "made").toMatchObject({
      _tag: "WrongOutcome",
      field: "status"
    })
  })

  test("bounds hold: bytes, depth, agents", () => {
    expect(reasonOf(" ".repeat(Certificate.MAX_BYTES + 1))).toEqual({
      _tag: "TooLarge",
      bytes: Certificate.MAX_BYTES + 1
    })
    const long = JSON.stringify(certificate) + " ".repeat(2 * CanonicalJson.MAX_BYTES)
    expect(reasonOf(long)).toEqual(undefined)
    let deep: unknown = 1
    for (let i = 0; i < Certificate.MAX_DEPTH; i++) deep = [deep]
    expect(reasonOf(forged(["input"], deep))?._tag).toEqual("Malformed")
    expect(reasonOf(JSON.stringify(forged(["input"], deep)))?._tag).toEqual("Malformed")
    const cycle: Record<string, unknown> = { ...certificate }
    cycle["input"] = cycle
    expect(reasonOf(cycle)?._tag).toEqual("Malformed")
    const many = Array.from({ length: Certificate.MAX_INVITED + 1 }, () => certificate.invited[0])
    expect(reasonOf(forged(["invited"], many))).toEqual({ _tag: "Malformed", detail: "more than 1000 agents" })
    for (const nothing of [undefined, null, 1, [], "", "{}", "null", new Uint8Array([0xff])]) {
      expect(String(reasonOf(nothing)?._tag)).toMatch(/^(?:Malformed|UnknownVersion)$/)
    }
  })

  const runs = 100_000
  const seed = 20_261_121
  test(`${runs} hostile inputs are refused with a reason, and never crash`, () => {
    const below = fromSeed(seed).int
    const small = certificateOf(verdictOf(answers.slice(0, 3)))
    const canonical = CanonicalJson.stringify(small)
    const original = new TextEncoder().encode(canonical)
    const tokens = [
      "{",
      "}",
      "[",
      "]",
      '"',
      ",",
      ":",
      "null",
      "1e999",
      "-0",
      "\\u0000",
      '"__proto__":1,',
      "\ud800",
      "z6Mk"
    ]
    const seen = new Map<string, number>()
    for (let run = 0; run < runs; run++) {
      let bytes: Uint8Array = Uint8Array.from(original)
      for (let changes = 1 + below(3); changes > 0; changes--) {
        const at = below(bytes.length)
        switch (below(6)) {
          case 0:
            bytes[at] = below(256)
            break
          case 1:
            bytes[at] = bytes[at]! ^ (1 << below(8))
            break
          case 2:
            // Another digit or letter: stays JSON more often.
            bytes[at] = 0x30 + below(10)
            break
          case 3:
            bytes = bytes.slice(0, Math.max(1, at))
            break
          case 4:
            bytes = Buffer.concat([bytes.slice(0, at), bytes.slice(at + below(64))])
            if (bytes.length === 0) bytes = new Uint8Array(1)
            break
          default:
            bytes = Buffer.concat([bytes.slice(0, at), Buffer.from(tokens[below(tokens.length)]!), bytes.slice(at)])
        }
      }
      let outcome: string
      try {
        const result = check(bytes)
        outcome = result._tag === "Success" ? "valid" : result.failure.reason._tag
        if (
          result._tag === "Success" &&
          CanonicalJson.stringify(JSON.parse(Buffer.from(bytes).toString())) !== canonical
        ) {
          outcome = "valid, but changed"
        }
      } catch (cause) {
        outcome = `crashed: ${String(cause)}`
      }
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
      if (outcome.startsWith("crashed") || outcome === "valid, but changed") {
        throw new Error(`seed ${seed}, run ${run}: ${outcome}: ${Buffer.from(bytes).toString()}`)
      }
    }
    // Changes reached every layer, not only the parser.
    for (const reason of ["Malformed", "WrongReceipt", "BadReceiptSignature", "WrongOutcome", "BadAskerSignature"]) {
      expect({ reason, seen: seen.has(reason) }).toEqual({ reason, seen: true })
    }
  }, 300_000)
})
