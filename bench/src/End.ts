/** A `RoutingEnd.ts` in a process of its own, as its parent sees it. */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { runCommand, type Runtime } from "../../scripts/setup.mjs"
import type { Run } from "./Load.ts"
import type { Hot } from "./Profile.ts"
import type { Cpu, Order, PathName, Ready } from "./RoutingEnd.ts"

const program = fileURLToPath(new URL("RoutingEnd.ts", import.meta.url))

/** One end of a path. */
export class End {
  readonly #what: string
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  private constructor(runtime: Runtime, args: ReadonlyArray<string>) {
    const [command, ...first] = runCommand(runtime, program)
    this.#what = `${runtime} ${args.join(" ")}`
    this.#child = spawn(command, [...first, ...args], { stdio: ["pipe", "pipe", "inherit"] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
    this.#child.stdin.on("error", () => {})
  }

  /** Starts both ends of a path, and connects them. */
  static async pair(runtime: Runtime, path: PathName, bytes: number): Promise<Pair> {
    const answering = new End(runtime, [path, "answer", String(bytes)])
    try {
      const { address } = await answering.#read<Ready>()
      const asking = new End(runtime, [path, "ask", String(bytes), address])
      try {
        return { path, asking, answering, known: (await asking.#read<Ready>()).known }
      } catch (error) {
        asking.close()
        throw error
      }
    } catch (error) {
      answering.close()
      throw error
    }
  }

  run(inflight: number, seconds: number): Promise<Run> {
    return this.#tell({ _tag: "Run", inflight, seconds })
  }

  /** Microseconds of CPU time that the process has used, all its threads together. */
  async cpu(): Promise<number> {
    return (await this.#tell<Cpu>({ _tag: "Cpu" })).micros
  }

  startProfile(): Promise<null> {
    return this.#tell({ _tag: "StartProfile" })
  }

  stopProfile(file: string): Promise<ReadonlyArray<Hot>> {
    return this.#tell({ _tag: "StopProfile", file })
  }

  /** It ends with its input. */
  close(): void {
    this.#child.stdin.end()
  }

  #tell<A>(order: Order): Promise<A> {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`)
    return this.#read()
  }

  async #read<A>(): Promise<A> {
    const line = await this.#lines.next()
    if (line.done === true) throw new Error(`the process "${this.#what}" ended early; what it printed above says why`)
    return JSON.parse(line.value) as A
  }
}

/** Both ends of a path, connected. */
export interface Pair {
  readonly path: PathName
  readonly asking: End
  readonly answering: End
  readonly known: number
}
