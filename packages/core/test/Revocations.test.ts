/** Verifies: a list of revocations counts as its network's root signed it, with its names in order, and in no other form. */
import { describe, expect, test } from "bun:test"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Revocations from "@parley/core/Revocations"
import * as SignedBytes from "@parley/core/SignedBytes"
import { testNode } from "../src/testing/StrategySuite.ts"
import { makeNetwork } from "./members.ts"

describe("a list of revocations", () => {
  const { of, root } = makeNetwork()
  const revoked = [1, 2, 3]
    .map((n) => ({ node: testNode(n), until: 2 ** 42 }))
    .sort((a, b) => (a.node < b.node ? -1 : 1))
  const signed = (change: object) => {
    const unsigned = { v: 1, network: of.network, number: 1, issuedAt: 1, revoked, ...change }
    return { ...unsigned, sig: SignedBytes.sign(root, "revocations", CanonicalJson.bytes(unsigned)) }
  }
  const read = (value: unknown) => {
    const list = Revocations.read(value, of)
    return typeof list === "string" ? list : list.revoked.length
  }

  test("counts with its names in order, each once", () => {
    expect(read(signed({}))).toBe(3)
    expect(read(signed({ revoked: [...revoked].reverse() }))).toBe("its names are not in order")
    expect(read(signed({ revoked: [revoked[0], ...revoked] }))).toBe("its names are not in order")
  })

  test("counts for its own network, as the root signed it", () => {
    expect(read(signed({ network: "0".repeat(32) }))).toBe("it is of another network")
    expect(read({ ...signed({}), number: 2 })).toBe("the network's root has not signed it")
    expect(read(signed({ v: 2 }))).toBe("it is no list of revocations")
    expect(read(signed({ number: -1 }))).toBe("it is no list of revocations")
  })
})
