/** Servers of others that a test starts for itself: in a temporary folder, on a free port of loopback, gone when it ends. */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createServer } from "node:net"
import { delimiter, join } from "node:path"

/** How long a server may take until it answers, or to end. */
const LIMIT_MS = 30_000

/** The path of a program: in the given folders, then on `PATH`. */
export const find = (program: string, folders: ReadonlyArray<string> = []): string | undefined =>
  [...folders, ...(process.env["PATH"] ?? "").split(delimiter)]
    .map((folder) => join(folder, program))
    .find((path) => existsSync(path))

/** A port of loopback that was free a moment ago. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() =>
        typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no free port"))
      )
    })
  })

const running = new Map<ChildProcess, NodeJS.Signals>()
process.on("exit", () => {
  for (const [child, signal] of running) child.kill(signal)
})

/** A server that runs. */
export interface Running {
  readonly pid: number
  /** Sends a signal, and waits for the end. */
  readonly end: (signal: NodeJS.Signals) => Promise<void>
}

/**
 * Starts a program and waits until it says (on standard output or error) that it is ready. It dies with this process, by
 * `atExit`.
 */
export const start = (
  command: ReadonlyArray<string>,
  ready: RegExp,
  atExit: NodeJS.Signals = "SIGKILL"
): Promise<Running> =>
  new Promise((resolve, reject) => {
    const [program = "", ...args] = command
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/" })
    running.set(child, atExit)
    let output = ""
    let isReady = false
    const ended = new Promise<void>((done) => {
      child.once("exit", (code, signal) => {
        running.delete(child)
        done()
        fail(`ended with ${code ?? signal}`)
      })
    })
    const fail = (what: string) => {
      clearTimeout(timer)
      if (!isReady) reject(new Error(`${command.join(" ")} ${what}; it printed\n${output}`))
    }
    const timer = setTimeout(() => {
      child.kill("SIGKILL")
      fail(`was not ready within ${LIMIT_MS / 1_000} s`)
    }, LIMIT_MS)
    child.once("error", (error) => fail(`could not be started: ${error.message}`))
    const listen = (chunk: Buffer) => {
      if (isReady) return
      output += chunk.toString()
      if (!ready.test(output)) return
      isReady = true
      clearTimeout(timer)
      resolve({
        pid: child.pid ?? 0,
        end: async (signal) => {
          child.kill(signal)
          const late = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS)
          await ended
          clearTimeout(late)
        }
      })
    }
    child.stdout.on("data", listen)
    child.stderr.on("data", listen)
  })
