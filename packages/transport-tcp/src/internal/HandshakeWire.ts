/** The bytes of the handshake outside Noise: offer, choice, refusal, payload fields and frames. `docs/protocol.md` has the tables. */
import { HandshakeError } from "../HandshakeError.ts"
import type { HandshakeReason } from "../HandshakeError.ts"

const encoder = new TextEncoder()
const magic = encoder.encode("PRLY")

/** The versions this build speaks, lowest and highest. */
export const minVersion = 1
export const maxVersion = 1

/** Offer, choice and refusal all have this many bytes. */
export const headLength = 12

/** The offer's only flag: this end has a network key. */
const networkKeyFlag = 0b1

/** How a refusal says its reason; 0 in this place is a choice. */
const statuses: { readonly [reason: string]: number } = {
  UnsupportedVersion: 1,
  NoCommonCipher: 2,
  NetworkKeyMissing: 3,
  NetworkKeyMismatch: 4,
  NetworkKeyUnexpected: 5,
  Malformed: 6,
  Busy: 7
} satisfies { readonly [R in HandshakeReason]?: number }

const refusalTexts: { readonly [status: number]: readonly [HandshakeReason, string] } = {
  1: ["UnsupportedVersion", "the peer speaks none of our protocol versions: update the older of the two nodes"],
  2: ["NoCommonCipher", "the peer has none of the ciphers this node offered"],
  3: [
    "NetworkKeyMissing",
    "the peer's network needs a network key and this node has none: configure the key of that network"
  ],
  4: ["NetworkKeyMismatch", "the peer's network has another network key than this node: compare the keys of both"],
  5: ["NetworkKeyUnexpected", "this node has a network key and the peer is in no network: it is not one of this mesh"],
  6: ["Malformed", "the peer could not read this node's offer"],
  7: ["Busy", "the peer has too many handshakes under way: try again later"]
}

export interface Offer {
  readonly minVersion: number
  readonly maxVersion: number
  readonly networkKey: boolean
  readonly ciphers: number
  readonly features: number
}

export interface Choice {
  readonly version: number
  readonly cipher: number
  readonly features: number
}

const head = (a: number, b: number, c: number, d: number, features: number): Uint8Array => {
  const bytes = new Uint8Array(headLength)
  bytes.set(magic)
  bytes.set([a, b, c, d], 4)
  new DataView(bytes.buffer).setUint32(8, features)
  return bytes
}

const featuresOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset, headLength).getUint32(8)

const checkMagic = (bytes: Uint8Array): void => {
  if (bytes.length < headLength || magic.some((byte, i) => bytes[i] !== byte)) {
    throw new HandshakeError("WrongMagic", "the other end does not speak Parley: check address and port")
  }
}

export const encodeOffer = (offer: Offer): Uint8Array =>
  head(offer.minVersion, offer.maxVersion, offer.networkKey ? networkKeyFlag : 0, offer.ciphers, offer.features)

/** Reads the first 12 bytes of a first message, checking magic, version and flags, in this order. */
export const decodeOffer = (bytes: Uint8Array): Offer => {
  checkMagic(bytes)
  const [low, high, flags, ciphers] = [bytes[4]!, bytes[5]!, bytes[6]!, bytes[7]!]
  if (low > high || low > maxVersion || high < minVersion) {
    throw new HandshakeError(
      "UnsupportedVersion",
      `the peer speaks versions ${low} to ${high}, this node ${minVersion} to ${maxVersion}: update the older of the two`
    )
  }
  if ((flags & ~networkKeyFlag) !== 0) throw new HandshakeError("Malformed", `the offer has unknown flags: ${flags}`)
  return {
    minVersion: low,
    maxVersion: high,
    networkKey: flags === networkKeyFlag,
    ciphers,
    features: featuresOf(bytes)
  }
}

export const encodeChoice = (choice: Choice): Uint8Array => head(choice.version, 0, 0, choice.cipher, choice.features)

/** A refusal in clear, or `undefined` for a reason that is never told to the peer. */
export const encodeRefusal = (reason: HandshakeReason): Uint8Array | undefined => {
  const status = statuses[reason]
  return status === undefined ? undefined : frame(head(maxVersion, status, 0, 0, 0))
}

/** Reads the first 12 bytes of an answer; throws the reason that a refusal carries. */
export const decodeChoice = (bytes: Uint8Array): Choice => {
  checkMagic(bytes)
  const [version, status, reserved, cipher] = [bytes[4]!, bytes[5]!, bytes[6]!, bytes[7]!]
  if (status !== 0) {
    const [reason, text] = refusalTexts[status] ?? [
      "Malformed",
      `the peer refused for a reason this node does not know: ${status}`
    ]
    throw new HandshakeError(reason, text, { origin: "peer" })
  }
  if (reserved !== 0) throw new HandshakeError("Malformed", "the choice has a reserved byte that is not zero")
  return { version, cipher, features: featuresOf(bytes) }
}

