/**
 * The Parley handshake as a pure state machine: bytes in, bytes and an outcome out, no sockets and no clock.
 *
 * ```
 * initiator                                              responder
 *   offer ‖ e [‖ knock]                    →
 *                                          ←   choice ‖ e, ee, s, es, {identity, signature, …}
 *   s, se [, psk], {identity, signature, …, early data}  →
 * ```
 *
 * - The prologue is `"parley/1" ‖ offer ‖ choice`. No key is mixed before message 2, so the initiator can send its ephemeral key
 *   first and build its Noise state, replaying that message, when it knows the choice. Whoever changes offer or choice on the way
 *   makes message 2 or message 3 fail: there is no downgrade.
 * - In a network with a key the pattern is `XXpsk3`, and the first message ends with a knock: an HMAC under the network key over offer
 *   and ephemeral key. The responder answers nobody else, so who lacks the key does not even learn the identity behind the
 *   port. A replayed knock yields an answer that only the owner of the ephemeral key can read.
 * - Each end signs, with its Ed25519 identity, its role, its Noise static key and the handshake hash just before the payload. The
 *   hash covers both fresh ephemeral keys, so a signature serves one session only: a stolen static key impersonates nobody
 *   without the identity key. (Signing the static key alone, as libp2p does, would be valid for as long as that key is.)
 * - In a network with a root, each end shows its member certificate in its payload, and looks at the other's before it goes on: an
 *   initiator says nothing of itself to a responder that is no member, and a responder answers message 3 of one that is none
 *   with the reason alone.
 * - Early data rides in message 3, encrypted to a responder that has proved its identity and, with `XXpsk3`, readable only with
 *   the network key. The responder's ephemeral key is in the transcript, so early data cannot be replayed.
 */
import { timingSafeEqual } from "node:crypto"
import type { CipherState } from "./CipherState.ts"
import * as CipherSuite from "./CipherSuite.ts"
import type { Cipher } from "./CipherSuite.ts"
import { HandshakeError } from "./HandshakeError.ts"
import type { HandshakeReason } from "./HandshakeError.ts"
import type { RefusedCode } from "@parley/core/MemberCertificate"
import { hmac } from "./internal/Hkdf.ts"
import * as Wire from "./internal/HandshakeWire.ts"
import * as Noise from "./Noise.ts"
import { NoiseError } from "./NoiseError.ts"
import * as X25519 from "./X25519.ts"

/** The newest protocol version this build speaks. */
export const version = Wire.maxVersion

/** Most bytes of early data: a small request fits, and an unproven peer can make a responder hold no more than this. */
export const maxEarlyData = 16_384

/** Most bytes of the upper layer's settings. */
export const maxSettings = 512

/** Most bytes of a member certificate (`@parley/core/MemberCertificate`). */
export const maxCertificate = 256

/** Room for all payload fields but early data, those of later versions included. */
const maxFields = 1_024

/** Longest first message: version 1 has 44 or 76 bytes; the rest lets this build tell a newer version what it speaks. */
export const maxFirstMessage = 256

/** Longest answer: choice, ephemeral key, sealed static key, sealed fields. */
export const maxSecondMessage = Wire.headLength + 32 + 48 + maxFields + 16

/** Longest third message: sealed static key, sealed fields, early data. */
export const maxThirdMessage = 48 + maxFields + 3 + maxEarlyData + 16

/** Largest frame that this end accepts unless told otherwise: 1 MiB. */
export const defaultMaxFrame = 1_048_576

const encoder = new TextEncoder()
const prologueLabel = encoder.encode("parley/1")
const knockLabel = encoder.encode("parley/1 knock")
const signatureLabel = encoder.encode("parley/1 handshake")
const knockLength = 32
const empty = new Uint8Array(0)

export type Role = "initiator" | "responder"

