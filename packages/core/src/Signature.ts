/**
 * Ed25519 behind one interface: `native` is the runtime's own (about 10 µs to sign, 34 µs to verify), `portable` is pure
 * JavaScript for runtimes without it, and both give the same answer for every input.
 *
 * Libraries differ at the edges of RFC 8032, so the edges are fixed here, before and around either of them. A signature
 * is refused when
 * - it is not 64 bytes or the key is not 32;
 * - S is not below the group order (RFC 8032, 5.1.7; otherwise signatures are malleable);
 * - the key or R is not canonical (y not below p, or x = 0 with the sign bit set) or has small order (such a key verifies
 *   one signature under many messages);
 * - the equation S·B = R + k·A does not hold without the cofactor. RFC 8032 leaves a verifier the choice; OpenSSL and
 *   BoringSSL take this one, so the portable scheme computes R that way instead of calling its library's verify.
 */
import { createHash, createPrivateKey, createPublicKey, sign as nativeSign, verify as nativeVerify } from "node:crypto"
import type { KeyObject } from "node:crypto"
import * as ed25519 from "@noble/ed25519"

/** Length of a private seed (RFC 8032, 5.1.5), in bytes. */
export const SEED_BYTES = 32
/** Length of a signature, in bytes. */
export const SIGNATURE_BYTES = 64
/** Most imported public keys kept by `native`: importing costs more than verifying. Beyond it the oldest goes. */
export const MAX_CACHED_KEYS = 2_048

/** One implementation of Ed25519 (RFC 8032, pure). All of it but `verifyApart` is synchronous. */
export interface SignatureScheme {
  readonly name: "native" | "portable"
  /** The 32-byte public key of a 32-byte seed; throws a `RangeError` for another length. */
  readonly publicKey: (seed: Uint8Array) => Uint8Array
  /** A function that signs with this seed: what to keep for signing often. Throws a `RangeError` as `publicKey` does. */
  readonly signer: (seed: Uint8Array) => (message: Uint8Array) => Uint8Array
  /** Signs once: `signer(seed)(message)`. */
  readonly sign: (seed: Uint8Array, message: Uint8Array) => Uint8Array
  /** Whether the signature holds. False, and never a throw, for keys and signatures of any bytes and length. */
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  /**
   * As `verify`, on another thread where the runtime has one for it, so that others are served meanwhile: Bun has, Deno has not.
   * `done` hears the same answer once, after this has returned or before. None of the bytes may change until then.
   */
  readonly verifyApart: (
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
    done: (holds: boolean) => void
  ) => void
}

const littleEndian = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex")).reverse()

/** L, the order of the base point, little-endian. */
const order = littleEndian("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed")
/** p = 2^255 - 19, little-endian. */
const prime = littleEndian("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed")
/** The y coordinates of the eight points of small order: 0 (order 4), 1 (order 1), -1 (order 2) and two of order 8. */
const smallOrder = [
  littleEndian("00".repeat(32)),
  littleEndian("00".repeat(31) + "01"),
  littleEndian("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec"),
  littleEndian("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826"),
  littleEndian("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7")
]

/** Whether the little-endian number at `offset`, its top bit masked away by `topMask`, is below `bound`. */
const isBelow = (bytes: Uint8Array, offset: number, topMask: number, bound: Uint8Array): boolean => {
  for (let i = 31; i >= 0; i--) {
    const byte = i === 31 ? bytes[offset + i]! & topMask : bytes[offset + i]!
    if (byte !== bound[i]!) return byte < bound[i]!
  }
  return false
}

/** Whether the first 32 bytes have the y coordinate of a point of small order (of either sign). */
const hasSmallOrder = (point: Uint8Array): boolean =>
  smallOrder.some((y) => {
    for (let i = 0; i < 31; i++) if (point[i] !== y[i]) return false
    return (point[31]! & 0x7f) === y[31]
  })

/** What both schemes refuse before they compute anything. */
const admissible = (publicKey: Uint8Array, signature: Uint8Array): boolean =>
  publicKey.length === 32 &&
  signature.length === SIGNATURE_BYTES &&
  isBelow(signature, 32, 0xff, order) &&
  isBelow(publicKey, 0, 0x7f, prime) &&
  isBelow(signature, 0, 0x7f, prime) &&
  !hasSmallOrder(publicKey) &&
  !hasSmallOrder(signature)

const checkSeed = (seed: Uint8Array): void => {
  if (seed.length !== SEED_BYTES) {
    throw new RangeError(`An Ed25519 seed has ${SEED_BYTES} bytes, this one has ${seed.length}`)
  }
}

