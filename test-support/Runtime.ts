/** Which runtime a test runs on, and how to start a file on either of them in a process of its own. */
import { root, runCommand, type Runtime } from "../scripts/setup.mjs"

export type { Runtime }

/** The runtime of this test. */
export const current: Runtime = process.versions.bun === undefined ? "deno" : "bun"

/** The top directory of the repository. */
export const repository: string = root

/** The command that runs a TypeScript file: the binary, then its arguments. */
export const command = (file: string, runtime: Runtime = current): [string, ...Array<string>] =>
  runCommand(runtime, file)
