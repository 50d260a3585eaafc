/**
 * Keys: text that a database compares and indexes. PostgreSQL refuses U+0000 in text, drivers of SQLite cut at it, and neither
 * keeps half of a surrogate pair; agents may send all of it in JSON. Such characters stand as `\XXXX` (and `\` as `\005c`), so that two
 * texts are one key only if they are the same text.
 */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"

/** Longest key of an index, in bytes: three of them, and more, fit into a page of PostgreSQL's B-tree (2,704 bytes). */
export const MAX_KEY_BYTES = 768

// oxlint-disable-next-line no-control-regex
const odd = /[\0\\]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

/** Text as a key. Throws a RangeError where it is too long. */
export const key = (text: string): string => {
  const safe =
    text.includes("\\") || text.includes("\0") || !text.isWellFormed()
      ? text.replace(odd, (unit) => `\\${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      : text
  if (safe.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(safe) > MAX_KEY_BYTES)
    throw new RangeError(`"${safe.slice(0, 40)}…" is longer than the ${MAX_KEY_BYTES} bytes that a key may have`)
  return safe
}

/** The text of a key. */
export const text = (key: string): string =>
  key.includes("\\")
    ? key.replace(/\\([0-9a-f]{4})/g, (_, unit: string) => String.fromCharCode(Number.parseInt(unit, 16)))
    : key

/** What stands for a claim: SHA-256 of its UTF-16, in which every text differs from every other. */
export const claim = (text: string): Uint8Array => createHash("sha256").update(text, "utf16le").digest()
