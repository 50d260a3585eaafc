/**
 * The programs behind `parley serve --exec`: shell commands that take a task's JSON on stdin and print the answer's JSON.
 *
 * Awk and Python are used where they are; a machine with Node and npm alone has neither for certain, and gets two other methods in
 * a program of this runtime.
 */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { type Runtime, runCommand } from "../../../scripts/setup.mjs"

/** A method that is a program. */
export type Program = "awk" | "python" | "pairwise" | "compensated"

/** What each one does, for people. */
export const descriptions: { readonly [program in Program]: string } = {
  awk: "awk: shifted sums, heapsort",
  python: "Python: exact sums, math.fsum",
  pairwise: "a program: pairwise sums",
  compensated: "a program: compensated sums"
}

const folder = join(import.meta.dirname, "programs")

const probes: { readonly [program in "awk" | "python"]: readonly [string, ReadonlyArray<string>, string] } = {
  awk: ["awk", ['BEGIN { printf "%.17g", 0.5 }'], "0.5"],
  python: ["python3", ["-c", "import json, math, sys; print(math.fsum([0.25, 0.25]), end='')"], "0.5"]
}

/** Whether a program is there and works. Pipes and `NAME=value` before a command are the shell's, so not on Windows. */
export const works = (program: "awk" | "python"): Promise<boolean> =>
  new Promise((resolve) => {
    if (process.platform === "win32") return resolve(false)
    const [command, args, expected] = probes[program]
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"], timeout: 5_000 })
    let said = ""
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()))
    child.on("error", () => resolve(false))
    child.on("close", (code) => resolve(code === 0 && said === expected))
  })

const quoted = (word: string): string =>
  process.platform === "win32" ? `"${word}"` : /^[\w./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

/** How a program behaves besides its work: what its role in the demo asks for. */
export interface Manners {
  /** Milliseconds it waits before it works. */
  readonly delayMs: number
  /** It lets its numbers be wrong. */
  readonly doctored: boolean
}

/** The shell command. */
export const command = (program: Program, { delayMs, doctored }: Manners, runtime: Runtime): string => {
  const manners = [...(delayMs > 0 ? ["--delay", String(delayMs)] : []), ...(doctored ? ["--doctored"] : [])]
  const line = (file: string, args: ReadonlyArray<string>) =>
    [...runCommand(runtime, join(folder, file)), ...args].map(quoted).join(" ")
  switch (program) {
    case "awk":
      return `${line("columns.ts", manners)} | LC_ALL=C awk -f ${quoted(join(folder, "describe.awk"))}`
    case "python":
      return `${line("columns.ts", manners)} | python3 ${quoted(join(folder, "describe.py"))}`
    case "pairwise":
    case "compensated":
      return line("method.ts", [program, ...manners])
  }
}
