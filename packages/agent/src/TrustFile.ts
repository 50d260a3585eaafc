/**
 * Trust that outlives the process: one JSON file, `{ "v": 1, "entries": [ … ] }`, readable by its owner alone.
 *
 * It is read when the layer is built and written when its scope closes. What another process has learned in between is
 * kept, except about peers that this one has asked too.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { CapabilityRecord } from "@parley/core/Capability"
import { NodeId } from "@parley/core/NodeId"
import * as Trust from "@parley/core/Trust"
import { FileError } from "./FileError.ts"
import * as PrivateFile from "./internal/PrivateFile.ts"

/** Largest file that is read, in bytes: `Trust.MAX_ENTRIES` of the longest entries. */
export const MAX_FILE_BYTES = 64 * 1_048_576
/** Longest reason that is kept, in characters: a line on a terminal. */
export const MAX_WHY_LENGTH = 200

const kind: PrivateFile.Kind = { what: "trust", maxBytes: MAX_FILE_BYTES, secret: false }

const Entry = Schema.Struct({
  node: NodeId,
  capability: CapabilityRecord.fields.name,
  value: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
  samples: Schema.Natural,
  why: Schema.String
})
const File = Schema.Struct({
  v: Schema.Literal(1),
  entries: Schema.Array(Entry).check(Schema.isMaxLength(Trust.MAX_ENTRIES))
})
const decode = Schema.decodeUnknownSync(Schema.fromJsonString(File))

const readEntries = (path: string): ReadonlyArray<Trust.Entry> => {
  let text: string
  try {
    text = PrivateFile.read(path, kind).toString("utf8")
  } catch (cause) {
    if (cause instanceof FileError && cause.code === "NotFound") return []
    throw cause
  }
  try {
    return decode(text).entries
  } catch (cause) {
    const detail = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause)
    throw new FileError({
      path: PrivateFile.expand(path),
      what: kind.what,
      code: "Malformed",
      detail: `${detail.slice(0, MAX_WHY_LENGTH)}; restore it, or move it away to begin anew`
    })
  }
}

const attempt = <A>(path: string, op: string, run: () => A): Effect.Effect<A, FileError> =>
  Effect.try({ try: run, catch: (cause) => PrivateFile.failed(path, kind, op, cause) })

/** What the file holds; nothing where there is none. */
export const load = (path: string): Effect.Effect<ReadonlyArray<Trust.Entry>, FileError> =>
  attempt(path, "read", () => readEntries(path))

const keyOf = (entry: Trust.Entry): string => `${entry.node} ${entry.capability}`

/** Writes what was learned since `before` over what the file holds by now. */
export const save = (
  path: string,
  before: ReadonlyArray<Trust.Entry>,
  entries: ReadonlyArray<Trust.Entry>
): Effect.Effect<void, FileError> =>
  attempt(path, "write", () => {
    const samples = new Map(before.map((entry) => [keyOf(entry), entry.samples]))
    const learned = entries.filter((entry) => samples.get(keyOf(entry)) !== entry.samples)
    if (learned.length === 0) return
    const merged = new Map(readEntries(path).map((entry) => [keyOf(entry), entry]))
    for (const entry of learned) {
      merged.delete(keyOf(entry))
      merged.set(keyOf(entry), { ...entry, why: entry.why.slice(0, MAX_WHY_LENGTH) })
    }
    const kept = [...merged.values()].slice(-Trust.MAX_ENTRIES)
    PrivateFile.replace(path, `${JSON.stringify({ v: 1, entries: kept })}\n`, kind)
  })

/** Trust kept in a file. `~` is the home folder. What cannot be written at the end is logged, and lost. */
export const layer = (path: string): Layer.Layer<Trust.Trust, FileError> => {
  let before: ReadonlyArray<Trust.Entry> = []
  return Trust.layerKept({
    load: Effect.tap(load(path), (entries) =>
      Effect.sync(() => {
        before = entries
      })
    ),
    save: (entries) =>
      Effect.catch(save(path, before, entries), (error) => Effect.logWarning(`trust is not kept: ${error.message}`))
  })
}
