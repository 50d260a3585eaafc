/**
 * ChainSource: where an evidence chain is read from to be audited: a registry, its data file, or a saved copy.
 *
 * Whoever audits believes nothing, so each link's shape is looked at here; what it says is for `Audit`.
 */
import * as fs from "node:fs"
import * as readline from "node:readline"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Link } from "./Chain.ts"
import type { Client } from "./Client.ts"
import type { RegistryError } from "./RegistryError.ts"
import type { Store } from "./Store.ts"

/** Links that are asked for at once: a page of a registry. */
export const PAGE = 1_000
/** Longest line of a saved chain that is read, in characters: a report with its receipt many times over. */
export const MAX_LINE = 65_536

/** A link cannot be read, or the file that it is in. */
export class ChainSourceError extends Schema.TaggedError<ChainSourceError>()("ChainSourceError", {
  source: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.source}: ${this.detail}`
  }
}

const isLink = Schema.is(
  Schema.Struct({
    seq: Schema.Natural,
    hash: Schema.String,
    at: Schema.Natural,
    report: Schema.Struct({
      agent: Schema.String,
      capability: Schema.String,
      reviewer: Schema.String,
      task: Schema.String,
      success: Schema.Boolean,
      quality: Schema.Finite,
      latencyMs: Schema.optionalKey(Schema.Finite),
      receipt: Schema.optionalKey(Schema.Json)
    })
  })
)

const checked = (source: string, value: unknown, where: string): Effect.Effect<Link, ChainSourceError> =>
  isLink(value)
    ? // A receipt of whatever shape is for the audit to judge.
      Effect.succeed(value as unknown as Link)
    : Effect.fail(new ChainSourceError({ source, detail: `${where} is no link of an evidence chain` }))

const paged = <E>(
  source: string,
  page: (from: number) => Effect.Effect<ReadonlyArray<unknown>, E>
): Stream.Stream<Link, E | ChainSourceError> => {
  const from = (next: number): Stream.Stream<Link, E | ChainSourceError> =>
    Stream.unwrap(
      Effect.map(page(next), (links) => {
        const these = Stream.fromIterable(links).pipe(
          Stream.mapEffect((link, at) => checked(source, link, `entry ${next + at}`))
        )
        return links.length < PAGE
          ? these
          : Stream.concat(
              these,
              Stream.suspend(() => from(next + links.length))
            )
      })
    )
  return from(1)
}

/** The chain of a registry that runs. */
export const ofRegistry = (client: Client["Service"]): Stream.Stream<Link, RegistryError | ChainSourceError> =>
  paged(client.at, (from) =>
    client.use("read the evidence chain", (api) => api.chain.links({ query: { from, limit: PAGE } }))
  )

/** The chain of a store. */
export const ofStore = (source: string, store: Store["Service"]) => paged(source, (from) => store.chain(from, PAGE))

/** Whether a file is a registry's data file (SQLite). */
export const isDataFile = (file: string): boolean => {
  const descriptor = fs.openSync(file, "r")
  try {
    const head = Buffer.alloc(16)
    fs.readSync(descriptor, head, 0, 16, 0)
    return head.toString("latin1") === "SQLite format 3\0"
  } finally {
    fs.closeSync(descriptor)
  }
}

/** A chain that was saved, a line of JSON for each link. */
export const ofFile = (file: string): Stream.Stream<Link, ChainSourceError> =>
  Stream.suspend(() => {
    const failed = (cause: unknown) =>
      new ChainSourceError({
        source: file,
        detail: `it cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`
      })
    const input = fs.createReadStream(file, "utf8")
    const errors = new Promise<never>((_, reject) => input.once("error", reject))
    errors.catch(() => undefined)
    async function* lines(): AsyncGenerator<string> {
      const reader = readline.createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
      const iterator = reader[Symbol.asyncIterator]()
      for (;;) {
        const line = await Promise.race([iterator.next(), errors])
        if (line.done === true) return
        yield line.value
      }
    }
    return Stream.fromAsyncIterable(lines(), failed).pipe(
      Stream.filter((line) => line.trim() !== ""),
      Stream.mapEffect((line, at) => {
        const where = `line ${at + 1}`
        if (line.length > MAX_LINE) {
          return Effect.fail(
            new ChainSourceError({ source: file, detail: `${where} is longer than ${MAX_LINE} characters` })
          )
        }
        return Effect.flatMap(
          Effect.try({
            try: (): unknown => JSON.parse(line),
            catch: () => new ChainSourceError({ source: file, detail: `${where} is no JSON` })
          }),
          (value) => checked(file, value, where)
        )
      }),
      Stream.ensuring(Effect.sync(() => input.destroy()))
    )
  })
