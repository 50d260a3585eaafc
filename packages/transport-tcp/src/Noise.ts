/**
 * The Noise Protocol Framework, revision 34, for the patterns Parley speaks: `XX` and `XXpsk3` over X25519 and SHA-256.
 *
 * Pure and synchronous: messages go in and come out as byte arrays. `Handshake.ts` says what Parley puts into them.
 */
import { createHash } from "node:crypto"
import { CipherState, tagLength } from "./CipherState.ts"
import type { Cipher } from "./CipherState.ts"
import { hashLength, hkdf } from "./internal/Hkdf.ts"
import { NoiseError } from "./NoiseError.ts"
import * as X25519 from "./X25519.ts"

export type Pattern = "XX" | "XXpsk3"

/** No Noise message is longer (section 3). */
export const maxMessage = 65_535

/** Length of a pre-shared key, in bytes. */
export const pskLength = 32

export interface Options {
  readonly pattern: Pattern
  readonly cipher: Cipher
  /** Bytes that both ends must agree on, or the handshake fails. */
  readonly prologue: Uint8Array
  readonly staticKey: X25519.KeyPair
  /** A fixed ephemeral key, for test vectors and replayed first messages; a fresh one otherwise. Never use one twice. */
  readonly ephemeral?: X25519.KeyPair
  /** 32 bytes; needed by `XXpsk3`, refused by `XX`. */
  readonly psk?: Uint8Array
}

/** What a finished handshake leaves behind. */
export interface Session {
  readonly send: CipherState
  readonly receive: CipherState
  /** 32 bytes that both ends share and that no other session has: a channel binding (section 11.2). */
  readonly handshakeHash: Uint8Array
  readonly remoteStatic: Uint8Array
}

/** A payload, or a function that makes it of the handshake hash up to it, so that it can be bound to the session. */
export type Payload = Uint8Array | ((handshakeHash: Uint8Array) => Uint8Array)

type Token = "e" | "s" | "ee" | "es" | "se" | "psk"

const messages: { readonly [P in Pattern]: ReadonlyArray<ReadonlyArray<Token>> } = {
  XX: [["e"], ["e", "ee", "s", "es"], ["s", "se"]],
  XXpsk3: [["e"], ["e", "ee", "s", "es"], ["s", "se", "psk"]]
}

const empty = new Uint8Array(0)

const sha256 = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** Section 5.2: the chaining key, the transcript hash and, once there is a key, the handshake's cipher. */
class SymmetricState {
  readonly cipher: Cipher
  hash: Uint8Array
  #chainingKey: Uint8Array
  #state: CipherState | undefined

  constructor(pattern: Pattern, cipher: Cipher, prologue: Uint8Array) {
    const name = new TextEncoder().encode(`Noise_${pattern}_25519_${cipher}_SHA256`)
    this.cipher = cipher
    this.hash =
      name.length > hashLength ? sha256(name) : Uint8Array.from({ length: hashLength }, (_, i) => name[i] ?? 0)
    this.#chainingKey = this.hash
    this.mixHash(prologue)
  }

  get hasKey(): boolean {
    return this.#state !== undefined
  }

  mixHash(data: Uint8Array): void {
    this.hash = sha256(this.hash, data)
  }

