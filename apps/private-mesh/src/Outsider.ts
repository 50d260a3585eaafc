/**
 * Somebody outside who knows the members' addresses, and has no network key or another one. It tries everything that a node
 * can: to connect to each, to search for anything at all, and to call.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Connections } from "@parley/core/Connections"
import * as Node from "@parley/core/Node"
import * as Cohort from "./Cohort.ts"
import * as Joining from "./Joining.ts"
import { Learned, type Role, say } from "./Roles.ts"

/** Says what it has learned, in one line. */
export const run = (role: Role): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const node = yield* Node.Node
    const connections = yield* Connections
    const tries = yield* Effect.forEach(role.peers, (address) =>
      Effect.match(connections.connect({ addresses: [address] }), {
        onSuccess: (connection) => ({ address, code: "Connected", detail: `${connection.peer} let it in` }),
        onFailure: ({ message, reason }) => ({
          address,
          code: reason._tag === "HandshakeFailed" ? reason.code : reason._tag,
          detail: message
        })
      })
    )
    const matches = yield* node.discover({}, { within: "1 second" })
    const question = { diagnosis: "I21.9", minAge: 0 }
    const call = yield* Effect.exit(node.call(Cohort.Count, question, { deadline: "3 seconds" }))
    const { known } = yield* node.status
    const learned: Learned = {
      tries,
      records: Math.max(0, known.records - 1),
      matches: matches.map(({ capability, node: id }) => `${capability.name} at ${id}`),
      call: Exit.match(call, {
        onSuccess: () => "answered",
        onFailure: () => {
          const error = Exit.findErrorOption(call)
          return error._tag === "Some" ? error.value.reason._tag : "Defect"
        }
      })
    }
    yield* say(Learned, learned)
  }).pipe(Effect.scoped, Effect.provide(Joining.layer(role)))
