/**
 * Why a Noise operation was refused.
 *
 * - `BadMac`: an authentication tag did not match: wrong key, altered bytes, or another transcript at the other end.
 * - `BadKey`: a key has the wrong length, or the Diffie-Hellman result was all zero (a point of low order).
 * - `Truncated`: the message is shorter than its pattern demands.
 * - `Oversized`: a message is longer than the 65,535 bytes of the Noise specification.
 * - `OutOfOrder`: it was the other end's turn, the handshake had ended, or it had failed before.
 * - `NonceExhausted`: the 64-bit message counter of a direction is used up.
 */
export type NoiseReason = "BadMac" | "BadKey" | "Truncated" | "Oversized" | "OutOfOrder" | "NonceExhausted"

/** A refused Noise operation; the object that threw it must not be used again. */
export class NoiseError extends Error {
  readonly _tag = "NoiseError"
  override readonly name = "NoiseError"
  readonly reason: NoiseReason

  constructor(reason: NoiseReason, message: string) {
    super(message)
    this.reason = reason
  }
}
