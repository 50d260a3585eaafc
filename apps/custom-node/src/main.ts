/**
 * Runs the custom node's story: arguments in, exit code out.
 */
import { parseArgs } from "node:util"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as AgentProcess from "./AgentProcess.ts"
import * as Story from "./Story.ts"

const help = `custom-node: a node with its own Transport, Discovery, Matcher, Selection and Aggregation

It starts six agents as processes, finds them through a folder, talks to them over Unix sockets, matches only those at
allowed sites, asks the four cheapest, and takes the geometric median of what they say.

  --json      one line of JSON at the end, and nothing else
  --liars N   how many of the four cheapest are wrong: 1 (default) to 4; from 2 on the median is lost, and the exit code 1
  --help      this text

Exit code: 0 when every part did what it is for, 1 when one did not, 64 when an argument is wrong.

Example: npm run custom-node -- --json
`

const usage = (message: string): never => {
  process.stderr.write(`custom-node: ${message}\n  see: --help\n`)
  process.exit(64)
}

const read = () => {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        liars: { type: "string", default: "1" },
        serve: { type: "string" }
      }
    })
    return values
  } catch (cause) {
    return usage(cause instanceof Error ? cause.message : String(cause))
  }
}

const args = read()
const liars = Number(args.liars)
if (!Number.isInteger(liars) || liars < 1 || liars > 4) usage(`--liars takes 1 to 4, not ${args.liars}`)

const story = Story.run({ liars, tell: args.json ? () => {} : (line) => console.log(line) }).pipe(
  Effect.scoped,
  Effect.map((report) => {
    if (args.json) console.log(JSON.stringify(report))
    for (const problem of report.failed) console.error(`not as it should be: ${problem}`)
    return report.failed.length === 0 ? 0 : 1
  })
)
const agent = (role: string) =>
  Effect.as(Effect.flatMap(Schema.decodeEffect(Schema.fromJsonString(AgentProcess.Role))(role), AgentProcess.serve), 0)

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
  const program = (args.serve === undefined ? story : agent(args.serve)).pipe(Effect.provide(logs))
  const exit = await Effect.runPromiseExit(program, { signal: stop.signal })
  if (Exit.isSuccess(exit)) process.exitCode = exit.value
  else {
    if (!Cause.hasInterruptsOnly(exit.cause)) console.error(`custom-node: ${Cause.pretty(exit.cause)}`)
    process.exitCode = stopped
  }
}
