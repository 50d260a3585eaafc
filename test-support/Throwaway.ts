/** Servers of others that a test starts for itself: in a temporary folder, on a free port of loopback, gone when it ends. */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { createServer } from "node:net"
import { delimiter, join } from "node:path"

/** How long a server may take until it answers, or to end. */
const LIMIT_MS = 30_000

/** The path of a program: in the given folders, then on `PATH`. */
export const find = (program: string, folders: ReadonlyArray<string> = []): string | undefined =>
  [...folders, ...(process.env["PATH"] ?? "").split(delimiter)]
    .map((folder) => join(folder, program))
    .find((path) => existsSync(path))

/** Where ports lie that the kernel gives to nobody who names none, and to no connection that goes out: [first, last]. */
const ownPorts = ((): readonly [number, number] => {
  try {
    const [low = 0, high = 0] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split(/\s+/).map(Number)
    // What is below is often larger; neither is there where all ports are given away.
    if (low - 10_000 > 1_000) return [10_000, low - 1]
    if (65_535 - high > 1_000) return [high + 1, 65_535]
  } catch {
    // No Linux: IANA's dynamic ports are above these.
    return [10_000, 49_151]
  }
  return [1_025, 65_535]
})()

/** Whether nobody listens at a port of loopback. */
const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })

/**
 * A free port of loopback, for a server that is told where to listen, or that starts again at the same place. It stays free until then:
 * nobody gets it by chance.
 */
export const freePort = async (): Promise<number> => {
  const [first, last] = ownPorts
  for (let tries = 0; tries < 1_000; tries++) {
    const port = first + Math.floor(Math.random() * (last + 1 - first))
    if (await isFree(port)) return port
  }
  throw new Error(`no port of loopback is free between ${first} and ${last}`)
}

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
