/**
 * Signatures that cannot be mistaken for each other: every signed message names what it is.
 *
 * The signed bytes are UTF-8 of `parley/<what>/1` and a line feed, then the body. A signature over a record is therefore
 * never one over a receipt or a handshake.
 */
import * as Schema from "effect/Schema"
import * as NodeId from "./NodeId.ts"
import * as Signature from "./Signature.ts"

/** What a signature is about: lower-case words joined by `-`. */
export type What = "record" | "receipt" | "handshake" | (string & {})

/** A signature as text: 64 bytes in base64url without padding, the only spelling of them (RFC 4648, 3.5). */
export const SignatureText = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_-]{85}[AQgw]$/, { message: "64 bytes in base64url without padding" })
)

const text = new TextEncoder()

/** The bytes that are signed: `parley/<what>/1`, a line feed, the body. */
export const make = (what: What, body: Uint8Array): Uint8Array => {
  const tag = text.encode(`parley/${what}/1\n`)
  const bytes = new Uint8Array(tag.length + body.length)
  bytes.set(tag)
  bytes.set(body, tag.length)
  return bytes
}

/** Signs a body under its name; the signature as base64url. */
export const sign = (
  identity: { readonly sign: (message: Uint8Array) => Uint8Array },
  what: What,
  body: Uint8Array
): string => Buffer.from(identity.sign(make(what, body))).toString("base64url")

/** Whether `signature` (base64url) is that node's over this body under this name. */
export const verify = (node: NodeId.NodeId, what: What, body: Uint8Array, signature: string): boolean =>
  Signature.best.verify(NodeId.toPublicKey(node), make(what, body), Buffer.from(signature, "base64url"))

/** As `verify`, on another thread where the runtime has one for it (`Signature.verifyApart`). */
export const verifyApart = (
  node: NodeId.NodeId,
  what: What,
  body: Uint8Array,
  signature: string,
  done: (holds: boolean) => void
): void =>
  Signature.best.verifyApart(NodeId.toPublicKey(node), make(what, body), Buffer.from(signature, "base64url"), done)
