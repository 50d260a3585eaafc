/**
 * Datagrams of a private network: sealed under a key that its members share, so that nobody else can read one, answer one, or
 * say anything to a member at all. `nonce (12) ‖ ciphertext ‖ tag (16)`, AES-256-GCM under
 * HKDF-SHA-256(network key, info "parley/dht/packet/1"); random nonces are good for 2³² datagrams of a network.
 *
 * A datagram that is played again is passed over for as long as its nonce is remembered; after that, what it asks is answered once more,
 * and that is all: an answer counts under its transaction alone, and what is to be stored needs a token that its source had within the
 * last ten minutes, and a version above the one that is there.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto"

const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Nonces that are remembered at least, of datagrams that were opened; twice as many at most, some 2 MB. */
export const MIN_REMEMBERED = 10_000
/** Bytes that sealing adds. */
export const OVERHEAD = NONCE_BYTES + TAG_BYTES

/** Seals what is sent, and opens what comes. */
export interface PacketSeal {
  readonly seal: (packet: Buffer) => Buffer
  /** Undefined for what was not sealed under this key, or was opened before. */
  readonly open: (packet: Buffer) => Buffer | undefined
}

/** Passes datagrams as they are. */
export const none: PacketSeal = { seal: (packet) => packet, open: (packet) => packet }

/** The seal of a network key. */
export const make = (networkKey: Uint8Array): PacketSeal => {
  const key = Buffer.from(hkdfSync("sha256", networkKey, new Uint8Array(0), "parley/dht/packet/1", 32))
  let [young, old] = [new Set<string>(), new Set<string>()]
  const isNew = (nonce: string): boolean => {
    if (young.has(nonce) || old.has(nonce)) return false
    if (young.size >= MIN_REMEMBERED) [young, old] = [new Set<string>(), young]
    young.add(nonce)
    return true
  }
  return {
    seal: (packet) => {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv("aes-256-gcm", key, nonce)
      return Buffer.concat([nonce, cipher.update(packet), cipher.final(), cipher.getAuthTag()])
    },
    open: (packet) => {
      if (packet.length <= OVERHEAD) return undefined
      const decipher = createDecipheriv("aes-256-gcm", key, packet.subarray(0, NONCE_BYTES))
      decipher.setAuthTag(packet.subarray(packet.length - TAG_BYTES))
      try {
        const opened = Buffer.concat([decipher.update(packet.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
        // Only what was sealed by a member is remembered: strangers fill nothing.
        return isNew(packet.toString("latin1", 0, NONCE_BYTES)) ? opened : undefined
      } catch {
        return undefined
      }
    }
  }
}
