import type { RefusedCode } from "@parley/core/MemberCertificate"

/**
 * Why a handshake failed.
 *
 * - `WrongMagic`: the other end does not speak Parley.
 * - `UnsupportedVersion`, `NoCommonCipher`: both speak Parley, with nothing in common.
 * - `NetworkKeyMissing`: the responder's network needs a key and the initiator has none.
 * - `NetworkKeyUnexpected`: the initiator has a network key and the responder is in no network.
 * - `NetworkKeyMismatch`: both have a network key, not the same.
 * - `Busy`: the responder accepts no handshake now.
 * - `Malformed`: a field is missing, repeated, out of place or of a wrong length.
 * - `Oversized`: a message declares more bytes than its place in the handshake allows.
 * - `OutOfOrder`: bytes came before their turn, or after the handshake had failed or ended.
 * - `BadKey`: a Noise key is a point of low order.
 * - `BadMac`: a message does not open: altered on the way, offer or choice included.
 * - `BadIdentitySignature`: the peer does not hold the identity key that it shows.
 * - `UnexpectedPeer`: the peer proved another identity than the one dialled.
 * - `SelfDial`: the peer is this node.
 * - `CertificateMissing`, `CertificateInvalid`, `CertificateExpired`: the network has a root, and the peer is no member of it.
 * - `MemberRevoked`: the peer was one, and the root has put it out.
 */
export type HandshakeReason =
  | "WrongMagic"
  | "UnsupportedVersion"
  | "NoCommonCipher"
  | "NetworkKeyMissing"
  | "NetworkKeyUnexpected"
  | "NetworkKeyMismatch"
  | "Busy"
  | "Malformed"
  | "Oversized"
  | "OutOfOrder"
  | "BadKey"
  | "BadMac"
  | "BadIdentitySignature"
  | "UnexpectedPeer"
  | "SelfDial"
  | RefusedCode

/** A failed handshake. Close the connection; nothing of it may be used. */
export class HandshakeError extends Error {
  readonly _tag = "HandshakeError"
  override readonly name = "HandshakeError"
  readonly reason: HandshakeReason
  /** `local`: this end saw it. `peer`: the responder said so in clear, which anyone on the path can forge. */
  readonly origin: "local" | "peer"
  /** The identity that the peer proved, for `UnexpectedPeer` and `SelfDial`. */
  readonly peer: Uint8Array | undefined

  constructor(
    reason: HandshakeReason,
    message: string,
    options: { readonly origin?: "local" | "peer"; readonly peer?: Uint8Array } = {}
  ) {
    super(message)
    this.reason = reason
    this.origin = options.origin ?? "local"
    this.peer = options.peer
  }
}