export interface Options {
  /** This node's Ed25519 public key, 32 bytes. */
  readonly identity: Uint8Array
  /** Signs with this node's identity: 64 bytes. */
  readonly sign: (message: Uint8Array) => Uint8Array
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  /** The Noise static key: made once per process start, never stored. */
  readonly staticKey: X25519.KeyPair
  /** 32 random bytes that every node of a closed network has; not a password, for a knock can be tried offline. */
  readonly networkKey?: Uint8Array
  /** In order of preference; default `CipherSuite.available()`. */
  readonly ciphers?: ReadonlyArray<Cipher>
  /** Bit set of 32 optional features; both ends get the intersection. Default 0. */
  readonly features?: number
  /** Largest frame this end accepts, in bytes. Default `defaultMaxFrame`. */
  readonly maxFrame?: number
  /** What the upper layer tells its peer, up to `maxSettings` bytes; authenticated and encrypted. */
  readonly settings?: Uint8Array
  /** In a network with a root: what this end shows, and whether a peer is let in that has proved its key. */
  readonly membership?: {
    readonly certificate: Uint8Array
    readonly admit: (
      peer: Uint8Array,
      certificate: Uint8Array | undefined
    ) => { readonly code: RefusedCode; readonly detail: string } | undefined
  }
  /** A fixed ephemeral key, for test vectors only. */
  readonly ephemeral?: X25519.KeyPair
}

export interface InitiatorOptions extends Options {
  /** The Ed25519 public key that was dialled; another one fails with `UnexpectedPeer` before anything is told to it. */
  readonly expectedPeer?: Uint8Array
  /** Up to `maxEarlyData` bytes for the responder, or a function that is asked when the peer has proved who it is. */
  readonly earlyData?: Uint8Array | ((peer: Peer) => Uint8Array)
}

/** What the handshake proved or agreed about the other end. */
export interface Peer {
  /** Its Ed25519 public key, 32 bytes. */
  readonly peer: Uint8Array
  readonly version: number
  readonly cipher: Cipher
  /** What both ends support. */
  readonly features: number
  /** The largest frame it accepts, in bytes. */
  readonly maxFrame: number
  /** Its upper layer's settings. */
  readonly settings: Uint8Array
  /** Its member certificate as it was shown; empty where its network has no root. */
  readonly certificate: Uint8Array
}

export interface Outcome extends Peer {
  readonly role: Role
  readonly send: CipherState
  readonly receive: CipherState
  /** 32 bytes unique to this session: bind what must belong to it. */
  readonly handshakeHash: Uint8Array
  /** The first plaintext of the peer, at the responder; empty at the initiator. */
  readonly earlyData: Uint8Array
  /** Bytes that came after the handshake and belong to the transport; a view of the chunk given to `receive`. */
  readonly rest: Uint8Array
}

/** What to do after a chunk. Whenever `send` is there, write it, also before closing on `Failed`. */
export type Step =
  | { readonly _tag: "Pending"; readonly send: Uint8Array | undefined }
  | { readonly _tag: "Established"; readonly send: Uint8Array | undefined; readonly outcome: Outcome }
  | {
      readonly _tag: "Failed"
      readonly send: Uint8Array | undefined
      readonly error: HandshakeError
      /** The peer has proved its key and is no member: it can be told so, and nothing else, in this session. */
      readonly outcome?: Outcome
    }

export interface Handshake {
  readonly role: Role
  /** Written as soon as the connection stands; empty at the responder. */
  readonly hello: Uint8Array
  /** Takes the next bytes of the connection, in pieces of any size. No input makes it throw; after the end it answers `OutOfOrder`. */
  readonly receive: (chunk: Uint8Array) => Step
}

/** What a responder writes before it closes a connection that it does not want to handle now. */
export const busy: Uint8Array = Wire.encodeRefusal("Busy") ?? empty

const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b)

const fail = (reason: HandshakeReason, message: string, peer?: Uint8Array): HandshakeError =>
  new HandshakeError(reason, message, peer === undefined ? {} : { peer })

const knock = (networkKey: Uint8Array, offer: Uint8Array, ephemeral: Uint8Array): Uint8Array =>
  hmac(networkKey, knockLabel, offer, ephemeral)

