/**
 * What an agent can do: one definition from which handler, caller, record and validation all follow.
 *
 * `make` describes work with one answer, `stream` work whose answer comes in pieces. Both carry Effect Schemas; what
 * travels is the schemas' canonical JSON, and what is published in the agent record is their JSON Schema.
 */
import * as Schema from "effect/Schema"
import * as SemVer from "effect/SemVer"
import * as Result from "effect/Result"

/** Longest capability name, in characters: long enough for three nested words, short enough to index by the thousand. */
export const MAX_NAME_LENGTH = 128
/** Longest description, in characters: a paragraph, the part that word search reads. */
export const MAX_DESCRIPTION_LENGTH = 1_000
/** Most tags, and most features, of one capability. */
export const MAX_LABELS = 32
/** Most metadata entries of one capability. */
export const MAX_METADATA = 32
/** Longest label, metadata key or metadata string, in characters. */
export const MAX_LABEL_LENGTH = 128

/** Dotted lower-case words: `csv.describe`, `text.sentiment`. */
export const Name = Schema.String.check(
  Schema.isMaxLength(MAX_NAME_LENGTH),
  Schema.isPattern(/^[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9][a-z0-9_-]*)*$/)
)

/** A semantic version (semver.org 2.0.0), such as `1.2.0`. */
export const Version = Schema.String.check(
  Schema.isMaxLength(64),
  Schema.makeFilter((text: string) => Result.isSuccess(SemVer.parse(text)) || "a semantic version such as 1.2.0")
)

// Control characters could rewrite the terminal or the log that shows the text; tabs and line feeds may stand in prose.
const isLine = Schema.isPattern(/^\P{Cc}*$/u, { message: "text without control characters" })
const isProse = Schema.isPattern(/^[\P{Cc}\t\n]*$/u, { message: "text without control characters" })
const Label = Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(MAX_LABEL_LENGTH), isLine)
const Labels = Schema.Array(Label).check(Schema.isMaxLength(MAX_LABELS))
const MetadataText = Schema.String.check(Schema.isMaxLength(MAX_LABEL_LENGTH), isLine)
const Scalar = Schema.Union([MetadataText, Schema.Finite, Schema.Boolean])

const isKey = Schema.is(MetadataText)

/** A metadata value: a scalar, or a list of scalars. */
export const MetadataValue = Schema.Union([Scalar, Schema.Array(Scalar).check(Schema.isMaxLength(MAX_LABELS))])
/** A metadata value: a scalar, or a list of scalars. */
export type MetadataValue = typeof MetadataValue.Type

/** What a call costs. */
export const Cost = Schema.Struct({
  /** US dollars for one call; zero or absent means free. */
  usdPerCall: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
})
/** What a call costs. */
export type Cost = typeof Cost.Type

/** A capability as it is published in an agent record. */
export const CapabilityRecord = Schema.Struct({
  name: Name,
  version: Version,
  description: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(MAX_DESCRIPTION_LENGTH), isProse)),
  tags: Schema.optionalKey(Labels),
  features: Schema.optionalKey(Labels),
  metadata: Schema.optionalKey(
    Schema.Record(Schema.String, MetadataValue).check(
      Schema.isMaxProperties(MAX_METADATA),
      // A schema for keys would pass over the keys that do not fit it.
      Schema.makeFilter((metadata: { readonly [key: string]: unknown }) => Object.keys(metadata).every(isKey))
    )
  ),
  /** JSON Schema (draft 2020-12) of the input. */
  input: Schema.optionalKey(Schema.Json),
  /** JSON Schema (draft 2020-12) of the output, or of one chunk when `stream` is true. */
  output: Schema.optionalKey(Schema.Json),
  /** The answer comes in chunks. */
  stream: Schema.optionalKey(Schema.Boolean),
  cost: Schema.optionalKey(Cost),
  /** Typical time to answer, in milliseconds. */
  latencyMs: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))),
  /** How many tasks run at once. */
  concurrency: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)))
})
/** A capability as it is published in an agent record. */
export type CapabilityRecord = typeof CapabilityRecord.Type

/** A schema whose decoding and encoding need no services, as those of capabilities must be. */
export type Codec<T> = Schema.Codec<T, unknown>

/** How the answer arrives: at once, or in chunks. */
export type Kind = "call" | "stream"

/** A typed capability: the definition that handlers and callers are inferred from. */
export interface Capability<In, Out, K extends Kind = Kind> {
  readonly kind: K
  readonly name: string
  readonly version: string
  /** `name@version`. */
  readonly id: string
  readonly input: Codec<In>
  readonly output: Codec<Out>
  readonly record: CapabilityRecord
}

/** What may be said of a capability besides its name. */
export interface Options<In, Out> {
  readonly version: string
  readonly input: Codec<In>
  readonly output: Codec<Out>
  readonly description?: string
  readonly tags?: ReadonlyArray<string>
  readonly features?: ReadonlyArray<string>
  readonly metadata?: { readonly [key: string]: MetadataValue }
  readonly cost?: Cost
  readonly latencyMs?: number
  readonly concurrency?: number
}

const define = <In, Out, K extends Kind>(
  kind: K,
  name: string,
  { input, output, ...described }: Options<In, Out>
): Capability<In, Out, K> => {
  const record = Schema.decodeUnknownSync(CapabilityRecord)({
    name,
    ...described,
    input: jsonSchema(input),
    output: jsonSchema(output),
    ...(kind === "stream" ? { stream: true } : {})
  })
  return { kind, name, version: described.version, id: `${name}@${described.version}`, input, output, record }
}

const jsonSchema = (schema: Schema.Constraint): unknown => {
  const document = Schema.toJsonSchemaDocument(schema)
  return Object.keys(document.definitions).length === 0
    ? document.schema
    : { ...document.schema, $defs: document.definitions }
}

/**
 * Defines a capability with one answer.
 *
 * Throws when the name, the version or a bound does not hold: a definition is code, and a wrong one is a bug.
 */
export const make = <In, Out>(name: string, options: Options<In, Out>): Capability<In, Out, "call"> =>
  define("call", name, options)

/** Defines a capability whose answer comes in chunks; `output` is the schema of one chunk. */
export const stream = <In, Out>(name: string, options: Options<In, Out>): Capability<In, Out, "stream"> =>
  define("stream", name, options)

/** Splits `name@version` (or `name@range`, or a bare name) at its `@`. */
export const parseId = (id: string): { readonly name: string; readonly version: string | undefined } => {
  const at = id.indexOf("@")
  return at < 0 ? { name: id, version: undefined } : { name: id.slice(0, at), version: id.slice(at + 1) }
}

/**
 * A capability known by `name@version` alone, with any JSON in and out: what the Promise face and the command line use.
 */
export const untyped = <K extends Kind = "call">(
  id: string,
  options: Partial<Omit<Options<unknown, unknown>, "version" | "input" | "output">> & { readonly kind?: K } = {}
): Capability<Schema.Json, Schema.Json, K> => {
  const { name, version } = parseId(id)
  const { kind, ...described } = options
  return define<Schema.Json, Schema.Json, K>((kind ?? "call") as K, name, {
    ...described,
    version: version ?? "1.0.0",
    input: Schema.Json,
    output: Schema.Json
  })
}
