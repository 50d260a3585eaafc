import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as CanonicalJson from "../src/CanonicalJson.ts"
import * as Identity from "../src/Identity.ts"
import type { NodeId } from "../src/NodeId.ts"
import * as Receipt from "../src/Receipt.ts"
import * as SignedBytes from "../src/SignedBytes.ts"
import { forRounds, mutate, seeded } from "../src/testing/Seeded.ts"

const executor = Identity.fromSeed(new Uint8Array(32).fill(1))
const caller = Identity.fromSeed(new Uint8Array(32).fill(2))
const fields: Receipt.Fields = {
  task: "00112233445566778899aabbccddeeff",
  capability: "csv.describe@1.0.0",
  caller: caller.nodeId,
  inputHash: CanonicalJson.hash({ rows: [1, 2, 3] }),
  outputHash: CanonicalJson.hash({ mean: 2 }),
  startedAt: 1_000,
  finishedAt: 1_250
}
const receipt = Receipt.make(executor, fields)

const reasonOf = (result: unknown): string =>
  result instanceof Receipt.ReceiptRefused ? result.reason._tag : "accepted"

describe("Receipt", () => {
  test("signs the canonical text under its own name", () => {
    const { sig, ...body } = receipt
    expect(CanonicalJson.stringify(body)).toBe(
      `{"caller":"${caller.nodeId}","capability":"csv.describe@1.0.0","executor":"${executor.nodeId}","finishedAt":1250,` +
        `"inputHash":"${fields.inputHash}","outputHash":"${fields.outputHash}","startedAt":1000,` +
        `"task":"00112233445566778899aabbccddeeff","v":1}`
    )
    expect(SignedBytes.verify(executor.nodeId, "receipt", CanonicalJson.bytes(body), sig)).toBe(true)
    expect(SignedBytes.verify(executor.nodeId, "record", CanonicalJson.bytes(body), sig)).toBe(false)
  })

  test("verifies alone, and from text in any order of members", () => {
    expect(Receipt.verify(receipt)).toBe(true)
    const reversed = JSON.stringify(Object.fromEntries(Object.entries(receipt).reverse()), null, 2)
    expect(Receipt.decode(reversed)).toEqual(receipt)
    expect(Receipt.decode(Buffer.from(reversed))).toEqual(receipt)
    expect(Receipt.decode(receipt)).toBe(receipt)
  })

  test("refuses a change of any member", () => {
    const other = Identity.generate()
    const changes: Array<Partial<Record<keyof Receipt.Receipt | "extra", unknown>>> = [
      { task: fields.task.replace("0", "1") },
      { capability: "csv.describe@1.0.1" },
      { executor: other.nodeId },
      { caller: other.nodeId },
      { inputHash: fields.outputHash },
      { outputHash: fields.inputHash },
      { startedAt: 999 },
      { finishedAt: 1_251 },
      { sig: Receipt.make(executor, { ...fields, startedAt: 1 }).sig },
      { extra: 1 }
    ]
    for (const change of changes) {
      expect([change, reasonOf(Receipt.verify({ ...receipt, ...change }))]).toEqual([change, "BadSignature"])
    }
  })

  test("refuses what has not the shape of one", () => {
    const { sig, ...unsigned } = receipt
    // The same 64 bytes in another spelling: the last digit has four bits to spare.
    const spare = sig.slice(0, -1) + String.fromCharCode(sig.charCodeAt(85) + 1)
    expect(Buffer.from(spare, "base64url").equals(Buffer.from(sig, "base64url"))).toBe(true)
    const wrong: Array<unknown> = [
      null,
      [],
      1,
      undefined,
      {},
      unsigned,
      { ...receipt, v: 2 },
      { ...receipt, task: "short" },
      { ...receipt, task: fields.task.toUpperCase() },
      { ...receipt, capability: "csv.describe" },
      { ...receipt, capability: "a".repeat(200) + "@1.0.0" },
      { ...receipt, executor: "did:key:" + executor.nodeId },
      { ...receipt, inputHash: "00" },
      { ...receipt, startedAt: -1 },
      { ...receipt, startedAt: 1.5 },
      { ...receipt, startedAt: "1000" },
      { ...receipt, finishedAt: 999 },
      { ...receipt, sig: sig + "==" },
      { ...receipt, sig: spare },
      { ...receipt, extra: NaN },
      { ...receipt, extra: "x".repeat(Receipt.MAX_RECEIPT_BYTES) }
    ]
    for (const value of wrong) expect([value, reasonOf(Receipt.verify(value))]).toEqual([value, "Malformed"])
    let deep: unknown = 1
    for (let i = 0; i < 100; i++) deep = [deep]
    expect(reasonOf(Receipt.decode({ ...receipt, deep }))).toBe("Malformed")
    expect(reasonOf(Receipt.decode(JSON.stringify({ ...receipt, extra: "x".repeat(5_000) })))).toBe("Malformed")
    expect(() => Receipt.make(executor, { ...fields, finishedAt: 0 })).toThrow("ends before it starts")
    expect(() => Receipt.make(executor, { ...fields, task: "x" })).toThrow("Not a receipt")
  })

  test("binds a receipt to what was expected, field by field", () => {
    const { finishedAt: _finished, startedAt: _started, ...comparable } = fields
    const expected: Receipt.Expected = { ...comparable, executor: executor.nodeId }
    expect(Receipt.verify(receipt, expected)).toBe(true)
    const different: Record<string, string> = {
      task: "f".repeat(32),
      capability: "csv.describe@2.0.0",
      executor: caller.nodeId,
      caller: executor.nodeId,
      inputHash: "0".repeat(64),
      outputHash: "0".repeat(64)
    }
    expect(Object.keys(different).sort()).toEqual(Object.keys(expected).sort())
    for (const [field, value] of Object.entries(different)) {
      const result = Receipt.verify(receipt, { ...expected, [field]: value })
      expect(reasonOf(result)).toBe("Mismatch")
      expect((result as Receipt.ReceiptRefused).message).toContain(field)
    }
  })

  test("is verified apart as it is at once", async () => {
    const random = seeded(9)
    const other = Identity.generate()
    const cases: Array<readonly [Receipt.Receipt, Receipt.Expected]> = [
      [receipt, {}],
      [receipt, { task: fields.task, caller: caller.nodeId }],
      [receipt, { task: "f".repeat(32) }],
      [{ ...receipt, task: "f".repeat(32) }, { task: fields.task }],
      [{ ...receipt, finishedAt: 999 }, {}],
      [{ ...receipt, finishedAt: 1_251 }, {}],
      [{ ...receipt, executor: other.nodeId }, {}],
      [{ ...receipt, sig: Receipt.make(executor, { ...fields, startedAt: 1 }).sig }, {}],
      ...[{ extra: 1 }, { extra: "\ud800" }, { extra: "x".repeat(Receipt.MAX_RECEIPT_BYTES) }].map(
        (more) => [{ ...receipt, ...more }, {}] as const
      )
    ]
    for (let i = 0; i < 32; i++) {
      const startedAt = random.int(2 ** 40)
      cases.push([Receipt.make(executor, { ...fields, startedAt, finishedAt: startedAt + random.int(1_000) }), {}])
    }
    const said = await Promise.all(cases.map((each) => Effect.runPromise(Receipt.verifyApart(...each))))
    expect(said.map(reasonOf)).toEqual(cases.map((each) => reasonOf(Receipt.verify(...each))))
    expect(new Set(said.map(reasonOf))).toEqual(new Set(["accepted", "Mismatch", "Malformed", "BadSignature"]))
  })

  test("holds for any fields, and for nobody else", () => {
    const random = seeded(7)
    const hex = (bytes: number) => Buffer.from(random.bytes(bytes)).toString("hex")
    forRounds(random, 200, () => {
      const identity = Identity.fromSeed(random.bytes(32))
      const startedAt = random.int(2 ** 40)
      const one = Receipt.make(identity, {
        task: hex(16),
        capability: `a${random.int(100)}.b@${random.int(9)}.${random.int(9)}.0-rc.1+x`,
        caller: Identity.fromSeed(random.bytes(32)).nodeId as NodeId,
        inputHash: hex(32),
        outputHash: hex(32),
        startedAt,
        finishedAt: startedAt + random.int(1_000)
      })
      expect(Receipt.decode(JSON.stringify(one))).toEqual(one)
      expect(reasonOf(Receipt.verify({ ...one, executor: executor.nodeId }))).toBe("BadSignature")
    })
  })

  test("survives 100,000 damaged receipts, and accepts none that says something else", () => {
    const random = seeded(8)
    const original = Buffer.from(JSON.stringify(receipt))
    const canonical = CanonicalJson.stringify(receipt)
    const seen = new Set<string>()
    forRounds(random, 100_000, () => {
      const result = Receipt.decode(mutate(random, original))
      seen.add(reasonOf(result))
      if (!(result instanceof Receipt.ReceiptRefused)) expect(CanonicalJson.stringify(result)).toBe(canonical)
    })
    expect(seen.has("Malformed") && seen.has("BadSignature")).toBe(true)
  }, 120_000)
})
