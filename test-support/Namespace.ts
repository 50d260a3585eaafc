/**
 * Network namespaces for tests that need another machine, or multicast that must not leave this one. Linux and root only;
 * `unavailable` says what is missing, for `skipTest`.
 */
import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { setTimeout } from "node:timers/promises"
import { until } from "./Until.ts"

const ip = (...args: ReadonlyArray<string>): void => void execFileSync("ip", [...args], { stdio: "pipe" })

let made = 0
const nameOf = (): string => `parley-${process.pid}-${made++}`

const probe = (): string | undefined => {
  if (process.platform !== "linux") return "network namespaces need Linux"
  if (process.getuid?.() !== 0) return "network namespaces need root"
  const name = nameOf()
  try {
    ip("netns", "add", name)
    ip("netns", "del", name)
    return undefined
  } catch (cause) {
    return `ip netns add failed: ${cause instanceof Error ? cause.message.split("\n")[0] : String(cause)}`
  }
}

/** Why there are no namespaces here; undefined when there are. */
export const unavailable: string | undefined = probe()

/** A namespace that a test has made. */
export interface Namespace {
  readonly name: string
  /** Its address on the link; 127.0.0.1 where there is none. */
  readonly address: string
  readonly remove: () => void
}

/** A namespace with nothing in it yet, which is told the address that it is going to have. */
export const add = (address: string): Namespace => {
  const name = nameOf()
  ip("netns", "add", name)
  return { name, address, remove: () => ip("netns", "del", name) }
}

/** One namespace with nothing but a loopback interface, which is up, down, or up with multicast. */
export const alone = (loopback: "up" | "down" | "multicast" = "up"): Namespace => {
  const namespace = add("127.0.0.1")
  if (loopback !== "down") ip("-n", namespace.name, "link", "set", "lo", "up")
  if (loopback === "multicast") {
    ip("-n", namespace.name, "link", "set", "lo", "multicast", "on")
    ip("-n", namespace.name, "route", "add", "224.0.0.0/4", "dev", "lo")
  }
  return namespace
}

/** Two namespaces with a cable between them that is ready, and loopback up: 10.77.0.1 and 10.77.0.2. */
export const linked = async (): Promise<readonly [Namespace, Namespace]> => {
  const [a, b] = [add("10.77.0.1"), add("10.77.0.2")]
  ip("link", "add", "wire0", "netns", a.name, "type", "veth", "peer", "name", "wire0", "netns", b.name)
  for (const { address, name } of [a, b]) {
    ip("-n", name, "addr", "add", `${address}/24`, "dev", "wire0")
    ip("-n", name, "link", "set", "lo", "up")
    ip("-n", name, "link", "set", "wire0", "up")
  }
  // The kernel calls a new cable ready up to a second later; until then runtimes do not list the interface.
  const isReady = ({ name }: Namespace): boolean =>
    execFileSync("ip", ["-n", name, "link", "show", "wire0"], { encoding: "utf8" }).includes("state UP")
  await until("both ends of the cable are up", () => isReady(a) && isReady(b))
  return [a, b]
}

/** Runs a command in a namespace, and gives what it printed. */
export const exec = ({ name }: Namespace, command: ReadonlyArray<string>, input?: string): string =>
  execFileSync("ip", ["netns", "exec", name, ...command], {
    encoding: "utf8",
    stdio: "pipe",
    ...(input === undefined ? {} : { input })
  })

/** A program in a namespace that talks in lines of JSON. */
export interface Program {
  /** The next line, parsed, that satisfies; lines before it are dropped. Rejects when the program ends or is silent. */
  readonly next: <A>(satisfies: (line: A) => boolean, timeoutMs?: number) => Promise<A>
  /** Writes a line. */
  readonly tell: (line: string) => void
  /** Closes its input, waits for it to end, and gives its exit code. */
  readonly end: () => Promise<number | null>
  readonly kill: () => void
}

const makeProgram = (child: ChildProcessByStdio<Writable, Readable, Readable>): Program => {
  const lines: Array<unknown> = []
  const errors: Array<string> = []
  let waiting: (() => void) | undefined
  let exited = false
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (!line.startsWith("{")) return
    lines.push(JSON.parse(line))
    waiting?.()
  })
  child.stderr.on("data", (chunk: Buffer) => errors.push(String(chunk)))
  child.on("close", () => {
    exited = true
    waiting?.()
  })
  child.stdin.on("error", () => undefined)
  const exit = once(child, "close")
  return {
    next: async <A>(satisfies: (line: A) => boolean, timeoutMs = 20_000) => {
      const seen: Array<unknown> = []
      const deadline = Date.now() + timeoutMs
      while (true) {
        while (lines.length > 0) {
          const line = lines.shift()
          if (satisfies(line as A)) return line as A
          seen.push(line)
        }
        const left = deadline - Date.now()
        if (exited || left <= 0) {
          const why = exited ? "the program ended" : `nothing came within ${timeoutMs} ms`
          throw new Error(
            `${why}; it said ${JSON.stringify(seen)} and ${JSON.stringify(errors.join("").slice(-2_000))}`
          )
        }
        const silence = new AbortController()
        const news = new Promise<void>((resolve) => {
          waiting = resolve
        })
        await Promise.race([news, setTimeout(left, undefined, { signal: silence.signal }).catch(() => undefined)])
        silence.abort()
      }
    },
    tell: (line) => void child.stdin.write(`${line}\n`),
    end: async () => {
      child.stdin.end()
      await exit
      return child.exitCode
    },
    kill: () => void child.kill("SIGKILL")
  }
}

/** Starts any program in a namespace. */
export const start = (at: Namespace, command: string, args: ReadonlyArray<string>): Program =>
  makeProgram(spawn("ip", ["netns", "exec", at.name, command, ...args], { stdio: ["pipe", "pipe", "pipe"] }))

/** Starts a module of ours in a namespace, on the runtime that runs the test. */
export const startModule = (at: Namespace, file: string, args: ReadonlyArray<string> = []): Program =>
  start(at, process.execPath, "Deno" in globalThis ? ["run", "-A", "--no-check", file, ...args] : [file, ...args])