/** PKCS #8 and SubjectPublicKeyInfo up to the raw key (RFC 8410). */
const privatePrefix = Buffer.from("302e020100300506032b657004220420", "hex")
const publicPrefix = Buffer.from("302a300506032b6570032100", "hex")

const importPrivate = (seed: Uint8Array): KeyObject => {
  checkSeed(seed)
  return createPrivateKey({ key: Buffer.concat([privatePrefix, seed]), format: "der", type: "pkcs8" })
}

const importedKeys = new Map<string, KeyObject>()

const importPublic = (publicKey: Uint8Array): KeyObject => {
  const id = Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.byteLength).toString("latin1")
  const known = importedKeys.get(id)
  if (known !== undefined) return known
  const key = createPublicKey({ key: Buffer.concat([publicPrefix, publicKey]), format: "der", type: "spki" })
  if (importedKeys.size >= MAX_CACHED_KEYS) {
    for (const oldest of importedKeys.keys()) {
      importedKeys.delete(oldest)
      break
    }
  }
  importedKeys.set(id, key)
  return key
}

const nativeSigner = (seed: Uint8Array): ((message: Uint8Array) => Uint8Array) => {
  const key = importPrivate(seed)
  return (message) => new Uint8Array(nativeSign(null, message, key))
}

const nativeVerifyHere: SignatureScheme["verify"] = (publicKey, message, signature) => {
  if (!admissible(publicKey, signature)) return false
  try {
    return nativeVerify(null, message, importPublic(publicKey), signature)
  } catch {
    // Some runtimes refuse to import bytes that are not a point of the curve; to others they just verify nothing.
    return false
  }
}

/** Whether `node:crypto` verifies on another thread when it is given a callback. Deno does it at once, and calls back later. */
const hasThreads = !("Deno" in globalThis)

/** The runtime's own Ed25519, through `node:crypto`. */
export const native: SignatureScheme = {
  name: "native",
  publicKey: (seed) =>
    new Uint8Array(createPublicKey(importPrivate(seed)).export({ format: "der", type: "spki" }).subarray(-32)),
  signer: nativeSigner,
  sign: (seed, message) => nativeSigner(seed)(message),
  verify: nativeVerifyHere,
  verifyApart: (publicKey, message, signature, done) => {
    if (!hasThreads) return done(nativeVerifyHere(publicKey, message, signature))
    if (!admissible(publicKey, signature)) return done(false)
    let key: KeyObject
    try {
      key = importPublic(publicKey)
    } catch {
      return done(false)
    }
    nativeVerify(null, message, key, signature, (error, holds) => done(!error && holds))
  }
}

const sha512 = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const hash = createHash("sha512")
  for (const part of parts) hash.update(part)
  return new Uint8Array(hash.digest())
}
ed25519.hashes.sha512 = (message) => sha512(message) as Uint8Array<ArrayBuffer>

const curveOrder = ed25519.Point.CURVE().n
const toNumber = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`)

const portableSigner = (seed: Uint8Array): ((message: Uint8Array) => Uint8Array) => {
  checkSeed(seed)
  const kept = Uint8Array.from(seed)
  return (message) => ed25519.sign(message, kept)
}

const portableVerify: SignatureScheme["verify"] = (publicKey, message, signature) => {
  if (!admissible(publicKey, signature)) return false
  const encodedR = signature.subarray(0, 32)
  const s = toNumber(signature.subarray(32))
  const k = toNumber(sha512(encodedR, publicKey, message)) % curveOrder
  if (s === 0n || k === 0n) return false
  try {
    const a = ed25519.Point.fromBytes(Uint8Array.from(publicKey), false)
    const r = ed25519.Point.BASE.multiply(s, false).subtract(a.multiply(k, false)).toBytes()
    return r.every((byte, i) => byte === encodedR[i])
  } catch {
    // Not a point of the curve.
    return false
  }
}

/** Ed25519 in JavaScript (`@noble/ed25519`), for a runtime that has none: same answers, about twenty times slower. */
export const portable: SignatureScheme = {
  name: "portable",
  publicKey: (seed) => {
    checkSeed(seed)
    return ed25519.getPublicKey(Uint8Array.from(seed))
  },
  signer: portableSigner,
  sign: (seed, message) => portableSigner(seed)(message),
  verify: portableVerify,
  verifyApart: (publicKey, message, signature, done) => done(portableVerify(publicKey, message, signature))
}

const hasNative = (): boolean => {
  try {
    return native.publicKey(new Uint8Array(SEED_BYTES)).length === 32
  } catch {
    return false
  }
}

/** `native` where the runtime has Ed25519 (Bun, Deno and Node do), else `portable`. */
export const best: SignatureScheme = hasNative() ? native : portable
