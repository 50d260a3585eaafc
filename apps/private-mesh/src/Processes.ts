/**
 * Members and outsiders as processes of their own: this program once more, with `--role`. They talk in lines of JSON, and
 * end when their standard input closes, so that none outlives this one.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Command, type Role, toLine } from "./Roles.ts"

/** How long a process may take to say its next line, or to end, in milliseconds. */
const PATIENCE_MS = 20_000

/** A process did not do what it was started for. */
export class ProcessError extends Schema.TaggedError<ProcessError>()("ProcessError", {
  name: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.name} ${this.detail}`
  }
}

/** A process at work. */
export interface Process {
  readonly name: string
  /** Its next line. */
  readonly next: <A>(schema: Schema.Codec<A, unknown>) => Effect.Effect<A, ProcessError>
  readonly tell: (command: Command) => Effect.Effect<void>
}

/** Starts a process on the runtime that runs this. The scope ends it. */
export const start = (role: Role): Effect.Effect<Process, ProcessError, Scope.Scope> =>
  Effect.gen(function* () {
    const { name } = role
    const lines = yield* Queue.bounded<string, Cause.Done>(64)
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const main = new URL("main.ts", import.meta.url).pathname
        const run = "Deno" in globalThis ? ["run", "-A", "--quiet", main] : [main]
        return spawn(process.execPath, [...run, "--role", JSON.stringify(role)], { stdio: ["pipe", "pipe", "inherit"] })
      }),
      (started) =>
        Effect.promise(async () => {
          if (started.exitCode !== null || started.signalCode !== null) return
          const ended = once(started, "exit")
          const timer = setTimeout(() => started.kill("SIGKILL"), PATIENCE_MS)
          started.stdin.end()
          await ended
          clearTimeout(timer)
        })
    )
    child.stdin.on("error", () => undefined)
    child.on("error", () => Queue.endUnsafe(lines))
    createInterface({ input: child.stdout })
      .on("line", (line) => Queue.offerUnsafe(lines, line))
      .on("close", () => Queue.endUnsafe(lines))
    const failed = (detail: string) => new ProcessError({ name, detail })
    return {
      name,
      next: (schema) =>
        Queue.take(lines).pipe(
          Effect.mapError(() => failed("ended before it had said all")),
          Effect.timeoutOrElse({
            duration: PATIENCE_MS,
            orElse: () => Effect.fail(failed(`said nothing for ${PATIENCE_MS} ms`))
          }),
          Effect.flatMap((line) =>
            Effect.mapError(Schema.decodeEffect(Schema.fromJsonString(schema))(line), (error) =>
              failed(`said ${line.slice(0, 200)}: ${error.message}`)
            )
          )
        ),
      tell: (command) => Effect.sync(() => void child.stdin.write(toLine(Command, command)))
    }
  })
