/**
 * Presence for one process: nobody else's leases are seen.
 *
 * Leases run on the monotonic clock, so that a corrected wall clock neither ends nor lengthens one. Changes are told in the order in
 * which they happened; a listener that falls far behind (`MAX_UNTOLD`) hears at least the last word about each agent.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import { Leases, type Listener, TICK_MS } from "./internal/Leases.ts"
import { Untold } from "./internal/Untold.ts"
import { type Lease, LEASE_MS, Presence } from "./Presence.ts"

export { MAX_LEASES_OF_AGENT, MAX_REMEMBERED, MAX_TASKS_OF_LEASE, TICK_MS } from "./internal/Leases.ts"
export { MAX_UNTOLD } from "./internal/Untold.ts"

/** The leases of this process, with a fiber that expires them while the scope lasts. */
export const makeLeases = Effect.fnUntraced(function* (listener: Listener) {
  const clock = yield* Clock.Clock
  const leases = new Leases(listener)
  const some = Latch.makeUnsafe()
  const monotonic = () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  yield* some.await.pipe(
    Effect.andThen(Effect.sleep(TICK_MS)),
    Effect.andThen(
      Effect.sync(() => {
        leases.advance(monotonic())
        if (!leases.waiting) some.closeUnsafe()
      })
    ),
    Effect.forever,
    Effect.forkScoped
  )
  const open = (agent: string, leaseMs = LEASE_MS): Effect.Effect<Lease> =>
    Effect.sync(() => {
      const held = leases.open(agent, leaseMs, monotonic(), clock.currentTimeMillisUnsafe())
      some.openUnsafe()
      return {
        agent,
        renew: Effect.sync(() => {
          leases.renew(held, monotonic(), clock.currentTimeMillisUnsafe())
          some.openUnsafe()
        }),
        taskStarted: (task) => Effect.sync(() => leases.started(held, task)),
        taskEnded: (task) => Effect.sync(() => leases.ended(held, task)),
        end: Effect.sync(() => leases.end(held, "connection closed"))
      }
    })
  return { leases, open }
})

/** Presence for one process. */
export const make = Effect.gen(function* () {
  const untold = new Untold()
  const { leases, open } = yield* makeLeases({
    came: (agent, why) => untold.tell({ agent, online: true, why }),
    went: (agent, why) => untold.tell({ agent, online: false, why }),
    touched: () => undefined
  })
  return Presence.of({
    open,
    drop: (agent) => Effect.sync(() => leases.drop(agent, "deregistered")),
    view: (agent) => leases.view(agent),
    online: () => leases.online,
    changes: untold.stream
  })
})

/** Presence for one process. */
export const layer: Layer.Layer<Presence> = Layer.effect(Presence, make)