/** A message behind its length, u16 big-endian. */
export const frame = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const bytes = new Uint8Array(2 + length)
  new DataView(bytes.buffer).setUint16(0, length)
  let at = 2
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** Gathers one frame from chunks of any size; its memory is the frame's, allocated once the length is known to be allowed. */
export class FrameReader {
  readonly #min: number
  readonly #max: number
  readonly #refuse: (length: number) => HandshakeError
  #first: number | undefined
  #body: Uint8Array | undefined
  #filled = 0

  constructor(min: number, max: number, refuse: (length: number) => HandshakeError) {
    this.#min = min
    this.#max = max
    this.#refuse = refuse
  }

  /** The body once it is whole, and how much of `chunk` was used; throws when the length is not allowed. */
  push(chunk: Uint8Array): { readonly body: Uint8Array | undefined; readonly used: number } {
    let at = 0
    while (this.#body === undefined) {
      const byte = chunk[at]
      if (byte === undefined) return { body: undefined, used: at }
      at++
      if (this.#first === undefined) {
        this.#first = byte
      } else {
        const length = this.#first * 256 + byte
        if (length < this.#min || length > this.#max) throw this.#refuse(length)
        this.#body = new Uint8Array(length)
      }
    }
    const part = chunk.subarray(at, at + this.#body.length - this.#filled)
    this.#body.set(part, this.#filled)
    this.#filled += part.length
    return { body: this.#filled === this.#body.length ? this.#body : undefined, used: at + part.length }
  }
}

/** What a handshake payload says: type u8, length u16 big-endian, value; types ascend, unknown ones are passed over. */
export interface Fields {
  readonly identity: Uint8Array
  readonly signature: Uint8Array
  readonly maxFrame: number
  readonly settings: Uint8Array
  readonly earlyData: Uint8Array
  /** Empty where there is none. */
  readonly certificate: Uint8Array
}

const empty = new Uint8Array(0)
const field = { identity: 1, signature: 2, maxFrame: 3, settings: 4, earlyData: 5, certificate: 6 } as const

export const encodeFields = (fields: Fields): Uint8Array => {
  const maxFrame = new Uint8Array(4)
  new DataView(maxFrame.buffer).setUint32(0, fields.maxFrame)
  const entries: Array<readonly [number, Uint8Array]> = [
    [field.identity, fields.identity],
    [field.signature, fields.signature],
    [field.maxFrame, maxFrame]
  ]
  if (fields.settings.length > 0) entries.push([field.settings, fields.settings])
  if (fields.earlyData.length > 0) entries.push([field.earlyData, fields.earlyData])
  if (fields.certificate.length > 0) entries.push([field.certificate, fields.certificate])
  const bytes = new Uint8Array(entries.reduce((sum, [, value]) => sum + 3 + value.length, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const [type, value] of entries) {
    bytes[at] = type
    view.setUint16(at + 1, value.length)
    bytes.set(value, at + 3)
    at += 3 + value.length
  }
  return bytes
}

const malformed = (text: string) => new HandshakeError("Malformed", `the handshake payload ${text}`)

export const decodeFields = (
  bytes: Uint8Array,
  limits: { readonly settings: number; readonly earlyData: number; readonly certificate: number }
): Fields => {
  const found = new Map<number, Uint8Array>()
  let last = 0
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < 3) throw malformed("ends inside a field's head")
    const type = bytes[at]!
    const end = at + 3 + bytes[at + 1]! * 256 + bytes[at + 2]!
    if (type <= last) throw malformed(`has field ${type} after field ${last}; types must ascend`)
    if (end > bytes.length) throw malformed(`ends inside field ${type}`)
    found.set(type, bytes.subarray(at + 3, end))
    last = type
    at = end
  }
  const fixed = (type: number, length: number): Uint8Array => {
    const value = found.get(type)
    if (value?.length !== length) throw malformed(`has no field ${type} of ${length} bytes`)
    return Uint8Array.from(value)
  }
  const bounded = (type: number, limit: number): Uint8Array => {
    const value = found.get(type) ?? empty
    if (value.length > limit) {
      throw new HandshakeError("Oversized", `field ${type} has ${value.length} bytes, the limit is ${limit}`)
    }
    return value
  }
  const maxFrameBytes = fixed(field.maxFrame, 4)
  const maxFrame = new DataView(maxFrameBytes.buffer).getUint32(0)
  if (maxFrame === 0) throw malformed("allows no frames: field 3 is zero")
  return {
    identity: fixed(field.identity, 32),
    signature: fixed(field.signature, 64),
    maxFrame,
    settings: Uint8Array.from(bounded(field.settings, limits.settings)),
    earlyData: bounded(field.earlyData, limits.earlyData),
    certificate: Uint8Array.from(bounded(field.certificate, limits.certificate))
  }
}
