/**
 * Joining a private network by two texts that may be carried by hand: a request, and the invitation that answers it.
 *
 * The request holds the joiner's key and a key to seal for, and is signed: nothing in it is secret. The invitation holds the network's
 * key, and where it has a root the joiner's certificate; it is sealed for this one request, so nobody else can use it, and the joiner
 * forgets how to open it once it has joined. No text of this kind lets in whoever finds it.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  randomBytes
} from "node:crypto"
import * as Schema from "effect/Schema"
import type { Identity } from "@parley/core/Identity"
import * as NodeId from "@parley/core/NodeId"
import * as Revocations from "@parley/core/Revocations"
import * as Signature from "@parley/core/Signature"
import * as SignedBytes from "@parley/core/SignedBytes"

/** Longest invitation that is read, in characters: the longest list of revocations is most of it. */
export const MAX_INVITATION_LENGTH = 2 * Revocations.MAX_REVOCATIONS_BYTES
/** Names of networks: what every file system takes as a folder. */
export const NAME_PATTERN = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/

/** What a member needs to know of its network. */
export const Invited = Schema.Struct({
  v: Schema.Literal(1),
  name: Schema.String.check(Schema.isPattern(NAME_PATTERN)),
  /** The network key, as hex. */
  key: Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)),
  root: Schema.optionalKey(NodeId.NodeId),
  /** The joiner's member certificate, base64url; where there is a root. */
  certificate: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{1,400}$/))),
  revocations: Schema.optionalKey(Revocations.Revocations)
})
/** What a member needs to know of its network. */
export type Invited = typeof Invited.Type

/** Something about a network that cannot be done so: which text or step is wrong, and what to do. */
export class NetworkError extends Schema.TaggedError<NetworkError>()("NetworkError", {
  code: Schema.Literals([
    "BadName",
    "BadRequest",
    "BadInvitation",
    "NotForThisNode",
    "NoRoot",
    "Revoked",
    "BadList",
    "BadTime"
  ]),
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

const requestHead = "parley-request-1."
const invitationHead = "parley-invitation-1."
const requestBytes = 128
const info = Buffer.from("parley/invitation/1")
// RFC 8410: what stands before a raw X25519 key.
const publicHead = Buffer.from("302a300506032b656e032100", "hex")
const privateHead = Buffer.from("302e020100300506032b656e04220420", "hex")

const rawPublic = (key: ReturnType<typeof createPublicKey>): Buffer =>
  key.export({ format: "der", type: "spki" }).subarray(publicHead.length)

/** A new key to seal for: 32 bytes to keep until the invitation has come. */
export const makeOpener = (): Uint8Array =>
  new Uint8Array(
    generateKeyPairSync("x25519").privateKey.export({ format: "der", type: "pkcs8" }).subarray(privateHead.length)
  )

const privateKey = (raw: Uint8Array) =>
  createPrivateKey({ key: Buffer.concat([privateHead, raw]), format: "der", type: "pkcs8" })
const publicKey = (raw: Uint8Array) =>
  createPublicKey({ key: Buffer.concat([publicHead, raw]), format: "der", type: "spki" })

/** Asks to be let in: `parley-request-1.…`. */
export const request = (identity: Identity["Service"], opener: Uint8Array): string => {
  const body = Buffer.concat([identity.publicKey, rawPublic(createPublicKey(privateKey(opener)))])
  const signature = identity.sign(SignedBytes.make("join", body))
  return `${requestHead}${Buffer.concat([body, signature]).toString("base64url")}`
}

/** Who asks. */
export interface Request {
  readonly node: NodeId.NodeId
  readonly sealFor: Uint8Array
}

const bad = (detail: string) => new NetworkError({ code: "BadRequest", detail })

/** Reads a request, and checks that its sender holds the key that it names. */
export const readRequest = (text: string): Request | NetworkError => {
  const trimmed = text.trim()
  if (!trimmed.startsWith(requestHead)) return bad("that is no request: the new member prints one with: parley join")
  const bytes = Buffer.from(trimmed.slice(requestHead.length), "base64url")
  if (bytes.length !== requestBytes || trimmed.length > 300) return bad("the request is not whole: copy all of it")
  const key = Uint8Array.from(bytes.subarray(0, 32))
  try {
    if (!Signature.best.verify(key, SignedBytes.make("join", bytes.subarray(0, 64)), bytes.subarray(64)))
      return bad("the request was changed on its way: its signature does not hold")
  } catch {
    return bad("the request names no key")
  }
  return { node: NodeId.fromPublicKey(key), sealFor: Uint8Array.from(bytes.subarray(32, 64)) }
}

const secretOf = (mine: ReturnType<typeof privateKey>, theirs: Uint8Array, salt: Uint8Array): Uint8Array =>
  new Uint8Array(hkdfSync("sha256", diffieHellman({ privateKey: mine, publicKey: publicKey(theirs) }), salt, info, 32))

/** Seals what a member needs for one who asked: `parley-invitation-1.…`. */
export const seal = ({ node, sealFor }: Request, invited: Invited): string => {
  const once = generateKeyPairSync("x25519")
  const mine = rawPublic(once.publicKey)
  const nonce = randomBytes(12)
  const cipher = createCipheriv(
    "aes-256-gcm",
    secretOf(once.privateKey, sealFor, Buffer.concat([mine, sealFor])),
    nonce
  )
  cipher.setAAD(NodeId.toPublicKey(node))
  const sealed = Buffer.concat([
    cipher.update(JSON.stringify(Schema.encodeSync(Invited)(invited)), "utf8"),
    cipher.final()
  ])
  return `${invitationHead}${Buffer.concat([mine, nonce, cipher.getAuthTag(), sealed]).toString("base64url")}`
}

const decode = Schema.decodeResult(Schema.fromJsonString(Invited))

/** Opens an invitation with the key that was made for its request. */
export const open = (text: string, node: NodeId.NodeId, opener: Uint8Array): Invited | NetworkError => {
  const trimmed = text.trim()
  if (!trimmed.startsWith(invitationHead) || trimmed.length > MAX_INVITATION_LENGTH)
    return new NetworkError({
      code: "BadInvitation",
      detail: "that is no invitation: whoever keeps the network's root makes one with: parley invite REQUEST"
    })
  const bytes = Buffer.from(trimmed.slice(invitationHead.length), "base64url")
  const notForThis = new NetworkError({
    code: "NotForThisNode",
    detail:
      "the invitation does not open here: it was made for another request, used already, or changed on its way; ask for one with the request that parley join prints"
  })
  if (bytes.length < 60) return notForThis
  const mine = privateKey(opener)
  const theirs = Uint8Array.from(bytes.subarray(0, 32))
  try {
    const salt = Buffer.concat([theirs, rawPublic(createPublicKey(mine))])
    const decipher = createDecipheriv("aes-256-gcm", secretOf(mine, theirs, salt), bytes.subarray(32, 44))
    decipher.setAAD(NodeId.toPublicKey(node))
    decipher.setAuthTag(bytes.subarray(44, 60))
    const text = Buffer.concat([decipher.update(bytes.subarray(60)), decipher.final()]).toString("utf8")
    const decoded = decode(text)
    return decoded._tag === "Success" ? decoded.success : notForThis
  } catch {
    return notForThis
  }
}
