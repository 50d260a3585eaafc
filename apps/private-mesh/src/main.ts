/**
 * Runs the private mesh's story: arguments in, exit code out.
 */
import { parseArgs } from "node:util"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Member from "./Member.ts"
import * as Outsider from "./Outsider.ts"
import { Role } from "./Roles.ts"
import * as Story from "./Story.ts"

const help = `private-mesh: three hospitals with a network key and no outside contact

They count patients together without showing a record. Somebody without the key, and somebody with another one, try to get
in; both learn nothing and are told why. A wiretap on one line shows what can be read there.

  --json   one line of JSON at the end, and nothing else
  --open   the same without a network key, to see that the checks can fail: the exit code is 1
  --help   this text

Exit code: 0 when all of it happened, 1 when any of it did not, 64 when an argument is wrong.

Example: npm run private-mesh -- --json
`

const usage = (message: string): never => {
  process.stderr.write(`private-mesh: ${message}\n  see: --help\n`)
  process.exit(64)
}

const read = () => {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: "boolean", default: false },
        open: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        role: { type: "string" }
      }
    })
    return values
  } catch (cause) {
    return usage(cause instanceof Error ? cause.message : String(cause))
  }
}

const args = read()

const story = Story.run({ open: args.open, tell: args.json ? () => {} : (line) => console.log(line) }).pipe(
  Effect.scoped,
  Effect.map((report) => {
    if (args.json) console.log(JSON.stringify(report))
    for (const problem of report.failed) console.error(`not as it should be: ${problem}`)
    return report.failed.length === 0 ? 0 : 1
  })
)
const play = (text: string): Effect.Effect<number, unknown> =>
  Effect.gen(function* () {
    const role = yield* Schema.decodeEffect(Schema.fromJsonString(Role))(text)
    yield* role.as === "member" ? Member.run(role) : Outsider.run(role)
    return 0
  })

if (args.help) {
  process.stdout.write(help)
} else {
  const stop = new AbortController()
  let stopped = 1
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143]
  ] as const) {
    process.once(signal, () => {
      stopped = code
      stop.abort()
    })
  }
  const logs = Layer.mergeAll(
    Layer.succeed(Logger.LogToStderr, true),
    Layer.succeed(References.MinimumLogLevel, "Warn")
  )
  const program = (args.role === undefined ? story : play(args.role)).pipe(Effect.provide(logs))
  const exit = await Effect.runPromiseExit(program, { signal: stop.signal })
  if (Exit.isSuccess(exit)) process.exitCode = exit.value
  else {
    if (!Cause.hasInterruptsOnly(exit.cause)) console.error(`private-mesh: ${Cause.pretty(exit.cause)}`)
    process.exitCode = stopped
  }
}
