/** A `RoutingEnd.ts` in a process of its own, as its parent sees it. */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { root as here, runCommand, type Runtime } from "../../scripts/setup.mjs"
import type { Run } from "./Load.ts"
import { type Setting, usual } from "./Path.ts"
import type { PathName } from "./Paths.ts"
import type { Hot } from "./Profile.ts"
import type { Cpu, EndSpec, Order, Ready } from "./RoutingEnd.ts"

/** The command of an end of a checkout: the runtime is always this checkout's. */
const commandOf = (runtime: Runtime, root: string): readonly [string, ...Array<string>] => {
  const [command, ...args] = runCommand(runtime, join(root, "bench", "src", "RoutingEnd.ts"))
  return [command, ...args.map((arg) => (arg === join(here, "deno.json") ? join(root, "deno.json") : arg))]
}

/** Both ends of a path, and what they run on. */
export interface PairSpec {
  readonly path: PathName
  readonly asking: Runtime
  readonly answering: Runtime
  readonly bytes: number
  readonly setting?: Setting
  /** Through a third process. */
  readonly relayed?: boolean
  /** Another checkout's folder. */
  readonly root?: string
  /** Hears each pause of Bun's collector, in ms. */
  readonly onPause?: { readonly asking: (ms: number) => void; readonly answering: (ms: number) => void }
}

/** JavaScriptCore's log of a collection says at its end how long it held the program up. */
const hearPauses = (log: Readable, onPause: (ms: number) => void): void => {
  createInterface({ input: log }).on("line", (line) => {
    const pause = /\bp=([\d.]+)ms\b/.exec(line)?.[1]
    if (pause !== undefined) onPause(Number(pause))
  })
}

/** One round: a run, and the CPU time that each end used for a request. */
export interface Round extends Run {
  readonly askingMicros: number
  readonly answeringMicros: number
}

/** One end of a path. */
export class End {
  readonly #what: string
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable | null>
  readonly #lines: AsyncIterator<string>

  private constructor(runtime: Runtime, spec: EndSpec, root = here, onPause?: (ms: number) => void) {
    const [command, ...first] = commandOf(runtime, root)
    const args = [...first, JSON.stringify(spec)]
    this.#what = `${runtime} ${JSON.stringify(spec)}`
    if (onPause === undefined) this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] })
    else {
      const env = { ...process.env, BUN_JSC_logGC: "1" }
      const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], env })
      hearPauses(child.stderr, onPause)
      this.#child = child
    }
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
    this.#child.stdin.on("error", () => {})
  }

  /** Starts an end; resolves when it is ready. */
  static async start(
    runtime: Runtime,
    spec: EndSpec,
    root?: string,
    onPause?: (ms: number) => void
  ): Promise<readonly [End, string]> {
    const end = new End(runtime, spec, root, onPause)
    try {
      return [end, (await end.#read<Ready>()).address]
    } catch (error) {
      end.close()
      throw error
    }
  }

  run(inflight: number, seconds: number): Promise<Run> {
    return this.#tell({ _tag: "Run", inflight, seconds })
  }

  /** An open loop. */
  pace(perSecond: number, seconds: number): Promise<Run> {
    return this.#tell({ _tag: "Pace", perSecond, seconds })
  }

  /** Microseconds of CPU time that the process has used, all its threads together. */
  async cpu(): Promise<number> {
    return (await this.usage()).micros
  }

  usage(): Promise<Cpu> {
    return this.#tell({ _tag: "Cpu" })
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
export class Pair {
  readonly path: PathName
  readonly asking: End
  readonly answering: End
  readonly #others: ReadonlyArray<End>

  private constructor(path: PathName, asking: End, answering: End, others: ReadonlyArray<End>) {
    this.path = path
    this.asking = asking
    this.answering = answering
    this.#others = others
  }

  /** Starts both ends, and a relay between them where one is asked for. */
  static async start(pair: PairSpec): Promise<Pair> {
    const { answering, asking, bytes, onPause, path, relayed, root, setting = usual } = pair
    const started: Array<End> = []
    const start = async (
      runtime: Runtime,
      spec: EndSpec,
      hear?: (ms: number) => void
    ): Promise<readonly [End, string]> => {
      const found = await End.start(runtime, spec, root, hear)
      started.push(found[0])
      return found
    }
    try {
      const placed = relayed === true ? { ...setting, relay: (await start(answering, { role: "relay" }))[1] } : setting
      const [b, address] = await start(answering, { role: "answer", path, bytes, setting: placed }, onPause?.answering)
      const [a] = await start(asking, { role: "ask", path, bytes, setting: placed, address }, onPause?.asking)
      return new Pair(path, a, b, started.slice(0, -2))
    } catch (error) {
      for (const end of started) end.close()
      throw error
    }
  }

  /** A closed loop. */
  round(inflight: number, seconds: number): Promise<Round> {
    return this.#measured(() => this.asking.run(inflight, seconds))
  }

  /** An open loop. */
  paced(perSecond: number, seconds: number): Promise<Round> {
    return this.#measured(() => this.asking.pace(perSecond, seconds))
  }

  async #measured(run: () => Promise<Run>): Promise<Round> {
    const before = [await this.asking.cpu(), await this.answering.cpu()] as const
    const result = await run()
    const after = [await this.asking.cpu(), await this.answering.cpu()] as const
    const each = (i: 0 | 1) => (result.calls === 0 ? 0 : (after[i] - before[i]) / result.calls)
    return { ...result, askingMicros: each(0), answeringMicros: each(1) }
  }

  close(): void {
    for (const end of [this.asking, this.answering, ...this.#others]) end.close()
  }
}
