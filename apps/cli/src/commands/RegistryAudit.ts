/** `parley registry audit`: whether a registry's history is what it was, and its conclusions follow from it. */
import * as fs from "node:fs"
import { resolve } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Identity from "@parley/core/Identity"
import * as Audit from "@parley/registry/Audit"
import * as Chain from "@parley/registry/Chain"
import * as ChainSource from "@parley/registry/ChainSource"
import * as Client from "@parley/registry/Client"
import * as Statement from "@parley/registry/Statement"
import type { RegistryError } from "@parley/registry/RegistryError"
import { Store, type StoreError } from "@parley/registry/Store"
import { ExitCode, type UsageError, Unsuccessful, usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Output from "../Output.ts"

/** Links between two words of progress. */
const PROGRESS = 10_000

const read = (what: string, file: string, maxBytes: number): Effect.Effect<unknown, UsageError> =>
  Effect.try({
    try: (): unknown => {
      const { size } = fs.statSync(file)
      if (size > maxBytes) throw new Error(`it has ${size} bytes, and at most ${maxBytes} are read`)
      return JSON.parse(fs.readFileSync(file, "utf8"))
    },
    catch: (cause) =>
      usage(
        "BadFile",
        `cannot read the ${what} ${resolve(file)}: ${cause instanceof Error ? cause.message : String(cause)}`
      )
  })

const write = (file: string, text: string): Effect.Effect<void, UsageError> =>
  Effect.try({
    try: () => fs.writeFileSync(file, text),
    catch: (cause) =>
      usage("BadFile", `cannot write ${resolve(file)}: ${cause instanceof Error ? cause.message : String(cause)}`)
  })

/** A file that lines are added to. */
const copy = (file: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.try({
        try: () => fs.openSync(file, "w"),
        catch: (cause) =>
          usage("BadFile", `cannot write ${resolve(file)}: ${cause instanceof Error ? cause.message : String(cause)}`)
      }),
      (descriptor) => Effect.sync(() => fs.closeSync(descriptor))
    ),
    (descriptor) => (text: string) => void fs.writeSync(descriptor, text)
  )

const isHead = Schema.is(Chain.Head)

/** The head that was kept, if there is one. */
const keptHead = Effect.fnUntraced(function* (file: string | undefined) {
  if (file === undefined || !fs.existsSync(file)) return []
  const head = yield* read("head", file, 4_096)
  return isHead(head)
    ? [head]
    : yield* usage(
        "BadFile",
        `${resolve(file)} is no head that parley registry audit has kept: move it away, or name another file`
      )
})

type Links = Stream.Stream<Chain.Link, ChainSource.ChainSourceError | RegistryError | StoreError>

const linksOf = Effect.fnUntraced(function* (
  source: string
): Effect.fn.Return<Links, UsageError | RegistryError | StoreError, Scope.Scope> {
  if (/^https?:/.test(source)) {
    const client = yield* Layer.build(Client.layer({ at: source }).pipe(Layer.provide(Identity.layerEphemeral)))
    return ChainSource.ofRegistry(Context.get(client, Client.Client))
  }
  const file = resolve(source)
  if (!fs.existsSync(file)) {
    return yield* usage(
      "BadFile",
      `${source} is neither a URL nor a file: write http://host:port, or the path of a data file`
    )
  }
  if (!ChainSource.isDataFile(file)) return ChainSource.ofFile(file)
  const StoreSqlite = yield* Effect.promise(() => import("@parley/registry/StoreSqlite"))
  return ChainSource.ofStore(file, Context.get(yield* Layer.build(StoreSqlite.layer(file)), Store))
})

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`

const describe = (result: Audit.Result): string => {
  const { agents, attested, found, findings, head, reports, reviewers, seen, statements } = result
  const of = `${count(reports, "report")} of ${count(reviewers, "reviewer")} about ${count(agents, "agent")}, ${attested} with a receipt that holds`
  const compared = [
    ...(seen > 0
      ? [`${count(seen, "hash").replace("hashs", "hashes")} seen before still ${seen === 1 ? "stands" : "stand"}`]
      : []),
    ...(statements > 0 ? [`${count(statements, "statement")} computed again`] : [])
  ]
  const lines = findings.map((finding) => `  ${Audit.describe(finding)}`)
  return [
    `${result.ok ? "valid" : "not valid"}: ${[of, ...compared].join("; ")}`,
    ...(reports === 0 ? [] : [`head: ${head.seq} ${head.hash}`]),
    ...(found === 0 ? [] : [`${count(found, "finding")}:`, ...lines]),
    ...(found > findings.length ? [`  and ${found - findings.length} more`] : [])
  ].join("\n")
}

export const run = Effect.fnUntraced(function* (options: Flags.RegistryAudit & Flags.Common) {
  const statements = yield* Effect.forEach(options.statement, (file) => read("statement", file, Statement.MAX_BYTES))
  const heads = yield* keptHead(options.head)
  const links = yield* linksOf(options.source)
  const keep = options.save === undefined ? () => undefined : yield* copy(options.save)
  const heard = Stream.tap(links, (link) => {
    keep(`${JSON.stringify(link)}\n`)
    return link.seq % PROGRESS === 0 ? Output.note(options, `${link.seq} reports …`) : Effect.void
  })
  const result = yield* Audit.run(heard, { statements, heads })
  // A head that does not stand for the whole of a sound chain would only hide what is wrong from the next audit.
  if (options.head !== undefined && result.ok) yield* write(options.head, `${JSON.stringify(result.head)}\n`)
  yield* Output.result(options, result, describe(result))
  if (!result.ok) return yield* new Unsuccessful({ exitCode: ExitCode.TaskFailed })
}, Effect.scoped)
