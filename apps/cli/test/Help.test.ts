/** Verifies: the help that is kept as a text is what the commands say of themselves. */
import { describe, expect, test } from "bun:test"
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { command, repository } from "../../../test-support/Runtime.ts"
import * as HelpText from "../src/HelpText.ts"
import { rendered } from "./KeepHelp.ts"

const parley = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}): string => {
  const [program, ...first] = command(join(repository, "apps/cli/src/main.ts"))
  const { FORCE_COLOR: _, ...own } = process.env
  return execFileSync(program, [...first, ...args], { encoding: "utf8", env: { ...own, NO_COLOR: "", ...env } })
}

describe("parley --help", () => {
  test("is kept as it is: if not, apps/cli/test/KeepHelp.ts writes it anew", () => {
    expect(HelpText.coloured).toBe(rendered())
  }, 90_000)

  test("is the same by every way to ask for it, and plain where it does not go to a terminal", () => {
    const long = parley(["--help", "--quiet"])
    expect(HelpText.plain).not.toContain("\u001b")
    for (const args of [["--help"], ["-h"], []]) expect(parley(args)).toBe(long)
    expect(parley(["--help"], { TERM: "dumb" })).toBe(long)
    expect(parley(["-h"], { FORCE_COLOR: "1" })).toBe(`${HelpText.coloured}\n`)
  }, 90_000)

  test("of a command comes from the command", () => {
    expect(parley(["id", "--help"])).toContain("Print the NodeId")
  }, 90_000)
})
