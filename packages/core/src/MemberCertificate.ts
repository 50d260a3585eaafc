/**
 * Member certificate: a network's root says that a key belongs to the network, until a time.
 *
 * A member may name one more key in turn, for the commands that it runs beside its long-lived node, each under a key of its
 * own: a delegation, which lives for a day at most and counts only as long as its member does.
 *
 * ```text
 * version u8 (1) ‖ network (16) ‖ member key (32) ‖ issued u48 ‖ expires u48 ‖ root's signature (64)
 *   [ ‖ delegate key (32) ‖ expires u48 ‖ member's signature (64) ]
 * ```
 *
 * Times are milliseconds since 1970, big-endian. The root signs `parley/member/1`, a line feed, and all before its signature; the
 * member signs `parley/delegate/1`, a line feed, the network, the delegate's key and the time.
 */
import { createHash } from "node:crypto"
import { CLOCK_SKEW } from "./AgentRecord.ts"
import * as NodeId from "./NodeId.ts"
import * as Signature from "./Signature.ts"
import * as SignedBytes from "./SignedBytes.ts"

/** Length of a certificate without a delegation, in bytes. */
export const CERTIFICATE_BYTES = 125
/** Length of one with a delegation: the longest there is. */
export const MAX_CERTIFICATE_BYTES = 227
/** Length of a network's id, in bytes. */
export const NETWORK_ID_BYTES = 16
/** Longest that a certificate may count, in milliseconds (10 years): a list of revocations need not remember anybody for longer. */
export const MAX_LIFETIME_MS = 10 * 366 * 86_400_000
/** How long a certificate counts where nothing is said, in milliseconds (1 year). */
export const DEFAULT_LIFETIME_MS = 366 * 86_400_000
/** Longest that a delegation may count, in milliseconds (24 h): longer than any command runs, and soon over when its key is lost. */
export const MAX_DELEGATION_MS = 86_400_000

/** What a certificate says. */
export interface MemberCertificate {
  readonly member: NodeId.NodeId
  readonly issuedAt: number
  readonly expiresAt: number
  /** The key that acts for the member, and until when. */
  readonly delegate?: { readonly node: NodeId.NodeId; readonly expiresAt: number }
}

/**
 * Why a certificate does not count.
 *
 * - `CertificateMissing`: none was shown.
 * - `CertificateInvalid`: it is not one of this network's root for this key, or not of this time.
 * - `CertificateExpired`: its time is over.
 * - `MemberRevoked`: the root has put the member out.
 */
export type RefusedCode = "CertificateMissing" | "CertificateInvalid" | "CertificateExpired" | "MemberRevoked"

/** Somebody is not a member, and why. */
export interface Refused {
  readonly code: RefusedCode
  readonly detail: string
}

/** The two keys and the id that certificates of one network are checked against. */
export interface NetworkOf {
  /** 32 hex digits; see `networkId`. */
  readonly network: string
  readonly root: NodeId.NodeId
}

/** The id of the network that a root keeps under a name: 32 hex digits. */
export const networkId = (root: NodeId.NodeId, name: string): string =>
  createHash("sha256")
    .update(SignedBytes.make("network", Buffer.concat([NodeId.toPublicKey(root), Buffer.from(name, "utf8")])))
    .digest("hex")
    .slice(0, 2 * NETWORK_ID_BYTES)

type Signer = { readonly sign: (message: Uint8Array) => Uint8Array }

const u48 = (value: number): Buffer => {
  const bytes = Buffer.alloc(6)
  bytes.writeUIntBE(value, 0, 6)
  return bytes
}

/** Signs a certificate with the root's key. Throws a `RangeError` for times that no certificate has. */
export const issue = (
  root: Signer,
  network: string,
  { expiresAt, issuedAt, member }: Omit<MemberCertificate, "delegate">
): Uint8Array => {
  if (!(expiresAt > issuedAt) || expiresAt - issuedAt > MAX_LIFETIME_MS)
    throw new RangeError(`a certificate counts for up to ${MAX_LIFETIME_MS} ms, not for ${expiresAt - issuedAt}`)
  const body = Buffer.concat([
    Uint8Array.of(1),
    Buffer.from(network, "hex"),
    NodeId.toPublicKey(member),
    u48(issuedAt),
    u48(expiresAt)
  ])
  return new Uint8Array(Buffer.concat([body, root.sign(SignedBytes.make("member", body))]))
}

