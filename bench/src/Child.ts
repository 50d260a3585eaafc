/** A program of the bench in a process of its own: it is told what to do line by line, and ends with its input. */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { runCommand, type Runtime } from "../../scripts/setup.mjs"
import type { Common, Used } from "./Obey.ts"

/** A child as its parent sees it. `Orders` is what it understands besides the orders that all understand. */
export class Child<Orders = never> {
  readonly #what: string
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  /** Starts `bench/src/FILE`. */
  constructor(runtime: Runtime, file: string, args: ReadonlyArray<string> = []) {
    const program = fileURLToPath(new URL(file, import.meta.url))
    const [command, ...first] = runCommand(runtime, program)
    // Memory is compared after a collection, and Deno collects on demand when it is told so at its start.
    const flags = runtime === "deno" ? ["run", "--v8-flags=--expose-gc", ...first.slice(1)] : first
    this.#what = `${runtime} ${file} ${args.join(" ")}`
    this.#child = spawn(command, [...flags, ...args], { stdio: ["pipe", "pipe", "inherit"] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
    this.#child.stdin.on("error", () => {})
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Gives an order, and the line that answers it. */
  tell<A>(order: Orders | Common): Promise<A> {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`)
    return this.read()
  }

  /** The next line that it says of itself. */
  async read<A>(): Promise<A> {
    const line = await this.#lines.next()
    if (line.done === true) throw new Error(`the process "${this.#what}" ended early; what it printed above says why`)
    try {
      return JSON.parse(line.value) as A
    } catch (cause) {
      throw new Error(`the process "${this.#what}" said ${JSON.stringify(line.value)} instead of an answer`, { cause })
    }
  }

  /** CPU time and memory that it has used so far. */
  used(): Promise<Used> {
    return this.tell({ _tag: "Used" })
  }

  /** The same after a garbage collection. */
  collected(): Promise<Used> {
    return this.tell({ _tag: "Collected" })
  }

  /** It ends with its input. */
  close(): void {
    this.#child.stdin.end()
  }
}
