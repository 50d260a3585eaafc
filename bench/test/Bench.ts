/** The bench as people run it, in a process of its own. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { command } from "../../test-support/Runtime.ts"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

/** How it ended, and what it printed. */
export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs `npm run bench -- ARGS` on the runtime of this test. */
export const bench = (...args: ReadonlyArray<string>): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const [program, ...first] = command(main)
    const child = spawn(program, [...first, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()))
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, out, err }))
  })
