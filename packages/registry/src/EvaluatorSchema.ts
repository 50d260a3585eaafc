/**
 * EvaluatorSchema: whether an answer is what its schema says (JSON Schema 2020-12).
 *
 * The schema may be a stranger's: that of the capability which he serves. So it is read before anything is made of it:
 * references lead within it and never in circles, it stays small when they are written out, and its patterns are those
 * whose cost is known. What goes beyond is not judged.
 */
import type { ValidateFunction } from "ajv"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import { abstained, type Evaluator, type Judgement, score, type Task } from "./Evaluator.ts"
import { costOf } from "./internal/RegexCost.ts"

/** Largest schema, in bytes of JSON. */
export const MAX_SCHEMA_BYTES = 65_536
/** Most parts of a schema with its references written out: what is compiled, and what each part of an answer may be held against. */
export const MAX_SCHEMA_NODES = 4_096
/** Largest answer that is validated, in bytes of JSON, and most parts of it; with `uniqueItems`, which compares each with each. */
export const MAX_OUTPUT_BYTES = 262_144
export const MAX_OUTPUT_NODES = 10_000
export const MAX_UNIQUE_NODES = 1_000
/** Most ways that a pattern may be tried on one text: a few milliseconds. */
export const MAX_PATTERN_WAYS = 1_000_000
/** Compiled schemas that are kept; the oldest goes first. */
export const MAX_COMPILED = 64

type Members = { readonly [key: string]: unknown }
const isObject = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Words that lead out of the schema, or to places that only running it shows. */
const refusedWords = [
  "$id",
  "$anchor",
  "$dynamicRef",
  "$dynamicAnchor",
  "$recursiveRef",
  "$recursiveAnchor",
  "$vocabulary"
]

class Refused extends Error {}

const resolvePointer = (root: unknown, reference: string): unknown => {
  if (reference === "#") return root
  if (!reference.startsWith("#/"))
    throw new Refused(`the reference ${JSON.stringify(reference.slice(0, 60))} leads out of it`)
  let value = root
  for (const part of reference.slice(2).split("/")) {
    const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key))
      throw new Refused(`${reference} leads nowhere`)
    value = (value as Members)[key]
  }
  return value
}

const checkPattern = (pattern: unknown): void => {
  if (typeof pattern !== "string" || costOf(pattern) === undefined) {
    throw new Refused(`what the pattern ${JSON.stringify(pattern)?.slice(0, 60)} may cost cannot be said`)
  }
}

/** Reads a schema through as if its references were written out; throws `Refused`. */
const inspect = (root: unknown): void => {
  let nodes = 0
  const under: Array<unknown> = []
  const visit = (value: unknown): void => {
    if (++nodes > MAX_SCHEMA_NODES)
      throw new Refused(`it has more than ${MAX_SCHEMA_NODES} parts with its references written out`)
    if (Array.isArray(value)) return value.forEach(visit)
    if (!isObject(value)) return
    for (const word of refusedWords) {
      if (Object.hasOwn(value, word) && typeof value[word] === "string") throw new Refused(`it uses ${word}`)
    }
    if (typeof value["pattern"] === "string") checkPattern(value["pattern"])
    if (isObject(value["patternProperties"])) Object.keys(value["patternProperties"]).forEach(checkPattern)
    if (typeof value["$ref"] === "string") {
      const target = resolvePointer(root, value["$ref"])
      if (under.includes(target)) throw new Refused("it refers to itself")
      under.push(target)
      visit(target)
      under.pop()
    }
    under.push(value)
    for (const [key, child] of Object.entries(value)) {
      // Definitions count where they are referred to; examples and constants are data.
      if (key === "$defs" || key === "definitions" || key === "examples" || key === "default") continue
      visit(child)
    }
    under.pop()
  }
  visit(root)
}

class TooLong extends Error {}

/** `RegExp` for ajv, which looks at a text only where its length keeps the pattern's cost within bounds. */
const boundedRegExp = Object.assign(
  (pattern: string, flags: string) => {
    const cost = costOf(pattern)
    const regex = new RegExp(pattern, flags)
    return {
      // ajv keeps expressions by this.
      toString: () => String(regex),
      test: (text: string): boolean => {
        if (cost === undefined || cost.ways * text.length ** cost.growth > MAX_PATTERN_WAYS) throw new TooLong()
        return regex.test(text)
      }
    }
  },
  { code: "boundedRegExp" }
)

