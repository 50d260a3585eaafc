/**
 * Revocations: whom a network's root has put out, as one signed list with a number.
 *
 * The list is whole: whoever has number 7 knows of everybody whom 1 to 7 put out, and nobody can hand on the one and hold back the
 * other. The higher number wins; a lower one changes nothing. Of two lists with one number (the root was used in two places
 * at once) the one with the greater signature wins, so that all members come to the same, in whatever order they hear them.
 * A name leaves the list when no certificate of that member could count any more.
 */
import { createHash } from "node:crypto"
import * as Schema from "effect/Schema"
import * as CanonicalJson from "./CanonicalJson.ts"
import type { NetworkOf } from "./MemberCertificate.ts"
import { NodeId } from "./NodeId.ts"
import * as SignedBytes from "./SignedBytes.ts"

/** Most names of a list: with it the text stays below `MAX_REVOCATIONS_BYTES`. A network that loses more members changes its key. */
export const MAX_REVOKED = 512
/** Longest text of a list, in bytes: one message. */
export const MAX_REVOCATIONS_BYTES = 64 * 1024

/** A list as it travels and is kept. */
export const Revocations = Schema.Struct({
  v: Schema.Literal(1),
  /** The network's id. */
  network: Schema.String.check(Schema.isPattern(/^[0-9a-f]{32}$/)),
  /** Counts the root's lists, from 1. */
  number: Schema.Natural,
  /** Milliseconds since 1970. */
  issuedAt: Schema.Natural,
  /** Who is out, and when the last of its certificates would have ended; in the order of the NodeIds, each once. */
  revoked: Schema.Array(Schema.Struct({ node: NodeId, until: Schema.Natural })).check(Schema.isMaxLength(MAX_REVOKED)),
  /** The root's signature over `parley/revocations/1`, a line feed, and the RFC 8785 text without `sig`; base64url. */
  sig: SignedBytes.SignatureText
})
/** A list as it travels and is kept. */
export type Revocations = typeof Revocations.Type

/** One who is out. */
export type Revoked = Revocations["revoked"][number]

const decode = Schema.decodeUnknownResult(Revocations)

const body = ({ sig: _sig, ...unsigned }: Omit<Revocations, "sig"> & { readonly sig?: string }): Uint8Array =>
  Buffer.from(CanonicalJson.stringify(unsigned), "utf8")

type Signer = { readonly sign: (message: Uint8Array) => Uint8Array }

/**
 * The next list: everybody of the last one whose time is not over, and one more. Throws a `RangeError` when it would be too long.
 */
export const revoke = (
  root: Signer,
  network: string,
  last: Revocations | undefined,
  node: NodeId,
  until: number,
  now: number
): Revocations => {
  const kept = (last?.revoked ?? []).filter((one) => one.until > now && one.node !== node)
  const before = last?.revoked.find((one) => one.node === node)
  const revoked = [...kept, { node, until: Math.max(until, before?.until ?? 0) }].sort((a, b) =>
    a.node < b.node ? -1 : 1
  )
  if (revoked.length > MAX_REVOKED)
    throw new RangeError(`a list has at most ${MAX_REVOKED} names: make a new network key instead`)
  const unsigned = { v: 1 as const, network, number: (last?.number ?? 0) + 1, issuedAt: now, revoked }
  return { ...unsigned, sig: SignedBytes.sign(root, "revocations", body(unsigned)) }
}

/** Reads a list that somebody handed on; a text says why it does not count. */
export const read = (value: unknown, { network, root }: NetworkOf): Revocations | string => {
  const decoded = decode(value)
  if (decoded._tag === "Failure") return "it is no list of revocations"
  const list = decoded.success
  if (list.network !== network) return "it is of another network"
  if (list.revoked.some(({ node }, at) => at > 0 && node <= list.revoked[at - 1]!.node))
    return "its names are not in order"
  if (!SignedBytes.verify(root, "revocations", body(list), list.sig)) return "the network's root has not signed it"
  return list
}

/** Whether `offered` takes the place of `known`. */
export const isNewer = (
  offered: Pick<Revocations, "number" | "sig">,
  known: Pick<Revocations, "number" | "sig"> | undefined
): boolean =>
  known === undefined || offered.number > known.number || (offered.number === known.number && offered.sig > known.sig)

/** Which list stands of two. */
export const newest = (a: Revocations | undefined, b: Revocations | undefined): Revocations | undefined =>
  a === undefined ? b : b === undefined || !isNewer(b, a) ? a : b

/** Names a list in a few characters, for those who compare what they have. */
export const digest = (list: Revocations | undefined): string =>
  list === undefined ? "" : `${list.number}:${createHash("sha256").update(list.sig).digest("base64url").slice(0, 16)}`
