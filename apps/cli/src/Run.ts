/**
 * Runs `parley`: arguments in, exit code out.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Cli from "./Cli.ts"
import { ExitCode, tellCause, type Told } from "./Failure.ts"
import * as Log from "./Log.ts"
import * as Output from "./Output.ts"
import * as Signals from "./Signals.ts"

const args = process.argv.slice(2)
const isJson = args.includes("--json")

// Stdout is for results: what is wrong with the command line goes to stderr, with where to read on.
const presenter = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? report({
          exitCode: ExitCode.Usage,
          code: event.errors[0]?._tag ?? "Usage",
          message: `${event.errors.map((error) => error.message).join("\n")}\n  see: ${event.commandPath.join(" ")} --help`
        })
      : CliOutput.defaultPresenter.present(event)
})

const report = ({ exitCode, code, message, reason }: Told): Effect.Effect<void> =>
  Output.error(
    isJson
      ? JSON.stringify({ error: { code, message, exitCode, ...(reason === undefined ? {} : { reason }) } })
      : message
  )

const environment = Layer.mergeAll(
  NodeServices.layer,
  presenter,
  CliConfig.layer({
    builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
  }),
  Logger.layer([Log.logger(isJson)]),
  Layer.succeed(References.MinimumLogLevel, args.includes("--quiet") ? "Error" : "Warn")
)

// Apps with a command line of their own get it as it is.
const passed = args[0] === "demo" || args[0] === "bench" ? args[0] : undefined

const program: Effect.Effect<void, unknown> =
  passed === undefined
    ? Command.runWith(Cli.parley, { version: Cli.VERSION, renderErrors: true })(args).pipe(Effect.provide(environment))
    : Effect.flatMap(
        Effect.promise(() => import("./commands/App.ts")),
        (app) => app.run({ app: passed, args: args.slice(1) })
      )

const codeOf = (error: unknown): number | undefined =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "Unsuccessful" && "exitCode" in error
    ? Number(error.exitCode)
    : undefined

/** Says what went wrong, and gives the exit code. */
const conclude = (exit: Exit.Exit<void, unknown>): Effect.Effect<number> => {
  if (Exit.isSuccess(exit)) return Effect.succeed(ExitCode.Ok)
  const failed = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  const known = codeOf(failed)
  if (known !== undefined) return Effect.succeed(known)
  if (typeof failed === "object" && failed !== null && "_tag" in failed && failed._tag === "ShowHelp") {
    const wrong = "errors" in failed && Array.isArray(failed.errors) && failed.errors.length > 0
    return Effect.succeed(wrong ? ExitCode.Usage : ExitCode.Ok)
  }
  const told = tellCause(exit.cause)
  return told === undefined ? Effect.succeed(ExitCode.Interrupted) : Effect.as(report(told), told.exitCode)
}

// A reader that has seen enough, such as head, has closed the pipe.
process.stdout.on("error", () => process.exit(ExitCode.Ok))
process.stderr.on("error", () => undefined)

let interruptedWith: number | undefined
const fiber = Effect.runFork(program)
Signals.listen((exitCode) => {
  interruptedWith = exitCode
  fiber.interruptUnsafe()
})
fiber.addObserver((exit) => {
  Effect.runFork(conclude(exit)).addObserver((concluded) => {
    const exitCode = Exit.isSuccess(concluded) ? concluded.value : ExitCode.Bug
    process.exit(exitCode === ExitCode.Interrupted ? (interruptedWith ?? exitCode) : exitCode)
  })
})