/** What an identity signs: label, role (0 initiator, 1 responder), Noise static public key, handshake hash. */
const proof = (role: Role, staticPublicKey: Uint8Array, hash: Uint8Array): Uint8Array =>
  concat(signatureLabel, Uint8Array.of(role === "initiator" ? 0 : 1), staticPublicKey, hash)

const payload = (role: Role, options: Options, earlyData: Uint8Array) => (hash: Uint8Array) =>
  Wire.encodeFields({
    identity: options.identity,
    signature: options.sign(proof(role, options.staticKey.publicKey, hash)),
    maxFrame: options.maxFrame ?? defaultMaxFrame,
    settings: options.settings ?? empty,
    earlyData,
    certificate: options.membership?.certificate ?? empty
  })

/** Reads a payload and believes the identity in it only with its signature over this session. */
const verified = (noise: Noise.HandshakeState, bytes: Uint8Array, role: Role, options: Options): Wire.Fields => {
  const fields = Wire.decodeFields(bytes, {
    settings: maxSettings,
    earlyData: role === "initiator" ? maxEarlyData : 0,
    certificate: maxCertificate
  })
  const message = proof(role, noise.remoteStatic ?? empty, noise.payloadHash)
  let valid = false
  try {
    valid = options.verify(fields.identity, message, fields.signature)
  } catch {
    // A verifier may throw on 32 bytes that are no point of the curve: no valid signature either.
  }
  if (!valid)
    throw fail("BadIdentitySignature", "the peer shows an identity without a valid signature for this session")
  if (equal(fields.identity, options.identity)) {
    throw fail(
      "SelfDial",
      "the other end is this node: remove its own address from the addresses to dial",
      fields.identity
    )
  }
  return fields
}

/** Why the peer is not let in; a check that breaks lets nobody in. */
const outsider = ({ membership }: Options, { certificate, identity }: Wire.Fields): HandshakeError | undefined => {
  if (membership === undefined) return undefined
  const refused = membership.admit(identity, certificate.length === 0 ? undefined : certificate)
  return refused === undefined ? undefined : fail(refused.code, refused.detail, identity)
}

const noiseOptions = (options: Options, cipher: Cipher, offer: Uint8Array, choice: Uint8Array): Noise.Options => ({
  pattern: options.networkKey === undefined ? "XX" : "XXpsk3",
  cipher,
  prologue: concat(prologueLabel, offer, choice),
  staticKey: options.staticKey,
  ...(options.ephemeral === undefined ? {} : { ephemeral: options.ephemeral }),
  ...(options.networkKey === undefined ? {} : { psk: options.networkKey })
})

/** Options that this node's own code got wrong are bugs, not failures of a peer. */
const check = (options: Options): void => {
  const wrong = (what: string) => new RangeError(`handshake options: ${what}`)
  if (options.identity.length !== 32) throw wrong("the identity is an Ed25519 public key of 32 bytes")
  if (options.networkKey !== undefined && options.networkKey.length !== Noise.pskLength)
    throw wrong("a network key has 32 bytes")
  if ((options.settings?.length ?? 0) > maxSettings) throw wrong(`settings have at most ${maxSettings} bytes`)
  if ((options.membership?.certificate.length ?? 0) > maxCertificate)
    throw wrong(`a certificate has at most ${maxCertificate} bytes`)
  if (options.ciphers?.length === 0) throw wrong("at least one cipher is needed")
  const maxFrame = options.maxFrame ?? defaultMaxFrame
  if (!Number.isInteger(maxFrame) || maxFrame < 1 || maxFrame >= 2 ** 32) throw wrong("maxFrame is 1 to 2^32 - 1 bytes")
}

const asHandshakeError = (cause: unknown): HandshakeError => {
  if (cause instanceof HandshakeError) return cause
  if (cause instanceof NoiseError) {
    const reason = cause.reason === "BadMac" || cause.reason === "BadKey" ? cause.reason : "Malformed"
    return fail(reason, cause.message)
  }
  throw cause
}