const countNodes = (value: unknown): number => {
  let nodes = 0
  const visit = (each: unknown): void => {
    nodes += 1
    if (nodes <= MAX_OUTPUT_NODES && typeof each === "object" && each !== null) Object.values(each).forEach(visit)
  }
  visit(value)
  return nodes
}

interface Compiled {
  readonly validate: ValidateFunction
  readonly isUnique: boolean
}

const compile = async (text: string): Promise<Compiled | string> => {
  const schema = JSON.parse(text) as Schema.Json
  if (!isObject(schema) && typeof schema !== "boolean") return "the schema is neither an object nor a boolean"
  // What it is called, and which draft it was written for, leads ajv to look for those; 2020-12 is what is spoken here.
  const { $id: _id, $schema: _draft, ...plain } = isObject(schema) ? schema : {}
  const bare = isObject(schema) ? plain : schema
  try {
    inspect(bare)
  } catch (cause) {
    if (cause instanceof Refused) return `the schema is not used: ${cause.message}`
    throw cause
  }
  const { Ajv2020 } = await import("ajv/dist/2020.js")
  const ajv = new Ajv2020({
    strict: false,
    allErrors: false,
    validateFormats: false,
    logger: false,
    addUsedSchema: false,
    code: { regExp: boundedRegExp }
  })
  try {
    return { validate: ajv.compile(bare), isUnique: text.includes('"uniqueItems"') }
  } catch {
    return "the schema is not one of JSON Schema 2020-12"
  }
}

const judge = ({ validate, isUnique }: Compiled, output: Schema.Json): Judgement => {
  const nodes = countNodes(output)
  if (nodes > (isUnique ? MAX_UNIQUE_NODES : MAX_OUTPUT_NODES))
    return abstained("the output has too many parts to validate")
  try {
    if (validate(output)) return score(1, "the output fits its schema")
  } catch (cause) {
    return abstained(
      cause instanceof TooLong
        ? "a text of the output is too long for its pattern"
        : "the output could not be validated"
    )
  }
  const [first] = validate.errors ?? []
  return score(0, `the output does not fit its schema: ${first?.instancePath ?? ""} ${first?.message ?? ""}`.trim())
}

/**
 * 1 where the output fits the schema, else 0. Without a schema of its own it takes the capability's (`Task.outputSchema`), and
 * abstains where there is none, or none that is safe to use. `format` is not checked.
 */
export const jsonSchema = (schema?: Schema.Json): Evaluator => {
  const compiled = new Map<string, Promise<Compiled | string>>()
  const compiledOf = (text: string): Promise<Compiled | string> => {
    const known = compiled.get(text)
    if (known !== undefined) return known
    if (compiled.size >= MAX_COMPILED) {
      for (const oldest of compiled.keys()) {
        compiled.delete(oldest)
        break
      }
    }
    const fresh = compile(text)
    compiled.set(text, fresh)
    return fresh
  }
  const run = async ({ output, outputSchema }: Task): Promise<Judgement> => {
    const used = schema ?? outputSchema
    if (used === undefined) return abstained("the capability has no output schema")
    if (!CanonicalJson.isWithinDepth(used) || !CanonicalJson.isWithinDepth(output))
      return abstained("it is nested too deep")
    const text = CanonicalJson.stringify(used)
    if (Buffer.byteLength(text) > MAX_SCHEMA_BYTES)
      return abstained(`the schema has more than ${MAX_SCHEMA_BYTES} bytes`)
    if (Buffer.byteLength(JSON.stringify(output)) > MAX_OUTPUT_BYTES) {
      return abstained(`the output has more than ${MAX_OUTPUT_BYTES} bytes`)
    }
    const found = await compiledOf(text)
    return typeof found === "string" ? abstained(found) : judge(found, output)
  }
  return (task) =>
    Effect.tryPromise(() => run(task)).pipe(
      Effect.catchCause(() => Effect.succeed(abstained("the schema or the output could not be read")))
    )
}
