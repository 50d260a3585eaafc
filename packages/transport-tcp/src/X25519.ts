/** X25519 (RFC 7748) over raw 32-byte keys, computed by `node:crypto`. */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman as nativeDiffieHellman,
  generateKeyPairSync
} from "node:crypto"
import type { KeyObject } from "node:crypto"
import { NoiseError } from "./NoiseError.ts"

/** Length of a private key, a public key and a shared secret, in bytes. */
export const keyLength = 32

/** A key pair whose private half stays inside the native key object. */
export interface KeyPair {
  /** 32 bytes, little-endian u-coordinate. */
  readonly publicKey: Uint8Array
  readonly privateKey: KeyObject
}

// RFC 8410: what stands before the raw key in PKCS #8 and in SubjectPublicKeyInfo.
const privatePrefix = Buffer.from("302e020100300506032b656e04220420", "hex")
const publicPrefix = Buffer.from("302a300506032b656e032100", "hex")

const exportPublic = (key: KeyObject): Uint8Array =>
  new Uint8Array(key.export({ format: "der", type: "spki" }).subarray(publicPrefix.length))

const checkLength = (kind: string, raw: Uint8Array): void => {
  if (raw.length !== keyLength) {
    throw new NoiseError("BadKey", `an X25519 ${kind} key has ${keyLength} bytes, this one has ${raw.length}`)
  }
}

/** Makes a fresh key pair from the system's random source. */
export const generate = (): KeyPair => {
  const { privateKey, publicKey } = generateKeyPairSync("x25519")
  return { publicKey: exportPublic(publicKey), privateKey }
}

/** Imports a raw private key; the scalar is clamped when it is used, as RFC 7748 says. */
export const fromPrivateKey = (raw: Uint8Array): KeyPair => {
  checkLength("private", raw)
  const privateKey = createPrivateKey({ key: Buffer.concat([privatePrefix, raw]), format: "der", type: "pkcs8" })
  return { publicKey: exportPublic(createPublicKey(privateKey)), privateKey }
}

/**
 * The shared secret of a key pair and the peer's raw public key.
 *
 * Throws `NoiseError` `BadKey` when the result is all zero: such a secret is known to everyone (RFC 7748 section 6.1).
 */
export const diffieHellman = (pair: KeyPair, remotePublicKey: Uint8Array): Uint8Array => {
  checkLength("public", remotePublicKey)
  let shared: Uint8Array
  try {
    const publicKey = createPublicKey({
      key: Buffer.concat([publicPrefix, remotePublicKey]),
      format: "der",
      type: "spki"
    })
    shared = nativeDiffieHellman({ privateKey: pair.privateKey, publicKey })
  } catch {
    throw new NoiseError("BadKey", "the peer's X25519 public key is a point of low order, or no key at all")
  }
  let bits = 0
  for (const byte of shared) bits |= byte
  if (bits === 0) throw new NoiseError("BadKey", "the peer's X25519 public key gives an all-zero shared secret")
  return shared
}
