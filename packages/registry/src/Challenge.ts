/**
 * Challenge: how a node proves its key to a registry.
 *
 * The registry hands out 32 random bytes, their expiry and its own HMAC over both and the NodeId: any instance that shares the
 * HMAC's key can check it, and none has to remember it. The node signs the challenge together with the registry's URL as it
 * knows it. A registry that passes on another one's challenge therefore gets a signature that names itself, and that the other
 * one refuses.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import * as Schema from "effect/Schema"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { NodeId } from "@parley/core/NodeId"
import * as SignedBytes from "@parley/core/SignedBytes"

/** How long a challenge can be answered, in milliseconds: two round trips over a bad link and a clock that is a little off. */
export const CHALLENGE_MS = 60_000
/** Length of every challenge, in characters: expiry (8 bytes), nonce (32) and HMAC-SHA256 (32) in base64url. */
export const CHALLENGE_LENGTH = 96
/** Most names a registry goes by: each costs one verification (34 µs) when a signature is over none of them. */
export const MAX_AUDIENCES = 16

const what = "registry-challenge"
const isSignature = Schema.is(SignedBytes.SignatureText)

/** What a signature calls the registry: the origin of its URL, `https://registry.example`; `undefined` for what is no http URL. */
export const audienceOf = (url: string): string | undefined => {
  if (!URL.canParse(url)) return undefined
  const { protocol, origin } = new URL(url)
  return protocol === "http:" || protocol === "https:" ? origin : undefined
}

/** The bytes that are signed: canonical JSON of the registry's audience, the challenge and the NodeId. */
export const body = (audience: string, node: NodeId, challenge: string): Uint8Array =>
  CanonicalJson.bytes({ audience, challenge, node })

/** A node's signature over a challenge, for the registry that it knows under this audience (base64url). */
export const sign = (
  identity: { readonly nodeId: NodeId; readonly sign: (message: Uint8Array) => Uint8Array },
  audience: string,
  challenge: string
): string => SignedBytes.sign(identity, what, body(audience, identity.nodeId, challenge))

/** Whether a signature is the node's over this challenge, for a registry of one of these audiences. */
export const verify = (audiences: ReadonlyArray<string>, node: NodeId, challenge: string, signature: string): boolean =>
  isSignature(signature) &&
  audiences
    .slice(0, MAX_AUDIENCES)
    .some((audience) => SignedBytes.verify(node, what, body(audience, node, challenge), signature))

const mac = (key: Uint8Array, node: NodeId, head: Uint8Array): Uint8Array =>
  createHmac("sha256", key).update(`parley/registry-challenge-mac/1\n${node}\n`).update(head).digest()

/** A fresh challenge for a node, good for `CHALLENGE_MS` from `now` (milliseconds since the epoch). */
export const make = (
  key: Uint8Array,
  node: NodeId,
  now: number
): { readonly challenge: string; readonly expiresAt: number } => {
  const expiresAt = now + CHALLENGE_MS
  const head = Buffer.alloc(40)
  head.writeBigUInt64BE(BigInt(expiresAt))
  randomBytes(32).copy(head, 8)
  return { challenge: Buffer.concat([head, mac(key, node, head)]).toString("base64url"), expiresAt }
}

/** The nonce of a challenge that this registry made for this node; else why it does not count. */
export const check = (
  key: Uint8Array,
  node: NodeId,
  challenge: string,
  now: number
): { readonly nonce: string } | "Invalid" | "Expired" => {
  if (challenge.length !== CHALLENGE_LENGTH) return "Invalid"
  const bytes = Buffer.from(challenge, "base64url")
  if (bytes.length !== 72 || bytes.toString("base64url") !== challenge) return "Invalid"
  const head = bytes.subarray(0, 40)
  if (!timingSafeEqual(bytes.subarray(40), mac(key, node, head))) return "Invalid"
  const expiresAt = Number(head.readBigUInt64BE())
  if (now >= expiresAt || expiresAt > now + 2 * CHALLENGE_MS) return "Expired"
  return { nonce: head.subarray(8).toString("base64url") }
}
