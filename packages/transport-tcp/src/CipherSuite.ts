/**
 * Which ciphers this runtime has natively, and how two nodes choose one.
 *
 * The initiator offers a set, the responder chooses one of it, and both offer and choice are part of the Noise prologue: an
 * attacker who changes either makes the handshake fail, so nobody can push two nodes to a cipher they would not have chosen.
 */
import { getCiphers } from "node:crypto"
import type { Cipher } from "./CipherState.ts"
import * as Aead from "./internal/Aead.ts"

export type { Cipher } from "./CipherState.ts"

/** The bit that stands for a cipher in offer and choice. */
export const bit: { readonly [C in Cipher]: number } = { AESGCM: 0b01, ChaChaPoly: 0b10 }

// Deno computes AES-GCM without the processor's AES instructions: 64 KiB take 310 µs, with ChaCha20-Poly1305 51 µs. Bun has no native
// ChaCha20-Poly1305 and needs 8 µs for AES-GCM; Node has both and is faster with AES.
const preference: ReadonlyArray<Cipher> =
  process.versions["deno"] === undefined ? ["AESGCM", "ChaChaPoly"] : ["ChaChaPoly", "AESGCM"]

const nativeName: { readonly [C in Cipher]: string } = { AESGCM: "aes-256-gcm", ChaChaPoly: "chacha20-poly1305" }

const works = (cipher: Cipher): boolean => {
  if (!getCiphers().some((name) => name.toLowerCase() === nativeName[cipher])) return false
  try {
    const [key, nonce, message] = [new Uint8Array(32).fill(1), new Uint8Array(12), Uint8Array.of(1, 2, 3)]
    const sealed = new Uint8Array(message.length + Aead.tagLength)
    Aead.seal(cipher, key, nonce, key, message, sealed, 0)
    const opened = Aead.open(cipher, key, nonce, key, sealed)
    sealed[0] = sealed[0]! ^ 1
    return opened?.join() === message.join() && Aead.open(cipher, key, nonce, key, sealed) === undefined
  } catch {
    return false
  }
}

let found: ReadonlyArray<Cipher> | undefined

/** The ciphers this runtime computes natively, fastest first; found by trial, once. */
export const available = (): ReadonlyArray<Cipher> => (found ??= preference.filter(works))

/** The set of ciphers as offered on the wire. */
export const toBits = (ciphers: ReadonlyArray<Cipher>): number =>
  ciphers.reduce((bits, cipher) => bits | bit[cipher], 0)

/** The cipher of a choice on the wire; `undefined` unless exactly one known bit is set. */
export const fromBit = (bits: number): Cipher | undefined =>
  bits === bit.AESGCM ? "AESGCM" : bits === bit.ChaChaPoly ? "ChaChaPoly" : undefined

/** The responder's choice: the first of its own ciphers that is offered. Unknown bits of the offer are passed over. */
export const choose = (offered: number, own: ReadonlyArray<Cipher>): Cipher | undefined =>
  own.find((cipher) => (offered & bit[cipher]) !== 0)
