/** `parley demo` and `parley bench`: another app of this repository, with its own command line. */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { constants } from "node:os"
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import { Unsuccessful, type UsageError, usage } from "../Failure.ts"

const repository = resolve(import.meta.dirname, "../../../..")
const mains = { demo: "apps/demo/src/main.ts", bench: "bench/src/main.ts" }

const command = (file: string): ReadonlyArray<string> =>
  process.versions.bun === undefined
    ? ["run", "-A", "--quiet", "--config", resolve(repository, "deno.json"), file]
    : [file]

export const run = (options: {
  readonly app: "demo" | "bench"
  readonly args: ReadonlyArray<string>
}): Effect.Effect<void, UsageError | Unsuccessful> =>
  Effect.callback((resume) => {
    const file = resolve(repository, mains[options.app])
    if (!existsSync(file)) {
      return resume(
        Effect.fail(usage("NoApp", `${options.app} comes with Parley's repository, and is not at ${file}: clone it`))
      )
    }
    const child = spawn(process.execPath, [...command(file), ...options.args], { stdio: "inherit" })
    child.on("error", (error) => resume(Effect.fail(usage("NoApp", `cannot start ${file}: ${error.message}`))))
    child.on("exit", (code, signal) => {
      const exitCode = code ?? 128 + (signal === null ? 0 : (constants.signals[signal] ?? 0))
      resume(exitCode === 0 ? Effect.void : Effect.fail(new Unsuccessful({ exitCode })))
    })
    return Effect.callback<void>((ended) => {
      if (child.exitCode !== null || child.signalCode !== null) return ended(Effect.void)
      child.once("exit", () => ended(Effect.void))
      child.kill("SIGTERM")
    })
  })
