/**
 * Runs the `parley` command in this process until stdin closes: then as if it had been told to stop. Arguments: the command's
 * main file, and what follows `parley` on a command line.
 *
 * The folder in PARLEY_HOME is the demo's, and goes when this process does.
 */
import { rmdirSync, rmSync } from "node:fs"
import { dirname } from "node:path"
import { pathToFileURL } from "node:url"

/** How long the command may take to stop, in milliseconds. */
const STOP_MS = 1_500

const [main = ""] = process.argv.splice(2, 1)
const home = process.env["PARLEY_HOME"]

process.on("exit", () => {
  if (home === undefined) return
  try {
    rmSync(home, { recursive: true, force: true })
    // The last one out.
    rmdirSync(dirname(home))
  } catch {
    // Others are still in.
  }
})

let isUp = false
process.stdin.on("end", () => {
  if (!isUp) process.exit(0)
  setTimeout(() => process.exit(1), STOP_MS).unref()
  process.kill(process.pid, "SIGTERM")
})
process.stdin.resume()

await import(pathToFileURL(main).href)
isUp = true
