/** Commands of `parley`, and other programs, in namespaces with a home folder each. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Finding } from "@parley/agent/Doctor"
import { root, runCommand, type Runtime } from "../../../scripts/setup.mjs"
import type { Namespace } from "../../../test-support/Namespace.ts"
import { firstLine } from "../FirstLine.ts"

const SILENCE_MS = 30_000

/** A program that runs. */
export interface Running {
  readonly pid: number
  /** The first line of JSON that it printed. */
  readonly said: { readonly [name: string]: unknown }
}

/** What the doctor said. */
export interface Examined {
  readonly well: boolean
  readonly findings: ReadonlyArray<Finding>
}

/** Everything that one planted fault starts; `close` ends it. */
export class Site {
  readonly #home = mkdtempSync(join(tmpdir(), "parley-doctor-"))
  readonly #children: Array<ChildProcess> = []
  readonly #undo: Array<() => void> = []
  readonly #runtime: Runtime
  #homes = 0

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** A path in this site's folder. */
  path(name: string): string {
    return join(this.#home, name)
  }

  #spawn(at: Namespace, file: string, args: ReadonlyArray<string>, home: string) {
    const [program, ...first] = runCommand(this.#runtime, file)
    const child = spawn("ip", ["netns", "exec", at.name, program, ...first, ...args], {
      env: { ...process.env, PARLEY_HOME: this.path(home), PARLEY_NO_GOSSIP: "1", NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"]
    })
    this.#children.push(child)
    return child
  }

  /** Starts a program and waits for its first line of JSON. */
  async #start(
    at: Namespace,
    file: string,
    args: ReadonlyArray<string>,
    home = `home-${this.#homes++}`
  ): Promise<Running> {
    const child = this.#spawn(at, file, args, home)
    let errors = ""
    child.stderr.on("data", (chunk: Buffer) => void (errors += String(chunk)))
    const what = `${file} ${args.join(" ")}`
    const line = await firstLine(child, what).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${errors}`, { cause: error })
    })
    return { pid: child.pid!, said: JSON.parse(line) as Running["said"] }
  }

  /** A command of `parley` that stays. */
  parley(at: Namespace, ...args: ReadonlyArray<string>): Promise<Running> {
    return this.#start(at, join(root, "apps/cli/src/main.ts"), [...args, "--json"])
  }

  /** The same in a home folder that other commands have prepared. */
  parleyAt(at: Namespace, home: string, ...args: ReadonlyArray<string>): Promise<Running> {
    return this.#start(at, join(root, "apps/cli/src/main.ts"), [...args, "--json"], home)
  }

  /** The same, its clock off by so many ms. */
  skewed(at: Namespace, offMs: number, ...args: ReadonlyArray<string>): Promise<Running> {
    return this.#start(at, fileURLToPath(new URL("Skewed.ts", import.meta.url)), [String(offMs), ...args, "--json"])
  }

  /** Something that listens and is no Parley node. */
  mute(at: Namespace, port: number, what: "mute" | "http"): Promise<Running> {
    return this.#start(at, fileURLToPath(new URL("Mute.ts", import.meta.url)), [String(port), what])
  }

  /** Runs a command of `parley` to its end, and gives what it printed. */
  run(at: Namespace, home: string, ...args: ReadonlyArray<string>): string {
    const [program, ...first] = runCommand(this.#runtime, join(root, "apps/cli/src/main.ts"))
    return execFileSync("ip", ["netns", "exec", at.name, program, ...first, ...args], {
      env: { ...process.env, PARLEY_HOME: this.path(home), NO_COLOR: "1" },
      encoding: "utf8",
      timeout: SILENCE_MS
    })
  }

  /** `parley doctor`. */
  async doctor(at: Namespace, ...args: ReadonlyArray<string>): Promise<Examined> {
    const child = this.#spawn(at, join(root, "apps/cli/src/main.ts"), ["doctor", ...args, "--json"], "doctor")
    let [text, errors] = ["", ""]
    child.stdout.on("data", (chunk: Buffer) => void (text += String(chunk)))
    child.stderr.on("data", (chunk: Buffer) => void (errors += String(chunk)))
    const timer = setTimeout(() => child.kill("SIGKILL"), 2 * SILENCE_MS)
    const [code] = (await once(child, "close")) as [number | null]
    clearTimeout(timer)
    if (text === "") throw new Error(`parley doctor ended with ${code} and said nothing: ${errors}`)
    const examined = JSON.parse(text) as Examined
    if ((code === 0) !== examined.well) throw new Error(`parley doctor says ${examined.well}, and ended with ${code}`)
    return examined
  }

  /** Firewall rules in a namespace, until the site closes. */
  rules(at: Namespace, text: string): void {
    const nft = (rules: string): void =>
      void execFileSync("ip", ["netns", "exec", at.name, "nft", "-f", "-"], { input: rules, stdio: "pipe" })
    nft(`table inet planted { chain in { type filter hook input priority 0; }; chain out { type filter hook output priority 0; }; }
${text}`)
    this.#undo.push(() => nft("delete table inet planted"))
  }

  /** Ends what runs, and undoes what was set. */
  async close(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = once(child, "exit")
      child.kill("SIGKILL")
      await ended
    }
    for (const undo of this.#undo) undo()
    rmSync(this.#home, { recursive: true, force: true })
  }
}
