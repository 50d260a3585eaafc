/** A registry in a process of its own, on one port and one file, to be killed and started again. */
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { command } from "../../../test-support/Runtime.ts"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

/** Starts a registry, and waits until it says where it is. `why` stands in the error where it ends by itself. */
export const start = async (file: string, port: number, why: string): Promise<ChildProcess> => {
  const [runtime, ...words] = command(main)
  const child = spawn(runtime, words, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      PARLEY_PORT: String(port),
      PARLEY_FILE: file,
      AGENT_SECRET: "",
      DATABASE_URL: "",
      REDIS_URL: ""
    }
  })
  let error = ""
  child.stderr.on("data", (chunk: Buffer) => void (error += chunk.toString()))
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => chunk.toString().includes("registry at") && resolve())
    child.once("close", () => reject(new Error(`the registry ended by itself (${why}): ${error}`)))
  })
  return child
}

/** Ends it as a power cut would, and waits until it is gone. */
export const kill = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    child.once("close", () => resolve())
    child.kill("SIGKILL")
  })
