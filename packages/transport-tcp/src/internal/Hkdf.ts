/** HKDF with SHA-256 (RFC 5869). */
import { createHmac, hkdfSync } from "node:crypto"

export const hashLength = 32

/** More output than this is not defined (RFC 5869 section 2.3). */
export const maxOutput = 255 * hashLength

export const hmac = (key: Uint8Array, ...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const native = createHmac("sha256", key)
  for (const part of parts) native.update(part)
  return native.digest()
}

const empty = new Uint8Array(0)

/** Extract and expand: `length` bytes from input keying material, a salt and a context. */
export const hkdf = (salt: Uint8Array, ikm: Uint8Array, length: number, info: Uint8Array = empty): Uint8Array => {
  if (length > maxOutput) throw new RangeError(`HKDF-SHA-256 gives at most ${maxOutput} bytes, asked for ${length}`)
  // One native call: made of HMACs it takes Deno seven times as long.
  return new Uint8Array(hkdfSync("sha256", ikm, salt, info, length))
}
