/**
 * Starts `parley`. Its help is kept as a text, which is there before anything else could be loaded.
 */
import * as HelpText from "./HelpText.ts"

const [first = "--help", ...more] = process.argv.slice(2)
const isHelp = (first === "--help" || first === "-h") && more.length === 0

/** As the command's own output decides it; undefined where that has more to think about. */
const isColoured = (): boolean | undefined => {
  const { FORCE_COLOR, NO_COLOR, TERM } = process.env
  if (FORCE_COLOR || TERM === "dumb") return undefined
  return process.stdout.isTTY === true && !NO_COLOR
}

const coloured = isHelp ? isColoured() : undefined
if (coloured === undefined) await import("./Run.ts")
else {
  // A reader that has seen enough, such as head, has closed the pipe.
  process.stdout.on("error", () => process.exit(0))
  process.stdout.write(`${coloured ? HelpText.coloured : HelpText.plain}\n`)
}
