/**
 * The processes of the demo. Each has a pipe as its stdin, and ends when that closes: so it also ends when this process is
 * killed. Their first line on stdout says who they are.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { NodeId } from "@parley/core/NodeId"

/** How long a process may take to say who it is, in milliseconds: many start at once, maybe on one core. */
const START_MS = 12_000
/** How long a process may take to end by itself, in milliseconds. */
const END_MS = 2_000
/** How much of the end of its stderr is shown when a process fails, in characters. */
const TAIL = 2_000

/** A process that did not do its part. */
export class ProcessFailed extends Schema.TaggedError<ProcessFailed>()("ProcessFailed", {
  name: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}`
  }
}

const Hello = Schema.Struct({ node: NodeId, addresses: Schema.Array(Schema.String) })
const readHello = Schema.decodeUnknownSync(Schema.fromJsonString(Hello))

/** A process that is up. */
export interface Running {
  readonly name: string
  readonly node: NodeId
  readonly addresses: ReadonlyArray<string>
  readonly pid: number
  /** Writes a line to its stdin. */
  readonly tell: (line: string) => void
  /** The next line on its stdout that `wanted` accepts. */
  readonly hear: (wanted: (line: string) => boolean) => Effect.Effect<string, ProcessFailed>
  /** SIGKILL, and waits until it is gone. */
  readonly kill: Effect.Effect<void>
}

/** What to run. */
export interface Part {
  readonly name: string
  readonly command: ReadonlyArray<string>
  /** Others need it: it ends when they have. */
  readonly last?: boolean
}

/** Starts processes. */
export interface Company {
  readonly start: (part: Part) => Effect.Effect<Running, ProcessFailed>
}

const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null

const ended = (child: ChildProcess): Promise<void> =>
  isRunning(child) ? new Promise((resolve) => child.once("exit", () => resolve())) : Promise.resolve()

/** Closes its stdin, and kills it when that does not end it. */
const end = async (child: ChildProcess): Promise<void> => {
  child.stdin?.end()
  const timer = setTimeout(() => child.kill("SIGKILL"), END_MS)
  await ended(child)
  clearTimeout(timer)
}

/** The environment without what the user has set for Parley: the demo touches nobody's keys, and joins nobody's mesh. */
const environment = (home: string): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("PARLEY_"))),
  PARLEY_HOME: home
})

const begin = ({ command: [file = "", ...args], name }: Part, home: string) => {
  const child = spawn(file, args, { env: environment(home), stdio: ["pipe", "pipe", "pipe"] })
  const ears = new Set<(line: string) => void>()
  let rest = ""
  let tail = ""
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString("utf8")).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) for (const ear of ears) ear(line)
  })
  child.stderr.on("data", (chunk: Buffer) => (tail = (tail + chunk.toString("utf8")).slice(-TAIL)))
  // It may have ended before it has read all; its exit says so.
  child.stdin.on("error", () => undefined)
  const failed = (detail: string) =>
    new ProcessFailed({ name, detail: tail.trim() === "" ? detail : `${detail}\n${tail.trim()}` })
  const hear = (wanted: (line: string) => boolean): Effect.Effect<string, ProcessFailed> =>
    Effect.callback<string, ProcessFailed>((resume) => {
      const ear = (line: string): void => {
        if (wanted(line)) resume(Effect.succeed(line))
      }
      const gone = (code: number | null, signal: string | null): void =>
        resume(Effect.fail(failed(`it ended with ${signal ?? `exit code ${code}`}`)))
      const notStarted = (error: Error): void => resume(Effect.fail(failed(`it did not start: ${error.message}`)))
      if (!isRunning(child)) return gone(child.exitCode, child.signalCode)
      ears.add(ear)
      child.once("close", gone)
      child.once("error", notStarted)
      return Effect.sync(() => {
        ears.delete(ear)
        child.off("close", gone)
        child.off("error", notStarted)
      })
    }).pipe(
      Effect.timeoutOrElse({
        duration: START_MS,
        orElse: () => Effect.fail(failed(`it said nothing for ${START_MS / 1000} s`))
      })
    )
  return { child, failed, hear }
}

/** A company whose processes end with the scope, those that others need at last, and whose files are gone then. */
export const make: Effect.Effect<Company, never, Scope.Scope> = Effect.gen(function* () {
  const children: Array<ChildProcess> = []
  const needed = new Set<ChildProcess>()
  const folder = mkdtempSync(join(tmpdir(), "parley-demo-"))
  // The last resort, when the process ends without closing the scope.
  const clear = (): void => {
    for (const child of children) if (isRunning(child)) child.kill("SIGKILL")
    rmSync(folder, { recursive: true, force: true })
  }
  process.once("exit", clear)
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      for (const isLast of [false, true]) {
        await Promise.all(children.filter((child) => needed.has(child) === isLast).map(end))
      }
      clear()
      process.off("exit", clear)
    })
  )
  return {
    start: (part) =>
      Effect.gen(function* () {
        const home = join(folder, part.name)
        mkdirSync(home, { mode: 0o700 })
        const { child, failed, hear } = begin(part, home)
        children.push(child)
        if (part.last === true) needed.add(child)
        const line = yield* hear(() => true)
        const { addresses, node } = yield* Effect.try({
          try: () => readHello(line),
          catch: () => failed(`its first line was not who it is: ${line}`)
        })
        return {
          name: part.name,
          node,
          addresses,
          pid: child.pid ?? 0,
          tell: (text) => void child.stdin.write(`${text}\n`),
          hear,
          kill: Effect.promise(() => {
            child.kill("SIGKILL")
            return ended(child)
          })
        }
      })
  }
})