const delegation = (network: Uint8Array, key: Uint8Array, expires: Uint8Array): Uint8Array =>
  SignedBytes.make("delegate", Buffer.concat([network, key, expires]))

/** A member's certificate with a delegation to another key, signed by the member. */
export const delegate = (
  member: Signer,
  certificate: Uint8Array,
  to: { readonly node: NodeId.NodeId; readonly expiresAt: number }
): Uint8Array => {
  const own = certificate.subarray(0, CERTIFICATE_BYTES)
  const key = NodeId.toPublicKey(to.node)
  const expires = u48(to.expiresAt)
  const signature = member.sign(delegation(own.subarray(1, 1 + NETWORK_ID_BYTES), key, expires))
  return new Uint8Array(Buffer.concat([own, key, expires, signature]))
}

const verifies = (key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
  try {
    return Signature.best.verify(key, message, signature)
  } catch {
    // 32 bytes that are no point of the curve.
    return false
  }
}

const refused = (code: RefusedCode, detail: string): Refused => ({ code, detail })

const date = (at: number): string => new Date(at).toISOString()

/** What a certificate says, once it is shown to be this network's for this key now. Cheap checks come before signatures. */
export const verify = (
  bytes: Uint8Array | undefined,
  { network, root }: NetworkOf,
  peer: Uint8Array,
  now: number
): MemberCertificate | Refused => {
  if (bytes === undefined || bytes.length === 0)
    return refused("CertificateMissing", "this network has members with certificates, and no certificate was shown")
  if ((bytes.length !== CERTIFICATE_BYTES && bytes.length !== MAX_CERTIFICATE_BYTES) || bytes[0] !== 1)
    return refused("CertificateInvalid", "it is no member certificate of this version")
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const networkBytes = view.subarray(1, 17)
  if (networkBytes.toString("hex") !== network)
    return refused("CertificateInvalid", "the certificate is of another network")
  const memberKey = view.subarray(17, 49)
  const [issuedAt, expiresAt] = [view.readUIntBE(49, 6), view.readUIntBE(55, 6)]
  const delegated = bytes.length === MAX_CERTIFICATE_BYTES
  const delegateKey = view.subarray(125, 157)
  if (!Buffer.from(peer).equals(delegated ? delegateKey : memberKey))
    return refused("CertificateInvalid", "the certificate is of another key")
  if (expiresAt - issuedAt > MAX_LIFETIME_MS || issuedAt > now + CLOCK_SKEW)
    return refused("CertificateInvalid", `the certificate begins at ${date(issuedAt)}: compare the clocks`)
  if (expiresAt <= now)
    return refused("CertificateExpired", `the certificate ended at ${date(expiresAt)}: ask for a new invitation`)
  const delegateUntil = delegated ? view.readUIntBE(157, 6) : 0
  if (delegated && delegateUntil <= now)
    return refused("CertificateExpired", `the delegation ended at ${date(delegateUntil)}`)
  if (delegated && delegateUntil > now + MAX_DELEGATION_MS + CLOCK_SKEW)
    return refused("CertificateInvalid", `the delegation would count until ${date(delegateUntil)}`)
  if (!verifies(NodeId.toPublicKey(root), SignedBytes.make("member", view.subarray(0, 61)), view.subarray(61, 125)))
    return refused("CertificateInvalid", "the network's root has not signed the certificate")
  const member = NodeId.fromPublicKey(Uint8Array.from(memberKey))
  if (!delegated) return { member, issuedAt, expiresAt }
  if (!verifies(memberKey, delegation(networkBytes, delegateKey, view.subarray(157, 163)), view.subarray(163, 227)))
    return refused("CertificateInvalid", "the member has not signed the delegation")
  const node = NodeId.fromPublicKey(Uint8Array.from(delegateKey))
  return { member, issuedAt, expiresAt, delegate: { node, expiresAt: delegateUntil } }
}
