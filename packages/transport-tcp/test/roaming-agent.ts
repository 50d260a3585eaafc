/**
 * An agent in a process of its own that is cut, frozen, killed and moved in tests. Its options are a JSON object; it prints where
 * it is, serves a stream of numbers and a task that counts how often it runs, and does what lines of JSON on its input say.
 */
import { createInterface } from "node:readline"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Capability from "@parley/core/Capability"
import * as DiscoveryMemory from "@parley/core/DiscoveryMemory"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import * as Node from "@parley/core/Node"
import * as Strategy from "@parley/core/Strategy"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"

/** How the agent is started. */
export interface Settings extends TransportTcp.Options {
  readonly name?: string
}

/** Numbers from 0 on, so many at once and then a pause, each with so many characters of ballast. */
export const Numbers = Capability.stream("numbers.read", {
  version: "1.0.0",
  input: Schema.Struct({ count: Schema.Int, atOnce: Schema.Int, everyMs: Schema.Finite, ballast: Schema.Int }),
  output: Schema.Struct({ n: Schema.Int, ballast: Schema.String })
})

/** Takes its time, and says how often it has run under this name. */
export const Job = Capability.make("job.run", {
  version: "1.0.0",
  input: Schema.Struct({ name: Schema.String, ms: Schema.Finite }),
  output: Schema.Struct({ name: Schema.String, runs: Schema.Int })
})

/** A node over TCP that finds nobody by itself. */
export const layerOf = (options: Settings) =>
  Node.layer({ name: options.name ?? "roaming" }).pipe(
    Layer.provide([
      TransportTcp.layer({ host: "127.0.0.1", port: 0, ...options }),
      DiscoveryMemory.layer(DiscoveryMemory.makeBoard()),
      Matcher.layer,
      Strategy.layer({})
    ]),
    Layer.provide(Identity.layerEphemeral)
  )

/** Reads a stream of numbers, and says how it went: `wrong` is the place of the first number that is not the next. */
export const readNumbers = (
  node: Node.Node["Service"],
  to: string,
  input: typeof Numbers.input.Type,
  onNumber: (n: number) => void = () => {}
): Effect.Effect<{ readonly seen: number; readonly wrong: number | undefined; readonly error: string | undefined }> =>
  Effect.suspend(() => {
    let seen = 0
    let wrong: number | undefined
    return Stream.runForEach(node.stream(Numbers, input, { to, deadline: "10 minutes" }), ({ n }) =>
      Effect.sync(() => {
        if (n !== seen) wrong ??= seen
        seen += 1
        onNumber(n)
      })
    ).pipe(
      Effect.match({
        onFailure: (error): string | undefined => error.message,
        onSuccess: () => undefined
      }),
      Effect.map((error) => ({ seen, wrong, error }))
    )
  })

/** Serves both. */
export const serve = (node: Node.Node["Service"], runs: Map<string, number>) =>
  Effect.gen(function* () {
    yield* node.serve(Numbers, ({ atOnce, ballast, count, everyMs }) => {
      const text = "·".repeat(ballast)
      return Stream.range(0, count - 1).pipe(
        Stream.rechunk(atOnce),
        Stream.chunks,
        Stream.mapEffect((all) => (everyMs > 0 ? Effect.as(Effect.sleep(everyMs), all) : Effect.succeed(all))),
        Stream.flattenArray,
        Stream.map((n) => ({ n, ballast: text }))
      )
    })
    yield* node.serve(Job, ({ ms, name }) =>
      Effect.suspend(() => {
        const times = (runs.get(name) ?? 0) + 1
        runs.set(name, times)
        return Effect.as(Effect.sleep(ms), { name, runs: times })
      })
    )
  }).pipe(Effect.orDie)

const say = (line: object): void => console.log(JSON.stringify(line))

interface Command {
  readonly read?: { readonly to: string; readonly input: typeof Numbers.input.Type; readonly everyNth: number }
  readonly runs?: true
  readonly addresses?: true
}

const main = Effect.gen(function* () {
  const options = JSON.parse(process.argv[2] ?? "{}") as Settings
  const runs = new Map<string, number>()
  const self = Context.get(yield* Layer.build(layerOf(options)), Node.Node)
  yield* serve(self, runs)
  say({ node: self.nodeId, addresses: self.connections.addresses() })
  const lines = createInterface({ input: process.stdin })
  const fork = Effect.runForkWith(yield* Effect.context())
  yield* Effect.callback<void>((resume) => {
    lines.on("close", () => resume(Effect.void))
    lines.on("line", (line) => {
      const command = JSON.parse(line) as Command
      if (command.runs === true) say({ runs: Object.fromEntries(runs) })
      if (command.addresses === true) say({ addresses: self.connections.addresses() })
      const { read } = command
      if (read === undefined) return
      const reading = readNumbers(self, read.to, read.input, (n) => {
        if ((n + 1) % read.everyNth === 0) say({ at: n + 1 })
      })
      fork(Effect.map(reading, (result) => say({ result })))
    })
  })
})

if (import.meta.main) {
  await Effect.runPromise(Effect.scoped(main))
  process.exit(0)
}
