/**
 * FirstLeases: an agent is there from its registration on, before its heartbeat socket is open.
 *
 * Once the socket is, presence is the socket's affair: the first lease ends, so that an agent whose socket closes is away at once. An
 * agent whose socket opens at another instance keeps its first lease until that runs out.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Lease, Presence } from "./Presence.ts"

/** Most first leases that are remembered; the oldest run out by themselves. */
export const MAX_REMEMBERED = 100_000

/** Presence between registration and heartbeat. */
export class FirstLeases extends Context.Service<
  FirstLeases,
  {
    /** It has registered: alive for `LEASE_MS`. */
    readonly open: (agent: string) => Effect.Effect<void>
    /** Its socket is open, or it has left. */
    readonly end: (agent: string) => Effect.Effect<void>
  }
>()("@parley/registry/FirstLeases") {}

/** Presence between registration and heartbeat. */
export const layer: Layer.Layer<FirstLeases, never, Presence> = Layer.effect(
  FirstLeases,
  Effect.map(Presence, (presence) => {
    const leases = new Map<string, Lease>()
    const end = (agent: string): Effect.Effect<void> =>
      Effect.suspend(() => {
        const lease = leases.get(agent)
        leases.delete(agent)
        return lease === undefined ? Effect.void : lease.end
      })
    return FirstLeases.of({
      open: (agent) =>
        Effect.gen(function* () {
          yield* end(agent)
          for (const oldest of leases.keys()) {
            if (leases.size < MAX_REMEMBERED) break
            leases.delete(oldest)
          }
          leases.set(agent, yield* presence.open(agent))
        }),
      end
    })
  })
)