  mixKey(input: Uint8Array): void {
    const out = hkdf(this.#chainingKey, input, 2 * hashLength)
    this.#chainingKey = out.subarray(0, 32)
    this.#state = new CipherState(this.cipher, out.subarray(32))
  }

  mixKeyAndHash(input: Uint8Array): void {
    const out = hkdf(this.#chainingKey, input, 3 * hashLength)
    this.#chainingKey = out.subarray(0, 32)
    this.mixHash(out.subarray(32, 64))
    this.#state = new CipherState(this.cipher, out.subarray(64))
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.#state === undefined ? plaintext : this.#state.encryptWithAd(this.hash, plaintext)
    this.mixHash(ciphertext)
    return ciphertext
  }

  decryptAndHash(ciphertext: Uint8Array): Uint8Array {
    const plaintext = this.#state === undefined ? ciphertext : this.#state.decryptWithAd(this.hash, ciphertext)
    if (plaintext === undefined) {
      throw new NoiseError(
        "BadMac",
        "a handshake message does not open: altered, or made with another key or transcript"
      )
    }
    this.mixHash(ciphertext)
    return plaintext
  }

  split(): readonly [CipherState, CipherState] {
    const out = hkdf(this.#chainingKey, empty, 2 * hashLength)
    this.#chainingKey.fill(0)
    this.#state = undefined
    return [new CipherState(this.cipher, out.subarray(0, 32)), new CipherState(this.cipher, out.subarray(32))]
  }
}

/** One end of a handshake (section 5.3). After it has thrown it answers every call with `OutOfOrder`. */
export class HandshakeState {
  readonly #initiator: boolean
  readonly #pattern: Pattern
  readonly #symmetric: SymmetricState
  readonly #staticKey: X25519.KeyPair
  readonly #psk: Uint8Array | undefined
  #ephemeral: X25519.KeyPair | undefined
  #remoteEphemeral: Uint8Array | undefined
  #remoteStatic: Uint8Array | undefined
  #payloadHash: Uint8Array = empty
  #next = 0
  #failed = false
  #split = false

  constructor(initiator: boolean, options: Options) {
    const wantsPsk = options.pattern === "XXpsk3"
    if (wantsPsk !== (options.psk !== undefined) || (options.psk !== undefined && options.psk.length !== pskLength)) {
      throw new NoiseError(
        "BadKey",
        wantsPsk ? "XXpsk3 needs a pre-shared key of 32 bytes" : "XX takes no pre-shared key"
      )
    }
    this.#initiator = initiator
    this.#pattern = options.pattern
    this.#symmetric = new SymmetricState(options.pattern, options.cipher, options.prologue)
    this.#staticKey = options.staticKey
    this.#psk = options.psk
    this.#ephemeral = options.ephemeral
  }

  /** True after the last message of the pattern: `split` may be called. */
  get isComplete(): boolean {
    return !this.#failed && this.#next === messages[this.#pattern].length
  }

  /** The peer's static public key, once its message has been read. */
  get remoteStatic(): Uint8Array | undefined {
    return this.#remoteStatic
  }

  /** The handshake hash just before the payload of the last message; both ends know the same. */
  get payloadHash(): Uint8Array {
    return this.#payloadHash
  }

  /** Makes the next message. Throws `NoiseError`. */
  writeMessage(payload: Payload): Uint8Array {
    return this.#step(true, () => {
      const parts: Array<Uint8Array> = []
      for (const token of this.#tokens()) {
        if (token === "e") {
          this.#ephemeral ??= X25519.generate()
          parts.push(this.#ephemeral.publicKey)
          this.#mixEphemeral(this.#ephemeral.publicKey)
        } else if (token === "s") {
          parts.push(this.#symmetric.encryptAndHash(this.#staticKey.publicKey))
        } else {
          this.#mix(token)
        }
      }
      this.#payloadHash = this.#symmetric.hash
      const plaintext = typeof payload === "function" ? payload(this.#payloadHash) : payload
      parts.push(this.#symmetric.encryptAndHash(plaintext))
      const message = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
      if (message.length > maxMessage) {
        throw new NoiseError("Oversized", `a message of ${message.length} bytes is over the limit of ${maxMessage}`)
      }
      let at = 0
      for (const part of parts) {
        message.set(part, at)
        at += part.length
      }
      return message
    })
  }

  /** Reads the peer's next message and returns its payload. Throws `NoiseError`. */
  readMessage(message: Uint8Array): Uint8Array {
    return this.#step(false, () => {
      if (message.length > maxMessage) {
        throw new NoiseError("Oversized", `a message of ${message.length} bytes is over the limit of ${maxMessage}`)
      }
      let at = 0
      const take = (length: number): Uint8Array => {
        if (message.length - at < length) {
          throw new NoiseError("Truncated", `message ${this.#next + 1} ends after ${message.length} bytes, too early`)
        }
        at += length
        return message.subarray(at - length, at)
      }
      for (const token of this.#tokens()) {
        if (token === "e") {
          this.#remoteEphemeral = Uint8Array.from(take(X25519.keyLength))
          this.#mixEphemeral(this.#remoteEphemeral)
        } else if (token === "s") {
          const length = X25519.keyLength + (this.#symmetric.hasKey ? tagLength : 0)
          this.#remoteStatic = Uint8Array.from(this.#symmetric.decryptAndHash(take(length)))
        } else {
          this.#mix(token)
        }
      }
      if (this.#symmetric.hasKey && message.length - at < tagLength) {
        throw new NoiseError("Truncated", `message ${this.#next + 1} has no room for the tag of its payload`)
      }
      this.#payloadHash = this.#symmetric.hash
      return this.#symmetric.decryptAndHash(message.subarray(at))
    })
  }

  /**
   * Reads a first message of which only the ephemeral key travelled, its payload being empty.
   *
   * `XX` adds nothing to the key; `XXpsk3` adds a tag under a key made of the ephemeral public key alone. Anyone can compute that
   * tag, so it proves nothing, and the reader computes it instead of receiving it: the transcript is the same.
   */
  readEphemeral(ephemeral: Uint8Array): void {
    this.#step(false, () => {
      if (this.#next !== 0) throw new NoiseError("OutOfOrder", "only the first message is an ephemeral key alone")
      if (ephemeral.length !== X25519.keyLength) throw new NoiseError("Truncated", "an ephemeral key has 32 bytes")
      this.#remoteEphemeral = Uint8Array.from(ephemeral)
      this.#mixEphemeral(this.#remoteEphemeral)
      this.#payloadHash = this.#symmetric.hash
      this.#symmetric.encryptAndHash(empty)
    })
  }

  /** The transport keys, once, after the last message. Throws `NoiseError` `OutOfOrder` before and after. */
  split(): Session {
    if (!this.isComplete || this.#split || this.#remoteStatic === undefined) {
      throw new NoiseError("OutOfOrder", "a handshake is split once, after its last message")
    }
    this.#split = true
    const [first, second] = this.#symmetric.split()
    this.#ephemeral = undefined
    return {
      send: this.#initiator ? first : second,
      receive: this.#initiator ? second : first,
      handshakeHash: this.#symmetric.hash,
      remoteStatic: this.#remoteStatic
    }
  }

  #tokens(): ReadonlyArray<Token> {
    return messages[this.#pattern][this.#next] ?? []
  }

  #step<A>(writing: boolean, body: () => A): A {
    const ours = (this.#next % 2 === 0) === this.#initiator
    if (this.#failed || this.#next >= messages[this.#pattern].length || ours !== writing) {
      const why = this.#failed ? "the handshake has failed" : "it is not this end's turn"
      this.#failed = true
      throw new NoiseError("OutOfOrder", `cannot ${writing ? "write" : "read"} a handshake message: ${why}`)
    }
    try {
      const result = body()
      this.#next++
      return result
    } catch (cause) {
      this.#failed = true
      throw cause
    }
  }

  #mixEphemeral(publicKey: Uint8Array): void {
    this.#symmetric.mixHash(publicKey)
    if (this.#psk !== undefined) this.#symmetric.mixKey(publicKey)
  }

  #mix(token: "ee" | "es" | "se" | "psk"): void {
    if (token === "psk") {
      this.#symmetric.mixKeyAndHash(this.#psk ?? empty)
      return
    }
    // The first letter names the initiator's key, the second the responder's.
    const [mine, theirs] = this.#initiator ? [token[0], token[1]] : [token[1], token[0]]
    const local = mine === "e" ? this.#ephemeral : this.#staticKey
    const remote = theirs === "e" ? this.#remoteEphemeral : this.#remoteStatic
    this.#symmetric.mixKey(X25519.diffieHellman(local!, remote!))
  }
}

/** The end that speaks first. */
export const initiator = (options: Options): HandshakeState => new HandshakeState(true, options)

/** The end that answers. */
export const responder = (options: Options): HandshakeState => new HandshakeState(false, options)
