/**
 * A member: serves its counts, asks the others for theirs when told to, and remembers whom it refused.
 */
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Connections } from "@parley/core/Connections"
import * as Node from "@parley/core/Node"
import * as Cohort from "./Cohort.ts"
import * as Joining from "./Joining.ts"
import { Command, Counted, Ready, Refusals, type Role, say } from "./Roles.ts"

const decodeCommand = Schema.decodeEffect(Schema.fromJsonString(Command))

/** Looks again until it is so, at most for about ten seconds. */
const until = <A, E, R>(look: Effect.Effect<A, E, R>, isSo: (found: A) => boolean) =>
  Effect.repeat(look, { schedule: Schedule.spaced("50 millis"), until: isSo, times: 200 })

/** Does what standard input says until that closes. */
export const run = (role: Role): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const node = yield* Node.Node
    const connections = yield* Connections
    const patients = Cohort.patientsOf(role.name)
    const refused: Array<string> = []
    yield* connections.observe({
      onRefused: (_address, { reason }) =>
        void refused.push(reason._tag === "HandshakeFailed" ? reason.code : reason._tag)
    })
    yield* node.serve(Cohort.Count, (question) => Effect.succeed({ count: Cohort.count(patients, question) }))
    yield* say(Ready, { record: node.record(), addresses: connections.addresses() })

    const ask = Effect.fnUntraced(function* ({ of, question }: Extract<Command, { _tag: "Ask" }>) {
      yield* until(node.discover({ name: Cohort.Count.name }), (matches) =>
        of.every((wanted) => matches.some((match) => match.node === wanted))
      )
      const verdict = yield* node.ask(Cohort.Count, question, { select: "all", aggregate: "ensemble" })
      const others = verdict.answers.map(({ node: id, value }) => ({
        node: id,
        ...Schema.decodeSync(Cohort.Count.output)(value)
      }))
      const own = Cohort.count(patients, question)
      const total = others.reduce((sum, { count }) => sum + (count ?? 0), own ?? 0)
      const connected = (yield* node.peers).map(({ address }) => address)
      yield* say(Counted, { own, others, total, connected })
    })
    const handle = (command: Command) =>
      command._tag === "Ask"
        ? ask(command)
        : until(
            Effect.sync(() => refused),
            (codes) => codes.length >= command.atLeast
          ).pipe(Effect.flatMap((codes) => say(Refusals, { codes })))

    yield* Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause).pipe(
      Stream.mapEffect((line) => decodeCommand(line)),
      Stream.runForEach(handle)
    )
  }).pipe(Effect.scoped, Effect.provide(Joining.layer(role)))
