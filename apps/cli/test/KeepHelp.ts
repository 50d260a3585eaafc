/** What `parley --help` prints when everything is loaded; run as a program it writes that into `src/HelpText.ts`. */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { command, repository } from "../../../test-support/Runtime.ts"

/** The help with its colours, as the command line's own library prints it. */
export const rendered = (): string => {
  const [program, ...first] = command(join(repository, "apps/cli/src/main.ts"))
  const env = { ...process.env, FORCE_COLOR: "1", NO_COLOR: "" }
  return execFileSync(program, [...first, "--help"], { encoding: "utf8", env }).replace(/\n$/, "")
}

/** The module that keeps it. */
export const moduleOf = (help: string): string => {
  const lines = help.split("\n").map((line) => `  ${JSON.stringify(line)}`)
  return `/**
 * What \`parley --help\` prints, written by \`test/KeepHelp.ts\`: the text is kept, so that it needs nothing that would have to be
 * loaded first. A test says when it is not what the commands say of themselves any more.
 */

/** For terminals. */
export const coloured: string = [
${lines.join(",\n")}
].join("\\n")

// oxlint-disable-next-line no-control-regex
const colours = /\\u001b\\[\\d+m/g

/** For files and pipes. */
export const plain: string = coloured.replaceAll(colours, "")
`
}

if (import.meta.main) writeFileSync(join(repository, "apps/cli/src/HelpText.ts"), moduleOf(rendered()))
