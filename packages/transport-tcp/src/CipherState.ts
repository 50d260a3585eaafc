/** One direction of a Noise session: a key and a message counter (Noise specification, section 5.1). */
import * as Aead from "./internal/Aead.ts"
import { NoiseError } from "./NoiseError.ts"

export type Cipher = Aead.Cipher

/** Bytes that sealing adds to a plaintext. */
export const tagLength = Aead.tagLength

/**
 * Both ends replace a direction's key (Noise `REKEY`) after this many messages.
 *
 * 2^20 records of 64 KiB are 2^32 AES blocks under one key: an attacker's advantage stays below 2^-64, well inside the
 * 2^-57 that TLS 1.3 (RFC 8446 section 5.5) is content with, and a stolen key opens at most 64 GiB. It costs one seal.
 */
export const rekeyInterval = 2 ** 20

export interface CipherStateOptions {
  /** A power of two; both ends must agree. Default `rekeyInterval`. */
  readonly rekeyInterval?: number
  /** The number of the first message, below 2^64. Default 0. */
  readonly nonce?: bigint
}

const word = 2 ** 32
const zeros = new Uint8Array(Aead.keyLength)
const empty = new Uint8Array(0)

/**
 * Seals or opens the messages of one direction, in order, each with the next nonce.
 *
 * The counter runs through the whole session (a new key does not reset it) and ends before 2^64 - 1, the nonce that `REKEY`
 * uses; from there on every call throws `NoiseError` `NonceExhausted`. A message that does not open leaves the state as it was.
 */
export class CipherState {
  readonly cipher: Cipher
  readonly #key: Uint8Array
  // The nonce as the cipher takes it: 32 zero bits, then the counter, big-endian for AESGCM, little-endian for ChaChaPoly.
  readonly #nonce = new Uint8Array(Aead.nonceLength)
  readonly #nonceView = new DataView(this.#nonce.buffer)
  readonly #rekeyMask: number
  #low: number
  #high: number

  constructor(cipher: Cipher, key: Uint8Array, options: CipherStateOptions = {}) {
    const interval = options.rekeyInterval ?? rekeyInterval
    if (key.length !== Aead.keyLength) throw new NoiseError("BadKey", `a cipher key has 32 bytes, not ${key.length}`)
    if (!Number.isInteger(Math.log2(interval)) || interval > 2 ** 31) {
      throw new RangeError(`the rekey interval must be a power of two up to 2^31, not ${interval}`)
    }
    const nonce = options.nonce ?? 0n
    this.cipher = cipher
    this.#key = Uint8Array.from(key)
    this.#rekeyMask = interval - 1
    this.#low = Number(nonce & 0xffff_ffffn)
    this.#high = Number(nonce >> 32n)
    this.#writeNonce(this.#low, this.#high)
  }

  /** The number of the next message. */
  get nonce(): bigint {
    return (BigInt(this.#high) << 32n) | BigInt(this.#low)
  }

  /**
   * Seals `plaintext ‖ more` into `out` at `outOffset` and returns the bytes written, `tagLength` more than there were. Without
   * `more`, `plaintext` may be a part of `out`. Throws `RangeError`, and uses no nonce, when `out` is too small.
   */
  seal(out: Uint8Array, outOffset: number, plaintext: Uint8Array, more?: Uint8Array): number {
    const bytes = plaintext.length + (more === undefined ? 0 : more.length)
    if (out.length - outOffset < bytes + tagLength) {
      throw new RangeError(`sealing ${bytes} bytes needs ${tagLength} more, ${out.length - outOffset} are there`)
    }
    this.#ready()
    const written = Aead.seal(this.cipher, this.#key, this.#nonce, undefined, plaintext, out, outOffset, more)
    this.#advance()
    return written
  }

  /** Opens `ciphertext` (with its tag) into a buffer that nobody else holds; `undefined` when the tag does not match. */
  openFresh(ciphertext: Uint8Array): Uint8Array | undefined {
    this.#ready()
    const plaintext = Aead.open(this.cipher, this.#key, this.#nonce, undefined, ciphertext)
    if (plaintext !== undefined) this.#advance()
    return plaintext
  }

  /** Opens `ciphertext` into `out` at `outOffset`: the bytes written, or -1, and nothing written, when the tag does not match. */
  open(ciphertext: Uint8Array, out: Uint8Array, outOffset: number): number {
    if (out.length - outOffset < ciphertext.length - tagLength) {
      throw new RangeError(`${ciphertext.length - tagLength} bytes do not fit into ${out.length - outOffset}`)
    }
    const plaintext = this.openFresh(ciphertext)
    if (plaintext === undefined) return -1
    out.set(plaintext, outOffset)
    return plaintext.length
  }

  /** Noise `EncryptWithAd`, for handshake messages. */
  encryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    this.#ready()
    const out = new Uint8Array(plaintext.length + tagLength)
    Aead.seal(this.cipher, this.#key, this.#nonce, ad, plaintext, out, 0)
    this.#advance()
    return out
  }

  /** Noise `DecryptWithAd`, for handshake messages; `undefined` when the tag does not match. */
  decryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    this.#ready()
    const plaintext = Aead.open(this.cipher, this.#key, this.#nonce, ad, ciphertext)
    if (plaintext !== undefined) this.#advance()
    return plaintext
  }

  /** Noise `REKEY`: the new key is what the old one makes of 32 zero bytes under nonce 2^64 - 1. The counter stays. */
  rekey(): void {
    const out = new Uint8Array(zeros.length + tagLength)
    this.#writeNonce(word - 1, word - 1)
    Aead.seal(this.cipher, this.#key, this.#nonce, empty, zeros, out, 0)
    this.#writeNonce(this.#low, this.#high)
    this.#key.set(out.subarray(0, Aead.keyLength))
  }

  #ready(): void {
    if (this.#high === word - 1 && this.#low === word - 1) {
      throw new NoiseError("NonceExhausted", "this direction has sent 2^64 - 1 messages: open a new session")
    }
  }

  #advance(): void {
    this.#low++
    if (this.#low === word) {
      this.#low = 0
      this.#high++
    }
    this.#writeNonce(this.#low, this.#high)
    if ((this.#low & this.#rekeyMask) === 0) this.rekey()
  }

  #writeNonce(low: number, high: number): void {
    if (this.cipher === "AESGCM") {
      this.#nonceView.setUint32(4, high)
      this.#nonceView.setUint32(8, low)
    } else {
      this.#nonceView.setUint32(4, low, true)
      this.#nonceView.setUint32(8, high, true)
    }
  }
}
