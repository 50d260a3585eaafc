/** `parley ask`: several agents, one verdict. */
import { existsSync, writeFileSync } from "node:fs"
import { dirname, resolve } from "node:path"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Certificate from "@parley/consensus/Certificate"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import { type Dissent, Strategies, type Verdict } from "@parley/core/Strategy"
import type { Move } from "@parley/core/Trust"
import { ExitCode, Unsuccessful, usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Input from "../Input.ts"
import * as Joined from "../Joined.ts"
import * as Names from "../Names.ts"
import * as Output from "../Output.ts"
import * as Placing from "../Placing.ts"
import * as Settings from "../Settings.ts"

/** The parts in which a value differs from what was agreed; all of it where the two are no objects. */
const differing = (value: Schema.Json, agreed: unknown): unknown => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value
  if (typeof agreed !== "object" || agreed === null) return value
  const other = new Map(Object.entries(agreed))
  const parts = Object.entries(value).filter(([name, part]) => JSON.stringify(part) !== JSON.stringify(other.get(name)))
  return parts.length === 0 ? value : Object.fromEntries(parts)
}

const moved = (moves: ReadonlyArray<Move>, node: NodeId): string => {
  const own = moves.filter((move) => move.node === node)
  const [first, last] = [own[0], own.at(-1)]
  return first === undefined || last === undefined
    ? ""
    : ` (trust ${first.before.toFixed(2)} → ${last.after.toFixed(2)})`
}

const voice = (dissent: Dissent, agreed: unknown, nameOf: Names.NameOf): string =>
  dissent._tag === "Different"
    ? `dissent: ${Names.of(dissent.node, nameOf)} said ${Output.plain(differing(dissent.value, agreed))}`
    : `failed: ${Names.put(dissent.reason, nameOf)}`

const describe = (verdict: Verdict, moves: ReadonlyArray<Move>, nameOf: Names.NameOf): string => {
  const names = (nodes: ReadonlyArray<NodeId>) => nodes.map((node) => Names.of(node, nameOf)).join(", ")
  if (verdict.status !== "reached") {
    const said = verdict.votes.map(({ nodes, value }) => `said ${Output.plain(value)}: ${names(nodes)}`)
    const failed = verdict.dissent.filter(({ _tag }) => _tag === "Failed")
    return [
      `${verdict.status}: ${verdict.answers.length} of ${verdict.invited.length} answered, the rule is ${verdict.rule}`,
      ...said,
      ...failed.map((each) => `${voice(each, verdict.value, nameOf)}${moved(moves, each.node)}`)
    ].join("\n")
  }
  const behind = verdict.answers.length - verdict.dissent.filter(({ _tag }) => _tag === "Different").length
  const head = `reached ${behind} of ${verdict.invited.length}   ${Output.plain(verdict.value)}`
  const dissent = verdict.dissent.map((each) => `${voice(each, verdict.value, nameOf)}${moved(moves, each.node)}`)
  return [head, ...dissent].join("\n")
}

/** Whether a certificate can be written there, before anybody is asked for what it is to hold. */
const checkFolder = (file: string) => {
  const folder = dirname(resolve(file))
  return existsSync(folder)
    ? Effect.void
    : usage("BadFile", `cannot write the certificate ${resolve(file)}: there is no folder ${folder}`)
}

const keep = Effect.fnUntraced(function* (file: string, verdict: Verdict) {
  const identity = yield* Identity.Identity
  const strategies = yield* Strategies
  const aggregation = yield* strategies.aggregation(verdict.aggregation)
  const certificate = Certificate.make(identity, verdict, { aggregation })
  if (certificate instanceof Certificate.CertificateError) return yield* certificate
  const path = resolve(file)
  yield* Effect.try({
    try: () => writeFileSync(path, `${JSON.stringify(certificate, undefined, 2)}\n`),
    catch: (cause) =>
      usage(
        "BadFile",
        `cannot write the certificate ${path}: ${cause instanceof Error ? cause.message : String(cause)}`
      )
  })
  return path
})

export const run = Effect.fnUntraced(function* (options: Flags.Ask & Flags.Common) {
  const input = yield* Input.read(options.input, options.field)
  const { call, heard } = yield* Placing.options(options)
  const hedge = yield* Settings.time("hedge", options.hedge)
  if (options.certificate !== undefined) yield* checkFolder(options.certificate)
  if (options.publish && (yield* Settings.registry(options)) === undefined) {
    return yield* usage(
      "NoRegistry",
      "--publish says to publish the verdict, and --registry URL gives no registry to do so"
    )
  }
  const { nameOf, verdict, path } = yield* Joined.asker({ ...options, kind: "call" }, (node, nameOf) =>
    Effect.gen(function* () {
      const verdict = yield* node.ask(options.capability, input, {
        ...call(nameOf),
        receipt: true,
        ...(options.select === undefined ? {} : { select: options.select }),
        ...(options.aggregate === undefined ? {} : { aggregate: options.aggregate }),
        ...(hedge === undefined ? {} : { hedge })
      })
      const path = options.certificate === undefined ? undefined : yield* keep(options.certificate, verdict)
      return { nameOf, verdict, path }
    })
  )
  yield* Output.result(
    options,
    { ...verdict, trust: heard.moves, ...(path === undefined ? {} : { certificate: path }) },
    describe(verdict, heard.moves, nameOf)
  )
  if (path !== undefined) yield* Output.note(options, `certificate ${path}`)
  if (verdict.status !== "reached") return yield* new Unsuccessful({ exitCode: ExitCode.TaskFailed })
})
