/**
 * What a module serves: `parley serve --module ./caps.ts`.
 *
 * A module exports, by default or by name, any of:
 * - `{ capability, handler, options? }`, or an array of these, where `capability` is `name@version` or a typed `Capability`,
 *   and `handler` is what `agent.serve` takes;
 * - as its default, a function that gets the `Agent` and serves what it likes.
 */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { pathToFileURL } from "node:url"
import * as Effect from "effect/Effect"
import type { Agent } from "@parley/agent/Agent"
import { type UsageError, usage } from "./Failure.ts"

/** One capability of a module. */
export interface Served {
  /** `name@version`, or a typed capability, which looks the same to `agent.serve`. */
  readonly capability: Parameters<Agent["serve"]>[0]
  readonly handler: Parameters<Agent["serve"]>[1]
  readonly options?: Parameters<Agent["serve"]>[2]
}

/** What a module gives. */
export interface Loaded {
  readonly file: string
  readonly served: ReadonlyArray<Served>
  readonly setUp: ((agent: Agent) => unknown) | undefined
}

const isServed = (value: unknown): value is Served =>
  typeof value === "object" &&
  value !== null &&
  "capability" in value &&
  "handler" in value &&
  typeof value.handler === "function"

/** Loads a module. */
export const load = (path: string): Effect.Effect<Loaded, UsageError> =>
  Effect.gen(function* () {
    const file = resolve(path)
    if (!existsSync(file)) return yield* usage("BadModule", `there is no module ${file}: check the path`)
    const exported: { readonly [name: string]: unknown } = yield* Effect.tryPromise({
      try: () => import(pathToFileURL(file).href),
      catch: (cause) =>
        usage("BadModule", `cannot load ${file}: ${cause instanceof Error ? cause.message : String(cause)}`)
    })
    const served = [...new Set(Object.values(exported).flat())].filter(isServed)
    const main = exported["default"]
    const setUp = typeof main === "function" ? (main as (agent: Agent) => unknown) : undefined
    if (served.length === 0 && setUp === undefined) {
      return yield* usage(
        "BadModule",
        `${file} exports nothing to serve: export { capability, handler }, or a default function that takes the agent`
      )
    }
    return { file, served, setUp }
  })
