/**
 * What is shown: a node finds six agents in a folder, calls the best, asks the four cheapest, and does not follow the one
 * that is wrong.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Node from "@parley/core/Node"
import { schemeOf } from "@parley/core/Transport"
import * as AgentProcess from "./AgentProcess.ts"
import * as CustomNode from "./CustomNode.ts"
import * as Position from "./Position.ts"

/** Where the point really is, in metres, and its distances to four beacons as measured, to the centimetre. */
const truth = [37, 62] as const
const ranges = [
  { x: 0, y: 0, distance: 72.2 },
  { x: 100, y: 0, distance: 88.39 },
  { x: 100, y: 80, distance: 65.52 },
  { x: 0, y: 80, distance: 41.14 }
]

const sites = { here: "fra1", allowed: ["fra1", "ams1"] }
const cast: ReadonlyArray<Omit<AgentProcess.Role, "folder">> = [
  { name: "lena", method: "linear", site: "fra1", usdPerCall: 0.001 },
  { name: "ivo", method: "iterative", site: "ams1", usdPerCall: 0.002 },
  { name: "sara", method: "search", site: "fra1", usdPerCall: 0 },
  { name: "axel", method: "swapped", site: "fra1", usdPerCall: 0.0005 },
  { name: "rich", method: "iterative", site: "fra1", usdPerCall: 1 },
  { name: "abby", method: "linear", site: "sfo3", usdPerCall: 0 }
]

/** What happened, and whether it was what should have happened. */
export interface Report {
  readonly known: number
  readonly matching: ReadonlyArray<string>
  readonly called: string
  readonly asked: ReadonlyArray<string>
  readonly verdict: { readonly status: string; readonly value: ReadonlyArray<number> | null; readonly rule: string }
  readonly offByMetres: number | null
  readonly dissent: ReadonlyArray<string>
  readonly schemes: ReadonlyArray<string>
  /** Empty when all is well. */
  readonly failed: ReadonlyArray<string>
}

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "parley-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Runs it all. `liars` of the cheap agents are wrong; with half of them or more, no aggregation can know. */
export const run = (options: {
  readonly liars: number
  readonly tell: (line: string) => void
}): Effect.Effect<Report, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { tell } = options
    const path = yield* folder
    const honest = ["lena", "ivo", "sara"].slice(0, Math.max(0, options.liars - 1))
    const roles = cast.map((role): AgentProcess.Role => {
      const method = honest.includes(role.name) ? "swapped" : role.method
      return { ...role, method, folder: path }
    })
    const ids = yield* Effect.forEach(roles, AgentProcess.start, { concurrency: 3 })
    const names = new Map(ids.map((id, i) => [id, roles[i]!.name]))
    const nameOf = (id: string): string => names.get(id) ?? id
    tell(`${roles.length} agents serve position.locate@1.0.0, each in a process of its own, reached over Unix sockets`)
    return yield* Effect.provide(
      Effect.gen(function* () {
        const node = yield* Node.Node
        const Locate = Position.make()
        const known = Effect.map(node.status, (status) => status.known.records - 1)
        const search = Effect.andThen(node.discover({ name: Locate.name }), known)
        const everyone = yield* search.pipe(
          Effect.repeat({
            schedule: Schedule.spaced("50 millis"),
            until: (count) => count >= roles.length,
            times: 100
          }),
          Effect.timeoutOrElse({ duration: "20 seconds", orElse: () => known })
        )
        const matches = yield* node.discover({ name: Locate.name }, { within: 0 })
        tell(`found ${everyone} of them in the folder; ${matches.length} are at ${sites.allowed.join(" or ")}:`)
        for (const { capability, node: id, parts, score } of matches) {
          const price = capability.cost === undefined ? "free" : `$${capability.cost.usdPerCall}`
          tell(`  ${nameOf(id).padEnd(5)} score ${score.toFixed(3)}   ${parts.availability.why}   ${price}`)
        }

        const answered = yield* node.request(Locate, ranges)
        tell(
          `called the best match: ${nameOf(answered.peer)} says ${answered.output.map((n) => n.toFixed(2)).join(", ")}`
        )

        const verdict = yield* node.ask(Locate, ranges, { select: "cheapest-4", aggregate: "geometric-median" })
        const dissent = verdict.outcome.dissent.map(nameOf)
        for (const { node: id, value } of verdict.answers)
          tell(`  ${nameOf(id).padEnd(5)} says ${JSON.stringify(value)}`)
        const value = verdict.value ?? null
        const off = value === null ? null : Math.hypot(value[0]! - truth[0], value[1]! - truth[1])
        tell(
          `asked ${verdict.selection}: ${verdict.aggregation} ${verdict.status}` +
            (value === null ? "" : ` at ${value.map((n) => n.toFixed(2)).join(", ")}, ${off!.toFixed(3)} m off`) +
            (dissent.length === 0 ? "" : `; ${dissent.join(", ")} dissents`)
        )
        const peers = yield* node.peers
        const facts = {
          known: everyone,
          matching: matches.map(({ node: id }) => nameOf(id)),
          called: nameOf(answered.peer),
          asked: verdict.invited.map(({ node: id }) => nameOf(id)),
          verdict: { status: verdict.status, value, rule: verdict.rule },
          offByMetres: off,
          dissent,
          schemes: [...new Set(peers.map(({ address }) => schemeOf(address)))]
        }
        return { ...facts, failed: problems(facts) }
      }),
      CustomNode.layer({ name: "nora", folder: path, sites })
    )
  })

const problems = (facts: Omit<Report, "failed">): ReadonlyArray<string> => {
  const expected: ReadonlyArray<readonly [boolean, string]> = [
    [facts.known === cast.length, `FolderDiscovery: ${facts.known} of ${cast.length} agents were found`],
    [facts.matching.length === 5 && !facts.matching.includes("abby"), "SiteMatcher: the agent at sfo3 matched"],
    [cast.some(({ name, site }) => name === facts.called && site === "fra1"), "SiteMatcher: the call left the site"],
    [facts.asked.toSorted().join() === "axel,ivo,lena,sara", `Cheapest: it asked ${facts.asked.join(", ")}`],
    [facts.offByMetres !== null && facts.offByMetres < 0.1, `GeometricMedian: it is off by ${facts.offByMetres} m`],
    [facts.dissent.join() === "axel", `GeometricMedian: dissent is ${facts.dissent.join(", ") || "nobody's"}`],
    [facts.schemes.join() === "unix", `UnixTransport: connections are ${facts.schemes.join(", ") || "none"}`]
  ]
  return expected.flatMap(([holds, problem]) => (holds ? [] : [problem]))
}
