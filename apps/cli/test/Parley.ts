/**
 * The `parley` command in processes of its own, on this test's runtime, in a home folder of its own, on loopback.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { command, repository } from "../../../test-support/Runtime.ts"

/** How a command ended. */
export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs until it is stopped. */
export interface Running {
  readonly pid: number
  /** Everything printed so far, on both. */
  readonly output: () => string
  /** The first match of what it prints; rejects when it ends before, or is silent about it for long. */
  readonly waitFor: (pattern: RegExp) => Promise<RegExpExecArray>
  readonly signal: (signal: NodeJS.Signals) => void
  readonly ended: Promise<Ended>
}

/** What a command with `--json` tells, and no word of its log, which may come before. */
export const TOLD = /^\{(?!"log":).*\}$/m

/** How long to wait for what a command prints, in ms: so that a test says what was printed before it is cut off. */
const PATIENCE_MS = 45_000

const [program, ...first] = command(join(repository, "apps/cli/src/main.ts"))

/** A folder for keys and files, and the commands that use it. */
export class Home {
  readonly path = mkdtempSync(join(tmpdir(), "parley-cli-"))
  readonly #running = new Set<ChildProcess>()

  #spawn(args: ReadonlyArray<string>, env: NodeJS.ProcessEnv) {
    const child = spawn(program, [...first, ...args], {
      cwd: this.path,
      env: {
        ...process.env,
        NO_COLOR: "1",
        PARLEY_HOME: join(this.path, "home"),
        PARLEY_NO_MDNS: "1",
        PARLEY_TRACKER: "",
        PARLEY_PEER: "",
        PARLEY_REGISTRY: "",
        ...env
      },
      stdio: ["pipe", "pipe", "pipe"]
    })
    this.#running.add(child)
    const written = { stdout: "", stderr: "", all: "" }
    const listeners = new Set<() => void>()
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8")
      child[name].on("data", (text: string) => {
        written[name] += text
        written.all += text
        for (const listener of listeners) listener()
      })
    }
    const ended = new Promise<Ended>((resolve, reject) => {
      child.on("error", reject)
      child.on("close", (code, signal) => {
        this.#running.delete(child)
        resolve({ code: code ?? (signal === null ? -1 : -2), stdout: written.stdout, stderr: written.stderr })
      })
    })
    return { child, ended, listeners, written }
  }

  /** Runs a command to its end. */
  async run(args: ReadonlyArray<string>, options: { readonly stdin?: string; readonly env?: NodeJS.ProcessEnv } = {}) {
    const { child, ended } = this.#spawn(args, options.env ?? {})
    child.stdin.on("error", () => undefined)
    child.stdin.end(options.stdin ?? "")
    return ended
  }

  /** Starts a command that stays. */
  start(args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}): Running {
    const { child, ended, listeners, written } = this.#spawn(args, env)
    const waitFor = (pattern: RegExp) =>
      new Promise<RegExpExecArray>((resolve, reject) => {
        const fail = (why: string) =>
          reject(new Error(`parley ${args.join(" ")} ${why} ${pattern}; it printed\n${written.all}`))
        const patience = setTimeout(() => fail(`has not said within ${PATIENCE_MS / 1_000} s`), PATIENCE_MS)
        const look = () => {
          const found = pattern.exec(written.all)
          if (found === null) return
          clearTimeout(patience)
          listeners.delete(look)
          resolve(found)
        }
        listeners.add(look)
        void ended.then(({ code }) => {
          clearTimeout(patience)
          fail(`ended with ${code} before`)
        })
        look()
      })
    return {
      pid: child.pid ?? -1,
      output: () => written.all,
      waitFor,
      // Not child.kill: Deno then reports the signal in place of the exit code.
      signal: (signal) => void process.kill(child.pid ?? 0, signal),
      ended
    }
  }

  /** Serves, and gives the address to reach it and its NodeId. */
  async serve(name: string, args: ReadonlyArray<string>) {
    const running = this.start([
      ...["serve", "--name", name, "--identity", join(this.path, `${name}.json`)],
      ...["--host", "127.0.0.1", "--port", "0", "--json", ...args]
    ])
    const [line] = await running.waitFor(TOLD)
    const { addresses, node } = JSON.parse(line)
    return { ...running, address: String(addresses[0]), node: String(node) }
  }

  /** Ends what still runs, and removes the folder. */
  async close(): Promise<void> {
    await Promise.all(
      [...this.#running].map((child) => {
        const gone = new Promise((resolve) => child.once("close", resolve))
        child.kill("SIGKILL")
        return gone
      })
    )
    rmSync(this.path, { recursive: true, force: true })
  }
}
