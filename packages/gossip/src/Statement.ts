/**
 * The statements of failure detection as bytes: what a node says of itself, and whom it accuses, each under its own signature.
 *
 * ```
 * alive        1, subject's key (32), incarnation u48, left u8 (0 or 1), signature of the subject (64)
 * accusation   2, subject's key (32), incarnation u48, accuser's key (32), signature of the accuser (64)
 * ```
 *
 * The signatures cover `parley/alive/1` or `parley/accusation/1`, a line feed, and all bytes before them.
 */
import * as NodeId from "@parley/core/NodeId"
import * as Signature from "@parley/core/Signature"
import * as SignedBytes from "@parley/core/SignedBytes"
import { Malformed, type Reader, Writer } from "./internal/Bytes.ts"
import type { Accusation, Alive, Statement } from "./Swim.ts"

/** Largest statement: an accusation. */
export const MAX_STATEMENT_BYTES = 1 + 32 + 6 + 32 + Signature.SIGNATURE_BYTES
/** How far ahead of ours the clock may be by which a node counts its incarnations, in ms: as of records. */
export const CLOCK_SKEW_MS = 300_000

const ALIVE = 1
const ACCUSATION = 2

const writeBody = (writer: Writer, statement: Statement): Writer => {
  const isAlive = statement._tag === "Alive"
  writer
    .u8(isAlive ? ALIVE : ACCUSATION)
    .node(statement.subject as NodeId.NodeId)
    .u48(statement.incarnation)
  return isAlive ? writer.u8(statement.left ? 1 : 0) : writer.node(statement.accuser as NodeId.NodeId)
}

const what = (statement: Statement): string => (statement._tag === "Alive" ? "alive" : "accusation")

/** Who signed it, or should have. */
export const signerOf = (statement: Statement): NodeId.NodeId =>
  (statement._tag === "Alive" ? statement.subject : statement.accuser) as NodeId.NodeId

/** The signature of a statement, whose own evidence does not count. */
export const sign = (
  identity: { readonly sign: (message: Uint8Array) => Uint8Array },
  statement: Statement
): Uint8Array => identity.sign(SignedBytes.make(what(statement), writeBody(new Writer(), statement).done()))

/** Whether whoever makes the statement signed it. Costs 34 µs. */
export const isGenuine = (statement: Statement): boolean =>
  Signature.best.verify(
    NodeId.toPublicKey(signerOf(statement)),
    SignedBytes.make(what(statement), writeBody(new Writer(), statement).done()),
    statement.evidence
  )

/** Appends a statement. */
export const write = (writer: Writer, statement: Statement): Writer =>
  writeBody(writer, statement).bytes(statement.evidence)

/** A statement alone. */
export const encode = (statement: Statement): Uint8Array => write(new Writer(), statement).done()

/** Reads a statement; throws `Malformed`. */
export const read = (reader: Reader): Statement => {
  const tag = reader.u8("the kind of a statement")
  if (tag !== ALIVE && tag !== ACCUSATION) throw new Malformed(`a statement of kind ${tag}`)
  const subject = reader.node("the subject")
  const incarnation = reader.u48("the incarnation")
  const left = tag === ALIVE ? reader.upTo(1, "whether it left") === 1 : false
  const accuser = tag === ALIVE ? subject : reader.node("the accuser")
  const evidence = reader.bytes(Signature.SIGNATURE_BYTES, "the signature")
  const alive: Alive = { _tag: "Alive", subject, incarnation, left, evidence }
  const accusation: Accusation = { _tag: "Accusation", subject, incarnation, accuser, evidence }
  return tag === ALIVE ? alive : accusation
}
