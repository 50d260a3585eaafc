/**
 * Verifies: that a chain which was changed, cut, reordered or rewritten is found at the right link, that forged receipts and
 * statements are, and that honest ones hold on every runtime to the bit.
 */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import * as Receipt from "@parley/core/Receipt"
import * as SignedBytes from "@parley/core/SignedBytes"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import { fromSeed, seeded } from "@parley/core/testing/Seeded"
import * as Audit from "@parley/registry/Audit"
import * as Chain from "@parley/registry/Chain"
import type { Report } from "@parley/registry/Event"
import * as ReputationModel from "@parley/registry/ReputationModel"
import * as Statement from "@parley/registry/Statement"

const START = Date.UTC(2026, 0, 1)
const HOUR = 3_600_000
const identity = (n: number) => Identity.fromSeed(Uint8Array.from({ length: 32 }, (_, i) => (i * 7 + n) % 256))
const registry = identity(200)
const nodes = Array.from({ length: 8 }, (_, i) => identity(i))
const hash = "a".repeat(64)

interface History {
  readonly links: ReadonlyArray<Chain.Link>
  readonly statements: ReadonlyArray<Statement.Statement>
  readonly heads: ReadonlyArray<Chain.Head>
}

/** What a registry does in a while: it takes reports, settles now and then, and hands out statements. */
const history = (count: number, seeds: ReadonlyArray<string> = []): History => {
  const random = fromSeed(7)
  const model = ReputationModel.make({ seeds })
  const links: Array<Chain.Link> = []
  const statements: Array<Statement.Statement> = []
  const heads: Array<Chain.Head> = []
  let head = Chain.START
  for (let i = 0; i < count; i++) {
    const which = random.int(4)
    const executor = nodes[which]!
    const caller = nodes[4 + random.int(4)]!
    const at = START + i * HOUR
    const task = i.toString(16).padStart(32, "0")
    const given = {
      agent: executor.nodeId,
      reviewer: caller.nodeId,
      capability: "work",
      task,
      at,
      quality: (which % 2) * 0.7 + 0.3 * random.next()
    }
    const report: Report =
      random.int(4) === 0
        ? { ...given, success: random.int(3) > 0 }
        : {
            ...given,
            success: true,
            receipt: Receipt.make(executor, {
              task,
              capability: "work@1.0.0",
              caller: caller.nodeId,
              inputHash: hash,
              outputHash: hash,
              startedAt: at - 20,
              finishedAt: at - 10
            })
          }
    model.apply(report, at)
    head = Chain.next(head, report)
    links.push({ ...head, at, report })
    if (i % 23 === 7) model.settleAll(at)
    if (i % 31 === 30) {
      statements.push(Statement.make(registry, model, { agent: nodes[i % 4]!.nodeId, head, now: at + 5 }))
    }
    if (i % 40 === 39) heads.push(head)
  }
  return { links, statements, heads }
}

const audited = (links: Iterable<Chain.Link>, against: Audit.Against = {}) =>
  Effect.runSync(Audit.run(Stream.fromIterable(links), against))

/** The chain as somebody would give it who changed a report and computed all hashes after it anew. */
const rewritten = (links: ReadonlyArray<Chain.Link>, seq: number, change: (report: Report) => Report) => {
  let head = Chain.START
  return links.map((link) => {
    const report = link.seq === seq ? change(link.report) : link.report
    head = Chain.next(head, report)
    return { ...head, at: link.at, report }
  })
}