const oversized = (what: string, min: number, max: number) => (length: number) =>
  length > max
    ? fail("Oversized", `${what} declares ${length} bytes, the limit is ${max}`)
    : fail("Malformed", `${what} declares ${length} bytes, the least is ${min}`)

/** One expected frame after the other; `onFrame` returns what follows. */
type Next =
  | { readonly step: Step; readonly reader: Wire.FrameReader; readonly onFrame: OnFrame }
  | { readonly step: Step; readonly reader: undefined }
type OnFrame = (body: Uint8Array, rest: Uint8Array) => Next

const machine = (role: Role, hello: Uint8Array, first: Wire.FrameReader, onFirst: OnFrame): Handshake => {
  let reader: Wire.FrameReader | undefined = first
  let onFrame = onFirst
  return {
    role,
    hello,
    receive(chunk) {
      if (reader === undefined) {
        return { _tag: "Failed", send: undefined, error: fail("OutOfOrder", "this handshake has ended") }
      }
      try {
        const { body, used } = reader.push(chunk)
        if (body === undefined) return { _tag: "Pending", send: undefined }
        const next = onFrame(body, chunk.subarray(used))
        reader = next.reader
        if (next.reader !== undefined) onFrame = next.onFrame
        return next.step
      } catch (cause) {
        const open = role === "responder" && reader === first
        reader = undefined
        const error = asHandshakeError(cause)
        return { _tag: "Failed", send: open ? Wire.encodeRefusal(error.reason) : undefined, error }
      }
    }
  }
}

const noRest = (rest: Uint8Array): void => {
  if (rest.length > 0) throw fail("OutOfOrder", `the peer sent ${rest.length} bytes before its turn`)
}

/** The end that dialled: write `hello`, then feed `receive`. */
export const initiator = (options: InitiatorOptions): Handshake => {
  check(options)
  const ephemeral = options.ephemeral ?? X25519.generate()
  const ciphers = CipherSuite.toBits(options.ciphers ?? CipherSuite.available())
  const features = (options.features ?? 0) >>> 0
  const { minVersion, maxVersion } = Wire
  const networkKey = options.networkKey
  const offer = Wire.encodeOffer({ minVersion, maxVersion, networkKey: networkKey !== undefined, ciphers, features })
  const hello = Wire.frame(
    offer,
    ephemeral.publicKey,
    networkKey === undefined ? empty : knock(networkKey, offer, ephemeral.publicKey)
  )
  const reader = new Wire.FrameReader(Wire.headLength, maxSecondMessage, (length) =>
    fail(
      "WrongMagic",
      `the first two bytes of the answer, read as a length, say ${length}: the other end does not speak Parley`
    )
  )
  return machine("initiator", hello, reader, (body, rest) => {
    const choice = Wire.decodeChoice(body)
    const cipher = CipherSuite.fromBit(choice.cipher & ciphers)
    if (choice.version < minVersion || choice.version > maxVersion) {
      throw fail(
        "UnsupportedVersion",
        `the peer chose version ${choice.version}, this node speaks ${minVersion} to ${maxVersion}`
      )
    }
    if (cipher === undefined || choice.cipher !== CipherSuite.bit[cipher] || (choice.features & ~features) !== 0) {
      throw fail("Malformed", "the peer chose a cipher or features that were not offered")
    }
    noRest(rest)
    const noise = Noise.initiator({
      ...noiseOptions(options, cipher, offer, body.subarray(0, Wire.headLength)),
      ephemeral
    })
    noise.writeMessage(empty)
    const fields = verified(noise, noise.readMessage(body.subarray(Wire.headLength)), "responder", options)
    if (options.expectedPeer !== undefined && !equal(fields.identity, options.expectedPeer)) {
      throw fail("UnexpectedPeer", "another node answers at this address than the one dialled", fields.identity)
    }
    const refused = outsider(options, fields)
    if (refused !== undefined) throw refused
    const peer: Peer = {
      peer: fields.identity,
      version: choice.version,
      cipher,
      features: choice.features,
      maxFrame: fields.maxFrame,
      settings: fields.settings,
      certificate: fields.certificate
    }
    const earlyData = typeof options.earlyData === "function" ? options.earlyData(peer) : (options.earlyData ?? empty)
    if (earlyData.length > maxEarlyData) throw new RangeError(`early data has at most ${maxEarlyData} bytes`)
    const send = Wire.frame(noise.writeMessage(payload("initiator", options, earlyData)))
    const { handshakeHash, receive, send: sealing } = noise.split()
    const outcome: Outcome = {
      ...peer,
      role: "initiator",
      send: sealing,
      receive,
      handshakeHash,
      earlyData: empty,
      rest: empty
    }
    return { step: { _tag: "Established", send, outcome }, reader: undefined }
  })
}

