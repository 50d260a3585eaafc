/**
 * A capability that any program does: the input as JSON on its stdin, the output as JSON from its stdout, exit code 0.
 *
 * The program runs in a process group of its own, which is ended as a whole when the deadline passes or the caller goes. It
 * finds in its environment: `PARLEY_CAPABILITY`, `PARLEY_TASK`, `PARLEY_CALLER` and `PARLEY_DEADLINE` (milliseconds since 1970).
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Guardrails from "@parley/core/Guardrails"
import type { Task } from "@parley/core/Node"

/** Most bytes taken from a program's stdout: what a node sends by default. */
export const MAX_OUTPUT_BYTES = Guardrails.defaults.maxPayloadBytes
/** How much of the end of a program's stderr the caller is told, in bytes: some lines. */
export const STDERR_TAIL_BYTES = 2_048
/** Time between asking a process group to end (SIGTERM) and ending it (SIGKILL), in milliseconds. */
export const GRACE_MS = 500

/** The program did not give an answer. `_tag` is what the caller sees as the failure's code. */
export class NotStarted extends Schema.TaggedError<NotStarted>()("NotStarted", { message: Schema.String }) {}
/** It ended with another exit code than 0, or by a signal. */
export class ExitCode extends Schema.TaggedError<ExitCode>()("ExitCode", { message: Schema.String }) {}
/** What it printed is not one JSON value, or too much. */
export class BadOutput extends Schema.TaggedError<BadOutput>()("BadOutput", { message: Schema.String }) {}

/** Why a program gave no answer. */
export type ExecError = NotStarted | ExitCode | BadOutput

const signalGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined) return
  try {
    // A detached child leads a group of its own; Windows has no groups.
    if (process.platform === "win32") child.kill(signal)
    else process.kill(-child.pid, signal)
  } catch {
    // Everyone in the group has ended.
  }
}

const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null

/** Asks the group to end, and ends it when it does not in time. */
const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const finish = () => {
      signalGroup(child, "SIGKILL")
      resume(Effect.void)
    }
    if (child.pid === undefined || !isRunning(child)) return finish()
    child.once("exit", finish)
    setTimeout(finish, GRACE_MS).unref()
    signalGroup(child, "SIGTERM")
  })

const parse = (bytes: Buffer): Schema.Json | BadOutput => {
  try {
    return JSON.parse(bytes.toString("utf8"))
  } catch {
    const shown = bytes.length === 0 ? "nothing" : JSON.stringify(bytes.toString("utf8", 0, 120))
    return new BadOutput({ message: `the program printed ${shown}, which is not JSON` })
  }
}

const run = (
  command: string,
  env: NodeJS.ProcessEnv,
  input: string,
  started: (child: ChildProcess) => void
): Effect.Effect<Schema.Json, ExecError> =>
  Effect.callback<Schema.Json, ExecError>((resume) => {
    const child = spawn(command, {
      shell: true,
      detached: process.platform !== "win32",
      stdio: ["pipe", "pipe", "pipe"],
      env
    })
    started(child)
    const output: Array<Buffer> = []
    let bytes = 0
    let tail: Buffer = Buffer.alloc(0)
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= MAX_OUTPUT_BYTES) return void output.push(chunk)
      output.length = 0
      resume(Effect.fail(new BadOutput({ message: `the program printed more than ${MAX_OUTPUT_BYTES} bytes` })))
    })
    child.stderr.on("data", (chunk: Buffer) => {
      tail = Buffer.concat([tail, chunk]).subarray(-STDERR_TAIL_BYTES)
    })
    // A program need not read its input.
    child.stdin.on("error", () => undefined)
    child.stdin.end(input)
    child.on("error", (error) => resume(Effect.fail(new NotStarted({ message: `${command}: ${error.message}` }))))
    child.on("close", (code, signal) => {
      const said = tail.toString("utf8").trim()
      const how = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`
      if (code !== 0) {
        return resume(Effect.fail(new ExitCode({ message: `the program ${how}${said === "" ? "" : `: ${said}`}` })))
      }
      const parsed = parse(Buffer.concat(output))
      resume(parsed instanceof BadOutput ? Effect.fail(parsed) : Effect.succeed(parsed))
    })
  })

/** A handler that runs a shell command for each task. */
export const handler =
  (capability: string, command: string) =>
  (input: Schema.Json, task: Task): Effect.Effect<Schema.Json, ExecError> => {
    let child: ChildProcess | undefined
    const env = {
      ...process.env,
      PARLEY_CAPABILITY: capability,
      PARLEY_TASK: task.id,
      PARLEY_CALLER: task.caller,
      PARLEY_DEADLINE: String(task.deadline)
    }
    return run(command, env, JSON.stringify(input), (started) => {
      child = started
    }).pipe(Effect.ensuring(Effect.suspend(() => (child === undefined ? Effect.void : end(child)))))
  }
