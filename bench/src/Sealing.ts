/** AES-256-GCM for the bench's echo: one key, a counter for each direction, as fast as `node:crypto` does it. */
import { createCipheriv, createDecipheriv } from "node:crypto"

export const TAG_BYTES = 16

/** One end of a connection. */
export interface Sealing {
  /** Writes ciphertext and tag, and gives where they end. */
  readonly seal: (plaintext: Buffer, out: Buffer, at: number) => number
  /** Throws where the tag does not fit. */
  readonly open: (sealed: Buffer) => Buffer
}

/** Both ends hold it from the start: what is measured is sealing, not agreeing upon a key. */
const key = Buffer.alloc(32, 7)

/** Nonces of one direction: its number, and a counter. */
const noncesOf = (direction: number) => {
  const nonce = Buffer.alloc(12)
  nonce[0] = direction
  let count = 0
  return (): Buffer => {
    nonce.writeUIntBE((count += 1), 6, 6)
    return nonce
  }
}

/** The end's own sealing; the two ends seal with different nonces. */
export const sealingOf = (role: "ask" | "answer"): Sealing => {
  const [own, other] = role === "ask" ? [1, 2] : [2, 1]
  const sent = noncesOf(own)
  const received = noncesOf(other)
  return {
    seal: (plaintext, out, at) => {
      const cipher = createCipheriv("aes-256-gcm", key, sent())
      const end = at + cipher.update(plaintext).copy(out, at)
      cipher.final()
      return end + cipher.getAuthTag().copy(out, end)
    },
    open: (sealed) => {
      const end = sealed.length - TAG_BYTES
      const decipher = createDecipheriv("aes-256-gcm", key, received())
      decipher.setAuthTag(sealed.subarray(end))
      const plaintext = decipher.update(sealed.subarray(0, end))
      decipher.final()
      return plaintext
    }
  }
}
