/** The tracker and the seven agents as processes. */
import { join } from "node:path"
import type * as Effect from "effect/Effect"
import type { NodeId } from "@parley/core/NodeId"
import { root, type Runtime, runCommand } from "../../../scripts/setup.mjs"
import { FULL_MS, type Member, SLOW_MS } from "./Cast.ts"
import type { Company, ProcessFailed, Running } from "./Company.ts"
import { features, tags, words } from "./Describe.ts"
import type { Settings } from "./programs/agent.ts"
import * as Programs from "./Programs.ts"

const programs = join(import.meta.dirname, "programs")
const cli = join(root, "apps/cli/src/main.ts")

const parley = (runtime: Runtime, args: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...runCommand(runtime, join(programs, "leash.ts")),
  cli,
  ...args
]

/** `parley tracker` on a free port of the loopback interface. */
export const tracker = (company: Company, runtime: Runtime): Effect.Effect<Running, ProcessFailed> =>
  company.start({
    name: "tracker",
    last: true,
    command: parley(runtime, ["tracker", "--json", "--host", "127.0.0.1", "--port", "0"])
  })

const delayOf = ({ role }: Member): number => (role === "slow" ? SLOW_MS : role === "full" ? FULL_MS : 0)

const exec = (member: Member, program: Programs.Program, { at, registry: url }: Places): ReadonlyArray<string> => {
  const { name, role, runtime } = member
  const delayMs = delayOf(member)
  return parley(runtime, [
    ...["serve", "--json", "--name", name, "--tracker", at, "--no-mdns", "--capability", "csv.describe@1.0.0"],
    ...["--exec", Programs.command(program, { delayMs, doctored: role === "liar" }, runtime)],
    ...["--description", words, ...tags.flatMap((tag) => ["--tag", tag])],
    ...features.flatMap((feature) => ["--feature", feature]),
    ...(role === "relayed" ? ["--no-listen", "--relay", at] : ["--host", "127.0.0.1", "--port", "0"]),
    ...(role === "full" ? ["--concurrency", "1", "--queue", "0"] : []),
    ...(url === undefined ? [] : ["--registry", url]),
    ...(delayMs > 0 ? ["--latency", String(delayMs)] : [])
  ])
}

/** Where agents meet. */
export interface Places {
  /** The tracker's address. */
  readonly at: string
  /** The registry's URL. */
  readonly registry: string | undefined
}

/** `parley registry` on a free port of the loopback interface, with its data in a file that goes with the process. */
export const registry = (company: Company, runtime: Runtime, seed: NodeId): Effect.Effect<Running, ProcessFailed> =>
  company.start({
    name: "registry",
    last: true,
    command: parley(runtime, ["registry", "--json", "--host", "127.0.0.1", "--port", "0", "--seed", seed])
  })

/** One of the seven. */
export const agent = (company: Company, member: Member, places: Places): Effect.Effect<Running, ProcessFailed> => {
  const { name, role, runtime, way } = member
  const { at, registry: url } = places
  if (way._tag === "Exec") return company.start({ name, command: exec(member, way.program, places) })
  const settings: Settings = {
    name,
    way,
    tracker: at,
    ...(url === undefined ? {} : { registry: url }),
    listen: role !== "relayed",
    delayMs: delayOf(member),
    doctored: role === "liar",
    single: role === "full"
  }
  return company.start({
    name,
    command: [...runCommand(runtime, join(programs, "agent.ts")), JSON.stringify(settings)]
  })
}

const ways = {
  "one-pass": "one pass (Welford), a selected median",
  "two-passes": "two passes, a sorted median",
  sql: "SQL in node:sqlite",
  "text.summarize": "text.summarize@1.2.0",
  "csv.describe@2": "csv.describe@2.0.0"
}

/** How a member works, for people. */
export const wayOf = ({ way }: Member): string => {
  switch (way._tag) {
    case "Module":
      return ways[way.method]
    case "Exec":
      return Programs.descriptions[way.program]
    case "Other":
      return `serves ${ways[way.serves]}`
  }
}
