/**
 * Datagrams of a private network: sealed under a key that its members share, so that nobody else can read one, answer one, or
 * say anything to a member at all. `nonce (12) ‖ ciphertext ‖ tag (16)`, AES-256-GCM under
 * HKDF-SHA-256(network key, info "parley/dht/packet/1"); random nonces are good for 2³² datagrams of a network. What is sealed
 * begins with the time, in seconds (u32).
 *
 * A datagram that is played again is passed over: within a few minutes because its nonce is remembered, and later because of its time. Where
 * members say more than is remembered in those minutes, what it asks may be answered once more, and that is all: an answer
 * counts under its transaction alone, and what is to be stored needs a token that its source had within the last ten minutes, and
 * a version above the one that is there.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto"
import { CLOCK_SKEW } from "@parley/core/AgentRecord"

const NONCE_BYTES = 12
const TIME_BYTES = 4
const TAG_BYTES = 16
/** Nonces that are remembered at least, of datagrams that were opened; twice as many at most, some 2 MB. */
export const MIN_REMEMBERED = 10_000
/** Bytes that sealing adds. */
export const OVERHEAD = NONCE_BYTES + TIME_BYTES + TAG_BYTES
/** How far the time of a datagram may be from this node's, in ms: clocks differ so much where records are believed. */
export const MAX_AGE_MS = CLOCK_SKEW

/** Seals what is sent, and opens what comes. */
export interface PacketSeal {
  readonly seal: (packet: Buffer) => Buffer
  /** Undefined for what was not sealed under this key, or not lately, or was opened before. */
  readonly open: (packet: Buffer) => Buffer | undefined
}

/** Passes datagrams as they are. */
export const none: PacketSeal = { seal: (packet) => packet, open: (packet) => packet }

/** The seal of a network key; `now` is the time in ms. */
export const make = (networkKey: Uint8Array, now: () => number = Date.now): PacketSeal => {
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
      const time = Buffer.alloc(TIME_BYTES)
      time.writeUInt32BE(Math.floor(now() / 1_000))
      const cipher = createCipheriv("aes-256-gcm", key, nonce)
      return Buffer.concat([nonce, cipher.update(time), cipher.update(packet), cipher.final(), cipher.getAuthTag()])
    },
    open: (packet) => {
      if (packet.length <= OVERHEAD) return undefined
      const decipher = createDecipheriv("aes-256-gcm", key, packet.subarray(0, NONCE_BYTES))
      decipher.setAuthTag(packet.subarray(packet.length - TAG_BYTES))
      try {
        const opened = Buffer.concat([decipher.update(packet.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
        // Only what was sealed by a member, and lately, is remembered: strangers fill nothing.
        if (Math.abs(now() - opened.readUInt32BE() * 1_000) > MAX_AGE_MS) return undefined
        return isNew(packet.toString("latin1", 0, NONCE_BYTES)) ? opened.subarray(TIME_BYTES) : undefined
      } catch {
        return undefined
      }
    }
  }
}
