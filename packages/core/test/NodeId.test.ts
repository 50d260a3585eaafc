import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import * as Schema from "effect/Schema"
import { skipTest } from "../../../test-support/Skip.ts"
import * as NodeId from "../src/NodeId.ts"
import * as Signature from "../src/Signature.ts"
import { forRounds, seeded } from "../src/testing/Seeded.ts"
import { absent, read, unhex } from "./vectors.ts"

describe("NodeId", () => {
  skipTest(absent("did_key_ed25519"))("is did:key's form of the key, as published", () => {
    const vectors = read<Array<{ seedHex: string | null; publicKeyHex: string; did: string }>>("did_key_ed25519")
    expect(vectors.length).toBe(12)
    for (const { did, publicKeyHex, seedHex } of vectors) {
      const id = NodeId.fromPublicKey(unhex(publicKeyHex))
      expect(NodeId.toDid(id)).toBe(did)
      expect(NodeId.parse(did)).toBe(id)
      expect(Buffer.from(NodeId.toPublicKey(id)).toString("hex")).toBe(publicKeyHex)
      if (seedHex !== null) {
        for (const scheme of [Signature.native, Signature.portable]) {
          expect(Buffer.from(scheme.publicKey(unhex(seedHex))).toString("hex")).toBe(publicKeyHex)
        }
      }
    }
  })

  test("round trips every key, also beyond the cache", () => {
    const random = seeded(1)
    forRounds(random, 2_000, () => {
      const key = random.bytes(32)
      const id = NodeId.fromPublicKey(key)
      expect(id.length).toBe(NodeId.NODE_ID_LENGTH)
      expect(Buffer.from(NodeId.toPublicKey(id)).equals(key)).toBe(true)
    })
  })

  test("refuses everything else", () => {
    const id = NodeId.fromPublicKey(new Uint8Array(32).fill(7))
    const wrong = [
      "",
      "z6Mk",
      id.slice(1),
      id + "1",
      id.slice(0, -1),
      id.replace(/.$/, "0"),
      id.replace(/.$/, "l"),
      id.toLowerCase(),
      " " + id,
      "did:web:" + id,
      "did:key:did:key:" + id,
      "z6Mk" + "z".repeat(44),
      "z6Mk" + "1".repeat(44)
    ]
    for (const text of wrong) {
      expect([text, NodeId.parse(text)]).toEqual([text, undefined])
      expect(Schema.is(NodeId.NodeId)(text)).toBe(false)
      expect(() => NodeId.toPublicKey(text as NodeId.NodeId)).toThrow("Not a NodeId")
    }
    expect(Schema.is(NodeId.NodeId)(id)).toBe(true)
    expect(Schema.is(NodeId.NodeId)(NodeId.toDid(id))).toBe(false)
    expect(() => NodeId.fromPublicKey(new Uint8Array(31))).toThrow("has 31")
  })

  test("has a fingerprint of eight groups and a total order", () => {
    const id = NodeId.fromPublicKey(new Uint8Array(32))
    const hash = createHash("sha256").update(new Uint8Array(32)).digest("hex")
    expect(NodeId.fingerprint(id)).toMatch(/^([0-9a-f]{4}:){7}[0-9a-f]{4}$/)
    expect(NodeId.fingerprint(id).replaceAll(":", "")).toBe(hash.slice(0, 32))
    const other = NodeId.fromPublicKey(new Uint8Array(32).fill(1))
    expect(NodeId.compare(id, id)).toBe(0)
    expect(NodeId.compare(id, other)).toBe(NodeId.compare(other, id) === 1 ? -1 : 1)
  })
})
