/** Verifies: recorded traffic cannot be decrypted with all long-term keys. */
import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { CipherState } from "@parley/transport-tcp/CipherState"
import * as X25519 from "@parley/transport-tcp/X25519"
import { hkdf } from "../src/internal/Hkdf.ts"
import { alice, bob, concat, empty, filled, hex, networkKey, networks, run, seal } from "./HandshakeRun.ts"

describe("forward secrecy", () => {
  const label = (pattern: string) => `Noise_${pattern}_25519_AESGCM_SHA256`

  /** The transport keys of a session from its Diffie-Hellman results: Noise's key schedule, written out a second time. */
  const transportKeys = (
    pattern: "XX" | "XXpsk3",
    initiatorEphemeral: Uint8Array,
    responderEphemeral: Uint8Array,
    secrets: { readonly ee: Uint8Array; readonly es: Uint8Array; readonly se: Uint8Array }
  ): Uint8Array => {
    const name = new TextEncoder().encode(label(pattern))
    let chain: Uint8Array =
      name.length > 32 ? createHash("sha256").update(name).digest() : concat(name, new Uint8Array(32 - name.length))
    const mix = (input: Uint8Array, length = 64) => (chain = hkdf(chain, input, length).subarray(0, 32))
    if (pattern === "XXpsk3") mix(initiatorEphemeral)
    if (pattern === "XXpsk3") mix(responderEphemeral)
    mix(secrets.ee)
    mix(secrets.es)
    mix(secrets.se)
    if (pattern === "XXpsk3") mix(networkKey, 96)
    return hkdf(chain, empty, 64)
  }

  for (const [network, key] of networks) {
    test(`a recorded session stays closed to who gets every long-term key, with ${network}`, () => {
      const ephemeralSecret = filled(32, 222)
      const result = run(
        { ...alice.options, ...key, ciphers: ["AESGCM"], ephemeral: X25519.fromPrivateKey(ephemeralSecret) },
        { ...bob.options, ...key, ciphers: ["AESGCM"] }
      )
      const record = seal(result.initiator.outcome!.send, new TextEncoder().encode("what they said"))
      const reply = seal(result.responder.outcome!.send, new TextEncoder().encode("and what came back"))
      const pattern = "networkKey" in key ? "XXpsk3" : "XX"
      // Of the transcript: both ephemeral public keys, in clear.
      const ei = result.messages[0]!.subarray(14, 46)
      const er = result.messages[1]!.subarray(14, 46)

      /** Tries every Diffie-Hellman result that these private keys give with any public key, in every place. */
      const attack = (privateKeys: ReadonlyArray<Uint8Array>): number => {
        const pairs = privateKeys.map(X25519.fromPrivateKey)
        const points = [ei, er, alice.options.staticKey.publicKey, bob.options.staticKey.publicKey]
        const computable = new Map<string, Uint8Array>([["00", new Uint8Array(32)]])
        for (const pair of pairs) {
          for (const point of points) {
            const shared = X25519.diffieHellman(pair, point)
            computable.set(hex(shared), shared)
          }
        }
        const candidates = [...computable.values()]
        let opened = 0
        for (const ee of candidates) {
          for (const es of candidates) {
            for (const se of candidates) {
              const keys = transportKeys(pattern, ei, er, { ee, es, se })
              if (new CipherState("AESGCM", keys.subarray(0, 32)).openFresh(record) !== undefined) opened++
              if (new CipherState("AESGCM", keys.subarray(32)).openFresh(reply) !== undefined) opened++
            }
          }
        }
        return opened
      }

      // The identities too, as X25519 keys (RFC 8032 section 5.1.5: the scalar is the first half of the seed's SHA-512).
      const scalars = [alice, bob].map((end) => createHash("sha512").update(end.secret).digest().subarray(0, 32))
      const longTerm = [alice.staticSecret, bob.staticSecret, ...scalars]
      expect(attack(longTerm)).toBe(0)
      // The control: with one ephemeral private key more, the same attack opens both directions.
      expect(attack([...longTerm, ephemeralSecret])).toBe(2)
    }, 60_000)
  }
})
