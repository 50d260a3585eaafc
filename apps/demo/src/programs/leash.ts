/**
 * Runs the `parley` command in this process until stdin closes: then as if it had been told to stop. Arguments: the command's
 * main file, and what follows `parley` on a command line.
 */
import { pathToFileURL } from "node:url"
import { clean } from "./Leaving.ts"

/** How long the command may take to stop, in milliseconds. */
const STOP_MS = 1_500

const [main = ""] = process.argv.splice(2, 1)

clean()
let isUp = false
process.stdin.on("end", () => {
  if (!isUp) process.exit(0)
  setTimeout(() => process.exit(1), STOP_MS).unref()
  process.kill(process.pid, "SIGTERM")
})
process.stdin.resume()

await import(pathToFileURL(main).href)
isUp = true