describe("an audit", () => {
  const honest = history(200)
  const { heads, links, statements } = honest

  test("finds nothing in a history that is as it was, and computes every statement again to the bit", () => {
    expect(statements.length).toBe(6)
    const result = audited(links, { registry: registry.nodeId, statements, heads })
    expect(result.findings).toEqual([])
    expect(result).toMatchObject({ ok: true, head: { seq: 200, hash: links[199]!.hash }, reports: 200, statements: 6 })
    expect(result).toMatchObject({
      agents: 4,
      reviewers: 4,
      attested: links.filter((each) => each.report.receipt).length
    })
    // The same with seeds that are configured.
    const seeded = history(120, [nodes[5]!.nodeId])
    expect(audited(seeded.links, seeded)).toMatchObject({ ok: true, statements: 3 })
    expect(audited([])).toMatchObject({ ok: true, reports: 0 })
  })

  test("comes to the same bits on every machine", () => {
    // What a machine of one kind signed is what all others compute.
    expect(CanonicalJson.hash(statements.map(({ standings }) => standings))).toBe(SAME_EVERYWHERE)
  })

  test("finds a report that was changed, at its link and nowhere else", () => {
    const random = seeded(0xa0d1)
    for (let i = 0; i < 20; i++) {
      const seq = 1 + random.int(200)
      const forged = links.map((link) =>
        link.seq === seq ? { ...link, report: { ...link.report, quality: link.report.quality / 2 + 0.001 } } : link
      )
      const { findings } = audited(forged)
      expect(findings).toHaveLength(1)
      expect(findings[0]).toMatchObject({ _tag: "Broken", seq, stated: links[seq - 1]!.hash })
    }
  })

  test("finds what is missing, put in, or out of order", () => {
    const without = links.filter(({ seq }) => seq !== 50)
    expect(audited(without).findings.slice(0, 2)).toMatchObject([
      { _tag: "Gap", seq: 50, found: 51 },
      { _tag: "Broken", seq: 51 }
    ])
    const swapped = [...links]
    ;[swapped[9], swapped[10]] = [swapped[10]!, swapped[9]!]
    expect(audited(swapped).findings[0]).toMatchObject({ _tag: "Gap", seq: 10, found: 11 })
    const cut = audited(links.slice(0, 150), { heads, statements })
    expect(cut.findings).toEqual([{ _tag: "Shortened", seq: 200, last: 150 }])
    expect(Audit.describe(cut.findings[0]!)).toBe(
      "history was cut: link 200 was seen before, and the chain now ends at 150"
    )
  })

  test("finds a history that was rewritten with all its hashes, and between which links", () => {
    for (const seq of [1, 33, 70, 100, 161]) {
      const forged = rewritten(links, seq, (report) => ({ ...report, at: report.at! - HOUR }))
      // The chain itself holds.
      expect(audited(forged).ok).toBe(true)
      const { findings } = audited(forged, { heads, statements })
      const kept = [...heads.map((head) => head.seq), ...statements.map(({ chain }) => chain.seq)].sort((a, b) => a - b)
      const first = kept.find((each) => each >= seq)
      const after = kept.findLast((each) => each < seq) ?? 0
      expect(findings[0]).toMatchObject({ _tag: "Rewritten", seq: first, after })
    }
    expect(
      audited(
        rewritten(links, 200, (report) => ({ ...report, quality: 1 })),
        { heads, statements }
      ).findings
    ).toEqual([{ _tag: "Rewritten", seq: 200, after: 186, seen: links[199]!.hash, now: expect.any(String) }])
  })

  test("finds receipts that are forged, or of something else", () => {
    const at = links.findIndex(({ report }) => report.receipt !== undefined)
    const receipt = links[at]!.report.receipt!
    const faults: ReadonlyArray<readonly [(report: Report) => Report, string]> = [
      [(report) => ({ ...report, receipt: { ...receipt, outputHash: "b".repeat(64) } }), "not signed by its executor"],
      [(report) => ({ ...report, agent: nodes[7]!.nodeId }), "the receipt is of"],
      [(report) => ({ ...report, reviewer: nodes[0]!.nodeId }), "the receipt is for"],
      [(report) => ({ ...report, task: "f".repeat(32) }), "the receipt is for task"],
      [(report) => ({ ...report, capability: "play" }), "the receipt is for work, the report about play"],
      [(report) => ({ ...report, receipt: {} as Receipt.Receipt }), "Not a receipt"]
    ]
    for (const [change, detail] of faults) {
      const { findings } = audited(rewritten(links, at + 1, change))
      expect(findings[0]).toMatchObject({ _tag: "BadReceipt", seq: at + 1, detail: expect.stringContaining(detail) })
    }
  })

  test("finds self-reviews and second reviews that were let in", () => {
    const self = rewritten(links, 3, ({ agent, quality, task }) => ({
      agent,
      capability: "work",
      reviewer: agent,
      task,
      success: true,
      quality
    }))
    expect(audited(self).findings).toEqual([{ _tag: "SelfReview", seq: 3, agent: links[2]!.report.agent }])
    const twice = rewritten(links, 9, () => links[4]!.report)
    expect(audited(twice).findings).toEqual([{ _tag: "SecondReview", seq: 9, first: 5, task: links[4]!.report.task }])
  })

  test("finds a statement that does not follow from the reports, though it is signed", () => {
    const [statement] = statements
    const { sig: _, ...body } = statement!
    const standings = [{ ...body.standings[0]!, score: 0.99, high: 1 }, ...body.standings.slice(1)]
    const lie = { ...body, standings }
    const signed = { ...lie, sig: SignedBytes.sign(registry, "statement", CanonicalJson.bytes(lie)) }
    expect(audited(links, { statements: [signed] }).findings[0]).toMatchObject({
      _tag: "WrongStanding",
      seq: 31,
      capability: null,
      field: "score",
      stated: 0.99,
      computed: body.standings[0]!.score
    })
    // One that names other weights than those it was made with comes out differently too.
    const seeded = history(120, [nodes[5]!.nodeId])
    const { sig: __, ...late } = seeded.statements[2]!
    const early = { ...late, settled: 0 }
    const other = { ...early, sig: SignedBytes.sign(registry, "statement", CanonicalJson.bytes(early)) }
    expect(audited(seeded.links, { statements: [other] }).findings[0]).toMatchObject({ _tag: "WrongStanding", seq: 93 })
    const foreign = Statement.make(identity(99), ReputationModel.make(), {
      agent: "ada",
      head: Chain.START,
      now: START
    })
    expect(audited(links, { registry: registry.nodeId, statements: [foreign, statement] })).toMatchObject({
      statements: 1,
      findings: [{ _tag: "BadStatement", seq: 0 }]
    })
  })

  test("lists so many findings, and counts all", () => {
    const forged = links.map((link) => ({ ...link, hash }))
    const { findings, found, ok } = audited(forged)
    expect([findings.length, ok]).toEqual([Audit.MAX_FINDINGS, false])
    expect(found).toBe(200)
    for (const finding of findings) expect(Audit.describe(finding)).toContain(`link ${finding.seq}`)
  })
})

