/**
 * The few uses that `@parley/core` makes of Node's `Buffer` when it checks signatures, over `Uint8Array`. Importing this module
 * sets the global that core expects; import it before core.
 */
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
const digits = new Map([...alphabet, ..."+/"].map((letter, i) => [letter, i < 64 ? i : i - 2] as const))

const fromBase64 = (text: string): Uint8Array => {
  const bytes: Array<number> = []
  let bits = 0
  let held = 0
  for (const letter of text) {
    const digit = digits.get(letter)
    if (digit === undefined) continue
    held = ((held << 6) | digit) & 0xffff
    bits += 6
    if (bits >= 8) {
      bits -= 8
      bytes.push((held >> bits) & 0xff)
    }
  }
  return Uint8Array.from(bytes)
}

const toBase64Url = (bytes: Uint8Array): string => {
  let text = ""
  for (let i = 0; i < bytes.length; i += 3) {
    const group = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0)
    const letters = Math.min(4, bytes.length - i + 1)
    for (let j = 0; j < letters; j++) text += alphabet[(group >> (18 - 6 * j)) & 63]
  }
  return text
}

/** Bytes that know the encodings core asks for. */
export class Buffer extends Uint8Array<ArrayBuffer> {
  override toString(encoding?: string): string {
    switch (encoding) {
      case "hex":
        return Array.from(this, (byte) => byte.toString(16).padStart(2, "0")).join("")
      case "base64url":
        return toBase64Url(this)
      case "latin1":
        return Array.from(this, (byte) => String.fromCharCode(byte)).join("")
      default:
        return new TextDecoder().decode(this)
    }
  }
}

/** A copy of bytes, as a `Buffer`. */
export const fromBytes = (bytes: ArrayLike<number>): Buffer => {
  const buffer = new Buffer(new ArrayBuffer(bytes.length))
  buffer.set(bytes)
  return buffer
}

const from = (value: string | ArrayLike<number> | ArrayBuffer, encoding?: string | number, length?: number): Buffer => {
  if (value instanceof ArrayBuffer) return fromBytes(new Uint8Array(value, Number(encoding ?? 0), length))
  if (typeof value !== "string") return fromBytes(value)
  if (encoding === "hex")
    return fromBytes((value.match(/[0-9a-f]{2}/gi) ?? []).map((pair) => Number.parseInt(pair, 16)))
  if (encoding === "base64url" || encoding === "base64") return fromBytes(fromBase64(value))
  return fromBytes(new TextEncoder().encode(value))
}

const concat = (parts: ReadonlyArray<Uint8Array>): Buffer => {
  const whole = new Buffer(new ArrayBuffer(parts.reduce((sum, part) => sum + part.length, 0)))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const byteLength = (text: string): number => new TextEncoder().encode(text).length

Object.assign(globalThis, { Buffer: Object.assign(Buffer, { from, concat, byteLength }) })
