/**
 * What is sent as a task's input, from the command line's word for it.
 */
import * as fs from "node:fs"
import { extname, resolve } from "node:path"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Guardrails from "@parley/core/Guardrails"
import { type UsageError, usage } from "./Failure.ts"

/** Largest input read, in bytes: what a node takes by default. */
export const MAX_BYTES = Guardrails.defaults.maxPayloadBytes

const parseJson = (text: string, from: string): Schema.Json => {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw usage(
      "BadInput",
      `${from} is not JSON (${cause instanceof Error ? cause.message : String(cause)}): write it as '{"text":"…"}', @FILE, or - for stdin; --field NAME wraps plain text`
    )
  }
}

const tooLarge = (from: string, bytes: number) =>
  usage("BadInput", `${from} has ${bytes} bytes, and an input may have at most ${MAX_BYTES}`)

const readFile = (path: string): string => {
  const file = resolve(path)
  let bytes: Buffer
  try {
    const { size } = fs.statSync(file)
    if (size > MAX_BYTES) throw tooLarge(file, size)
    bytes = fs.readFileSync(file)
  } catch (cause) {
    if (typeof cause === "object" && cause !== null && "_tag" in cause) throw cause
    const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : String(cause)
    throw usage("BadInput", `cannot read the input file ${file} (${code}): check the path`)
  }
  return bytes.toString("utf8")
}

const readStdin = async (): Promise<string> => {
  const chunks: Array<Buffer> = []
  let bytes = 0
  for await (const chunk of process.stdin) {
    const buffer = Buffer.from(chunk)
    bytes += buffer.length
    if (bytes > MAX_BYTES) throw tooLarge("stdin", bytes)
    chunks.push(buffer)
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** The text of an argument: itself, of `@FILE`, or of stdin for `-`. Where it names a file, that is what was meant. */
export const text = (word: string): Effect.Effect<string, UsageError> =>
  Effect.tryPromise({
    try: async () => {
      if (word === "-") return readStdin()
      if (word.startsWith("@")) return readFile(word.slice(1))
      if (fs.existsSync(word)) throw usage("BadInput", `${word} is a file: write @${word} for what stands in it`)
      return word
    },
    catch: failure
  })

const failure = (cause: unknown): UsageError =>
  typeof cause === "object" && cause !== null && "_tag" in cause && cause._tag === "UsageError"
    ? (cause as UsageError)
    : usage("BadInput", `cannot read the input: ${String(cause)}`)

const plainText = new Set(["", "txt", "md"])

/** The field under which a file's text is sent: its extension, and `text` for plain text. `undefined` for JSON. */
export const fieldOf = (path: string): string | undefined => {
  const extension = extname(path).slice(1).toLowerCase()
  return extension === "json" ? undefined : plainText.has(extension) ? "text" : extension
}

/**
 * The input: JSON text, `@FILE`, or `-` for stdin. A `.json` file is read as JSON; any other becomes an object with its text
 * under its extension (`@table.csv` is `{"csv": "…"}`; `txt`, `md` and none are `text`), or under `field`.
 */
export const read = (word: string | undefined, field: string | undefined): Effect.Effect<Schema.Json, UsageError> =>
  Effect.tryPromise({
    try: async (): Promise<Schema.Json> => {
      if (word === undefined) return {}
      if (word === "-") {
        const content = await readStdin()
        return field === undefined ? parseJson(content, "stdin") : { [field]: content }
      }
      if (!word.startsWith("@")) return parseJson(word, "the input")
      const path = word.slice(1)
      const content = readFile(path)
      const under = field ?? fieldOf(path)
      return under === undefined ? parseJson(content, path) : { [under]: content }
    },
    catch: failure
  })
