/** Runs the demo: arguments in, exit code out. */
import { readFileSync, statSync } from "node:fs"
import { join, resolve } from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import { whenOrphaned } from "../../../scripts/setup.mjs"
import * as Options from "./Options.ts"
import * as Report from "./Report.ts"
import * as Story from "./Story.ts"
import { MAX_CSV_BYTES, read } from "./Table.ts"
import { Timeline } from "./Timeline.ts"

const exitCodes = { ok: 0, failed: 1, usage: 64, data: 65 }

const stop = (exitCode: number, message: string): never => {
  process.stderr.write(`${message}\n`)
  return process.exit(exitCode)
}

/** A file as text: UTF-8, or UTF-16 where it says so, or else Windows-1252, as spreadsheets write it. */
const textOf = (file: string): string => {
  const { size } = statSync(file)
  // UTF-16 takes two bytes for what UTF-8 takes one.
  if (size > 2 * MAX_CSV_BYTES) throw new Error(`it has ${size} bytes, and at most ${MAX_CSV_BYTES} are read`)
  const bytes = readFileSync(file)
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes)
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes)
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    return new TextDecoder("windows-1252").decode(bytes)
  }
}

const whyNot = (cause: unknown): string => {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  if (code === "ENOENT") return "there is no such file"
  if (code === "EISDIR") return "it is a folder"
  if (code === "EACCES") return "it may not be read"
  return cause instanceof Error ? cause.message : String(cause)
}

const load = (given: string | undefined): { readonly csv: string; readonly what: string } => {
  const file = given === undefined ? join(import.meta.dirname, "../data/elements.csv") : resolve(given)
  try {
    const csv = textOf(file)
    const { columns, rows } = read(csv)
    if (columns.length === 0) throw new Error("it has no cells below its first row, so there is nothing to describe")
    const counted = `${columns.length} ${columns.length === 1 ? "column" : "columns"} of numbers`
    return { csv, what: `${given ?? "the chemical elements"}: ${rows} ${rows === 1 ? "row" : "rows"}, ${counted}` }
  } catch (cause) {
    return stop(exitCodes.data, `cannot use ${file}: ${whyNot(cause)}`)
  }
}

const options = Options.parse(process.argv.slice(2))
if (typeof options === "string") {
  stop(exitCodes.usage, `${options}\n  see: npm run demo -- --help`)
} else if (options.help) {
  process.stdout.write(Options.help)
  process.exit(exitCodes.ok)
} else {
  run(options)
}

function run(options: Options.Options): void {
  const { csv, what } = load(options.csv)
  const line = new Timeline(options.json ? process.stderr : process.stdout)
  // A reader that has seen enough, such as head, has closed the pipe.
  process.stdout.on("error", () => process.exit(exitCodes.failed))
  line.say("table", what)
  const quiet = Layer.mergeAll(
    Layer.succeed(References.MinimumLogLevel, "Error" as const),
    Layer.succeed(Logger.LogToStderr, true)
  )
  let stayed: (() => void) | undefined
  const stay = (report: Report.Report): Effect.Effect<void> =>
    Effect.callback((resume) => {
      stayed = () => resume(Effect.void)
      tellPage(report, options, line)
    })
  const program = Effect.provide(Story.play(options, csv, line, stay), quiet)
  const fiber = Effect.runFork(program)
  let interrupted: number | undefined
  const interrupt = (exitCode: number) => (): void => {
    // While the page stays up, being told to stop is how it ends.
    if (stayed !== undefined && interrupted === undefined) {
      stayed()
      stayed = undefined
      return
    }
    if (interrupted !== undefined) process.exit(exitCode)
    interrupted = exitCode
    fiber.interruptUnsafe()
  }
  process.on("SIGINT", interrupt(130))
  process.on("SIGTERM", interrupt(143))
  process.on("SIGHUP", interrupt(129))
  whenOrphaned(interrupt(143))
  fiber.addObserver((exit) => process.exit(interrupted ?? conclude(exit, options, line)))
}

function tellPage(report: Report.Report, options: Options.Options, line: Timeline): void {
  tellMissing(report, line, `. The page: ${report.seen?.url}/`)
  line.say("registry", "stays up with all agents, who are asked something every few seconds; Ctrl-C ends it")
  if (options.json) process.stdout.write(`${Report.toJson(report)}\n`)
}

/** Whether all of it happened, in words; gives what did not. */
function tellMissing(report: Report.Report, line: Timeline, and: string): ReadonlyArray<string> {
  const missing = Report.missing(report)
  line.head(
    missing.length === 0
      ? `All of it happened, in ${line.seconds.toFixed(1)} s${and}`
      : `Not all of it happened (${line.seconds.toFixed(1)} s)${and}`
  )
  for (const what of missing) process.stderr.write(`did not happen: ${what}\n`)
  return missing
}

function conclude(exit: Exit.Exit<Report.Report, Error>, options: Options.Options, line: Timeline): number {
  if (Exit.isFailure(exit)) {
    const [reason] = exit.cause.reasons
    const what = reason?._tag === "Fail" ? reason.error.message : Cause.pretty(exit.cause)
    process.stderr.write(`did not happen: the demo ended early: ${what}\n`)
    return exitCodes.failed
  }
  const report = exit.value
  const missing = options.keep ? Report.missing(report) : tellMissing(report, line, "; every process has ended.")
  if (options.keep) line.head("Every process has ended.")
  else if (options.json) process.stdout.write(`${Report.toJson(report)}\n`)
  return missing.length === 0 ? exitCodes.ok : exitCodes.failed
}