/** The end that accepted: feed `receive`. It computes nothing costly before the offer, and the knock, have been checked. */
export const responder = (options: Options): Handshake => {
  check(options)
  const reader = new Wire.FrameReader(Wire.headLength, maxFirstMessage, (length) =>
    fail("WrongMagic", `the first two bytes, read as a length, say ${length}: the other end does not speak Parley`)
  )
  return machine("responder", empty, reader, (body, rest) => {
    const offer = Wire.decodeOffer(body)
    const networkKey = options.networkKey
    const length = Wire.headLength + X25519.keyLength + (offer.networkKey ? knockLength : 0)
    if (body.length !== length)
      throw fail("Malformed", `the first message has ${body.length} bytes instead of ${length}`)
    noRest(rest)
    if (networkKey === undefined && offer.networkKey) {
      throw fail("NetworkKeyUnexpected", "the peer asks for a network with a key and this node is in none")
    }
    const offerBytes = body.subarray(0, Wire.headLength)
    const ephemeral = body.subarray(Wire.headLength, Wire.headLength + X25519.keyLength)
    if (networkKey !== undefined) {
      if (!offer.networkKey) throw fail("NetworkKeyMissing", "the peer has no network key and this network needs one")
      if (!equal(knock(networkKey, offerBytes, ephemeral), body.subarray(length - knockLength))) {
        throw fail("NetworkKeyMismatch", "the peer has another network key")
      }
    }
    const cipher = CipherSuite.choose(offer.ciphers, options.ciphers ?? CipherSuite.available())
    if (cipher === undefined)
      throw fail("NoCommonCipher", `the peer offers none of our ciphers (its bit set is ${offer.ciphers})`)
    const features = (offer.features & (options.features ?? 0)) >>> 0
    const chosen = { version: Math.min(offer.maxVersion, Wire.maxVersion), cipher: CipherSuite.bit[cipher], features }
    const choice = Wire.encodeChoice(chosen)
    const noise = Noise.responder(noiseOptions(options, cipher, offerBytes, choice))
    noise.readEphemeral(ephemeral)
    const send = Wire.frame(choice, noise.writeMessage(payload("responder", options, empty)))
    const third = new Wire.FrameReader(64, maxThirdMessage, oversized("the third message", 64, maxThirdMessage))
    return {
      step: { _tag: "Pending", send },
      reader: third,
      onFrame: (message, after) => {
        const fields = verified(noise, noise.readMessage(message), "initiator", options)
        const { certificate, earlyData, identity, maxFrame, settings } = fields
        const refused = outsider(options, fields)
        const peer: Peer = {
          peer: identity,
          version: chosen.version,
          cipher,
          features,
          maxFrame,
          settings,
          certificate
        }
        const { handshakeHash, receive, send: sealing } = noise.split()
        const outcome: Outcome = {
          ...peer,
          role: "responder",
          send: sealing,
          receive,
          handshakeHash,
          earlyData: refused === undefined ? earlyData : empty,
          rest: refused === undefined ? after : empty
        }
        if (refused !== undefined) {
          return { step: { _tag: "Failed", send: undefined, error: refused, outcome }, reader: undefined }
        }
        return { step: { _tag: "Established", send: undefined, outcome }, reader: undefined }
      }
    }
  })
}
