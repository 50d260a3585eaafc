/**
 * JSON that is the same bytes on every machine (RFC 8785, JCS), for signatures and hashes, and a bounded reader for JSON
 * that a stranger wrote.
 */
import { createHash } from "node:crypto"
import canonicalize from "canonicalize"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** Deepest nesting read by default: JSON Schemas of real capabilities stay below 20, and recursion over 64 is safe everywhere. */
export const MAX_DEPTH = 64
/** Longest text read by default, in bytes of UTF-8: the largest message body a node takes unless told otherwise. */
export const MAX_BYTES = 1_048_576

/** The text is longer than allowed. */
export class TooLarge extends Schema.TaggedClass<TooLarge>()("TooLarge", {
  bytes: Schema.Natural,
  maxBytes: Schema.Natural
}) {}
/** The value is nested deeper than allowed. */
export class TooDeep extends Schema.TaggedClass<TooDeep>()("TooDeep", { maxDepth: Schema.Natural }) {}
/** It is not JSON, or not JSON that is safe to handle. */
export class Malformed extends Schema.TaggedClass<Malformed>()("Malformed", { detail: Schema.String }) {}
/** A value that JSON cannot express was to be written. */
export class NotJson extends Schema.TaggedClass<NotJson>()("NotJson", { detail: Schema.String }) {}

/** Why JSON was not read or written. */
export class JsonError extends Schema.TaggedError<JsonError>()("JsonError", {
  reason: Schema.Union([TooLarge, TooDeep, Malformed, NotJson])
}) {
  override get message() {
    switch (this.reason._tag) {
      case "TooLarge":
        return `The JSON text has ${this.reason.bytes} bytes, at most ${this.reason.maxBytes} are read: send less`
      case "TooDeep":
        return `The JSON value is nested deeper than ${this.reason.maxDepth} levels: flatten it`
      case "Malformed":
        return `Not usable JSON: ${this.reason.detail}`
      case "NotJson":
        return `The value cannot be written as JSON: ${this.reason.detail}`
    }
  }
}

const notJson = (detail: string) => new JsonError({ reason: new NotJson({ detail }) })
const malformed = (detail: string) => Result.fail(new JsonError({ reason: new Malformed({ detail }) }))

/**
 * The canonical text of a value (RFC 8785).
 *
 * It is the text of what `JSON.stringify` would send, so both ends of a wire agree: `undefined` members are left out, and
 * `undefined` in an array is `null`. Throws a `JsonError` (`NotJson`) where there is no such text: NaN, infinities,
 * bigints, lone surrogates, cycles, and `undefined` or a function as the whole value.
 */
export const stringify = (value: unknown): string => {
  let text: string | undefined
  try {
    text = canonicalize(value)
  } catch (cause) {
    throw notJson(cause instanceof Error ? cause.message : String(cause))
  }
  if (text === undefined) throw notJson(`a ${typeof value} has no JSON form`)
  return text
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** `stringify` as UTF-8: the bytes that are signed and hashed. */
export const bytes = (value: unknown): Uint8Array => encoder.encode(stringify(value))

/** SHA-256 over `bytes(value)`, as 64 hex digits. */
export const hash = (value: unknown): string => createHash("sha256").update(stringify(value), "utf8").digest("hex")

/** What a reader accepts; each bound has a default. */
export interface Bounds {
  readonly maxBytes?: number
  readonly maxDepth?: number
}

/** Whether a text nests at most `max` levels: one pass over its characters, before anything is built from it. */
const textWithin = (text: string, max: number): boolean => {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 0x22) {
      // A string: on to its closing quote. One that never closes is JSON.parse's to refuse.
      for (i++; i < text.length; i++) {
        const inner = text.charCodeAt(i)
        if (inner === 0x5c) i++
        else if (inner === 0x22) break
      }
    } else if (code === 0x7b || code === 0x5b) {
      if (++depth > max) return false
    } else if (code === 0x7d || code === 0x5d) depth--
  }
  return true
}

/** Whether a value nests at most `max` levels; also stops at cycles. */
export const isWithinDepth = (value: unknown, max: number = MAX_DEPTH): boolean => {
  if (typeof value !== "object" || value === null) return true
  if (max === 0) return false
  for (const child of Object.values(value)) if (!isWithinDepth(child, max - 1)) return false
  return true
}

const hasPrototypeKey = (value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  (Object.hasOwn(value, "__proto__") || Object.values(value).some(hasPrototypeKey))

/**
 * Reads JSON that a stranger wrote, as text or as UTF-8.
 *
 * Size and depth are checked before anything is built. A `__proto__` key is refused as malformed: copying such a member
 * by assignment would change the copy's prototype. As with `JSON.parse`, a number beyond a double's range is an infinity
 * and `"\\ud800"` a lone surrogate: `stringify` refuses both, so neither is ever signed or hashed.
 */
export const parse = (input: string | Uint8Array, bounds: Bounds = {}): Result.Result<unknown, JsonError> => {
  const { maxBytes = MAX_BYTES, maxDepth = MAX_DEPTH } = bounds
  const tooLarge = (size: number) => Result.fail(new JsonError({ reason: new TooLarge({ bytes: size, maxBytes }) }))
  let text: string
  if (typeof input === "string") {
    // A UTF-16 unit is at least one byte and at most three.
    if (input.length > maxBytes) return tooLarge(Buffer.byteLength(input))
    if (input.length * 3 > maxBytes && Buffer.byteLength(input) > maxBytes) return tooLarge(Buffer.byteLength(input))
    text = input
  } else {
    if (input.length > maxBytes) return tooLarge(input.length)
    try {
      text = decoder.decode(input)
    } catch {
      return malformed("it is not UTF-8")
    }
  }
  if (!textWithin(text, maxDepth)) return Result.fail(new JsonError({ reason: new TooDeep({ maxDepth }) }))
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    return malformed(cause instanceof Error ? cause.message.slice(0, 200) : String(cause))
  }
  // Only a text that spells the key, plainly or with an escape, can hold it.
  if ((text.includes("__proto__") || text.includes("\\u")) && hasPrototypeKey(value)) {
    return malformed('it has a member named "__proto__"')
  }
  return Result.succeed(value)
}
