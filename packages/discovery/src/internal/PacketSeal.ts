/**
 * Datagrams of a private network: sealed under a key that its members share, so that nobody else can read one, answer one, or
 * say anything to a member at all. `nonce (12) ‖ ciphertext ‖ tag (16)`, AES-256-GCM under
 * HKDF-SHA-256(network key, info "parley/dht/packet/1"); random nonces are good for 2³² datagrams of a network.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto"

const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Bytes that sealing adds. */
export const OVERHEAD = NONCE_BYTES + TAG_BYTES

/** Seals what is sent, and opens what comes. */
export interface PacketSeal {
  readonly seal: (packet: Buffer) => Buffer
  /** Undefined for what was not sealed under this key. */
  readonly open: (packet: Buffer) => Buffer | undefined
}

/** Passes datagrams as they are. */
export const none: PacketSeal = { seal: (packet) => packet, open: (packet) => packet }

/** The seal of a network key. */
export const make = (networkKey: Uint8Array): PacketSeal => {
  const key = Buffer.from(hkdfSync("sha256", networkKey, new Uint8Array(0), "parley/dht/packet/1", 32))
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
        return Buffer.concat([decipher.update(packet.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
      } catch {
        return undefined
      }
    }
  }
}
