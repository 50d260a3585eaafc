/** The registrar that sockets ask: the world and the ledger of this instance. */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Commands from "./Commands.ts"
import { Ledger } from "./Ledger.ts"
import { instant } from "./RecordJson.ts"
import { Registrar } from "./Registrar.ts"
import { World } from "./World.ts"

/** The registrar that sockets ask. */
export const layer: Layer.Layer<Registrar, never, Ledger | World> = Layer.effect(
  Registrar,
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const ledger = yield* Ledger
    const world = yield* World
    return Registrar.of({
      knows: (agent) => world.get(agent) !== undefined,
      trace: (trace) => {
        const trace_id = trace.trace_id ?? randomUUID()
        const timestamp = instant(clock.currentTimeMillisUnsafe())
        return Effect.as(ledger.commit(Commands.trace({ ...trace, trace_id, timestamp })), trace_id)
      },
      taskStarted: (agent, task) => ledger.commit(Commands.taskStarted(agent, task)),
      taskEnded: (agent, task, elapsedMs) => ledger.commit(Commands.taskEnded(agent, task, elapsedMs))
    })
  })
)
