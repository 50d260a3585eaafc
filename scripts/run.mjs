// Starts one of the apps on Bun or Deno, after installing what is missing:
//   node scripts/run.mjs parley|demo|custom-node|private-mesh|bench|lab [arguments…]
// Arguments, input, output, signals and the exit code are those of the app.
import { spawn } from "node:child_process"
import { realpathSync } from "node:fs"
import { constants, homedir } from "node:os"
import { join } from "node:path"
import { chosenRuntime, ensureInstalled, root, runCommand, whenOrphaned } from "./setup.mjs"

const mains = {
  parley: "apps/cli/src/main.ts",
  demo: "apps/demo/src/main.ts",
  "custom-node": "apps/custom-node/src/main.ts",
  "private-mesh": "apps/private-mesh/src/main.ts",
  bench: "bench/src/main.ts",
  lab: "lab/src/main.ts"
}

export const run = (app, args) => {
  const main = mains[app]
  if (main === undefined) {
    console.error(`parley: there is no app "${app}"; the apps are ${Object.keys(mains).join(", ")}.`)
    process.exit(64)
  }
  ensureInstalled()
  let command
  try {
    command = runCommand(chosenRuntime(), join(root, main))
  } catch (error) {
    console.error(`parley: ${error.message}`)
    process.exit(69)
  }
  // Without HOME, Bun keeps what it has compiled in the working folder.
  const env = { ...process.env, HOME: process.env.HOME || homedir() }
  const child = spawn(command[0], [...command.slice(1), ...args], { stdio: "inherit", env })
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"]
  for (const signal of signals) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the child as well; a second one would mean "now" to it.
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal)
    })
  }
  // A program in the background may outlive its shell; only that of npm has to pass a signal on.
  if (process.env.npm_lifecycle_event !== undefined) whenOrphaned(() => child.kill("SIGTERM"))
  child.on("error", (error) => {
    console.error(`parley: ${command[0]} did not start: ${error.message}`)
    process.exit(69)
  })
  child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)))
}

if (realpathSync(process.argv[1]) === realpathSync(import.meta.filename)) run(process.argv[2], process.argv.slice(3))
