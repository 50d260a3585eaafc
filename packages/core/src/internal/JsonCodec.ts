/**
 * A schema as two plain functions between a value and its JSON, compiled once; `Schema.Json` itself costs nothing.
 */
import { Buffer } from "node:buffer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as CanonicalJson from "../CanonicalJson.ts"
import type { Codec } from "../Capability.ts"
import * as PlainCodec from "./PlainCodec.ts"

/** Longest text of why a value does not fit. */
const MAX_DETAIL = 600

/** Why a value does not fit. */
export class Unfit {
  readonly detail: string

  constructor(detail: string) {
    this.detail = detail
  }
}

/** Encodes to and decodes from JSON data. */
export interface JsonCodec<T> {
  readonly encode: (value: T) => Schema.Json | Unfit
  readonly decode: (json: Schema.Json) => T | Unfit
}

const compiled = new WeakMap<object, JsonCodec<never>>()

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, MAX_DETAIL)

/** Tries the short way, where there is one; the long one also says what is wrong. */
const guarded =
  <A, B>(copy: PlainCodec.Copy | undefined, run: (value: A) => Result.Result<B, unknown>) =>
  (value: A): B | Unfit => {
    try {
      const copied = copy === undefined ? PlainCodec.doubt : copy(value)
      if (copied !== PlainCodec.doubt) return copied as B
      const result = run(value)
      return Result.isSuccess(result) ? result.success : new Unfit(reason(result.failure))
    } catch (error) {
      return new Unfit(reason(error))
    }
  }

/** The codec of JSON itself. */
export const asIs: JsonCodec<Schema.Json> = { encode: (value) => value, decode: (json) => json }

/** The codec of a schema. */
export const of = <T>(schema: Codec<T>): JsonCodec<T> => {
  if ((schema as unknown) === Schema.Json) return asIs as unknown as JsonCodec<T>
  const known = compiled.get(schema)
  if (known !== undefined) return known as unknown as JsonCodec<T>
  const json = Schema.toCodecJson(schema)
  const copy = PlainCodec.of(json.ast)
  const codec: JsonCodec<T> = {
    encode: guarded(copy, Schema.encodeUnknownResult(json)),
    decode: guarded(copy, Schema.decodeUnknownResult(json))
  }
  compiled.set(schema, codec as unknown as JsonCodec<never>)
  return codec
}

/** Whether a text opens so few brackets that it cannot nest deeper than allowed; one that opens more may still not. */
const isShallow = (text: string, maxDepth: number): boolean => {
  // Whatever is opened is closed.
  if (text.length <= 2 * maxDepth) return true
  let more = maxDepth
  for (const bracket of ["{", "["]) {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) if (--more < 0) return false
  }
  return true
}

/** Reads a JSON text from outside, whose size is already bounded. */
export const parse = (text: string, maxDepth: number): Schema.Json | Unfit => {
  if (!isShallow(text, maxDepth) || text.includes("__proto__") || text.includes("\\u")) {
    const parsed = CanonicalJson.parse(text, { maxBytes: Number.MAX_SAFE_INTEGER, maxDepth })
    return Result.isSuccess(parsed) ? (parsed.success as Schema.Json) : new Unfit(parsed.failure.message)
  }
  try {
    return JSON.parse(text) as Schema.Json
  } catch (error) {
    return new Unfit(`not JSON: ${reason(error)}`)
  }
}

/** Writes JSON data as text; undefined when there is none for it. */
export const stringify = (json: Schema.Json): string | undefined => {
  try {
    return JSON.stringify(json)
  } catch {
    return undefined
  }
}

/** Bytes of a text that has more than allowed, else zero. */
export const excess = (text: string, limit: number): number => {
  if (text.length * 3 <= limit) return 0
  const bytes = Buffer.byteLength(text)
  return bytes > limit ? bytes : 0
}