describe("a statement", () => {
  const model = ReputationModel.make()
  const report: Report = {
    agent: "ada",
    reviewer: "bob",
    capability: "work",
    task: "t",
    success: true,
    quality: 1,
    at: START
  }
  model.apply(report, START)
  const head = Chain.next(Chain.START, report)
  const statement = Statement.make(registry, model, { agent: "ada", head, now: START })
  const text = JSON.stringify(statement)
  const tagOf = (value: Statement.Statement | Statement.StatementRefused) =>
    value instanceof Statement.StatementRefused ? value.reason._tag : "holds"

  test("holds for its registry, agent and time, offline", () => {
    const expected = { registry: registry.nodeId, agent: "ada", now: START + HOUR }
    const read = Statement.decode(text, expected)
    expect(read).toEqual(statement)
    expect(statement.standings[0]).toMatchObject({ capability: null, score: 0.55, reports: 1 })
    expect(statement.chain).toEqual(head)
    expect(tagOf(Statement.decode(new TextEncoder().encode(text), expected))).toBe("holds")
  })

  test("is refused for another registry, agent or time", () => {
    const other = identity(1).nodeId
    expect(tagOf(Statement.verify(statement, { registry: other }))).toBe("Mismatch")
    expect(tagOf(Statement.verify(statement, { agent: "eve" }))).toBe("Mismatch")
    expect(tagOf(Statement.verify(statement, { now: statement.expiresAt + 1 }))).toBe("OutOfTime")
    expect(tagOf(Statement.verify(statement, { now: START - Statement.CLOCK_SKEW_MS - 1 }))).toBe("OutOfTime")
    expect(tagOf(Statement.verify(statement, { now: START - Statement.CLOCK_SKEW_MS }))).toBe("holds")
  })

  test("is refused when anything in it was changed", () => {
    const standing = statement.standings[0]!
    const forged: ReadonlyArray<object> = [
      { agent: "eve" },
      { standings: [{ ...standing, score: 0.9 }, ...statement.standings.slice(1)] },
      { standings: statement.standings.slice(0, 1) },
      { chain: { seq: 2, hash } },
      { settled: 1 },
      { seeds: ["ada"] },
      { issuedAt: START + 1 },
      { expiresAt: statement.expiresAt + 1 },
      { registry: identity(1).nodeId satisfies NodeId },
      { more: true }
    ]
    for (const change of forged) expect(tagOf(Statement.verify({ ...statement, ...change }))).toBe("BadSignature")
    const { sig: _, ...body } = statement
    const asReceipt = { ...body, sig: SignedBytes.sign(registry, "receipt", CanonicalJson.bytes(body)) }
    expect(tagOf(Statement.verify(asReceipt))).toBe("BadSignature")
  })

  test("is refused when it is none, without harm", () => {
    const nested = `${"[".repeat(5_000)}${"]".repeat(5_000)}`
    for (const bad of ["", "null", "{}", nested, text.slice(0, 300), `${" ".repeat(Statement.MAX_BYTES)}${text}`]) {
      expect(tagOf(Statement.decode(bad))).toBe("Malformed")
    }
    for (const change of [
      { v: 2 },
      { standings: [] },
      { expiresAt: START - 1 },
      { expiresAt: START + Statement.MAX_LIFETIME_MS + 1 },
      { sig: "x" }
    ]) {
      expect(tagOf(Statement.verify({ ...statement, ...change }))).toBe("Malformed")
    }
  })

  test("is signed only over the reports that the chain has", () => {
    const behind = () => Statement.make(registry, model, { agent: "ada", head: Chain.START, now: START })
    expect(behind).toThrow("the chain has 0 links, and the reputation has taken in 1 reports")
    const long = Statement.make(registry, model, { agent: "ada", head, now: START, lifetimeMs: 1e15 })
    expect(long.expiresAt - START).toBe(Statement.MAX_LIFETIME_MS)
  })
})

const SAME_EVERYWHERE = "fa97c458f27c5e0b514aeb912388937963edf6495a6d018cadf112684da1101d"
