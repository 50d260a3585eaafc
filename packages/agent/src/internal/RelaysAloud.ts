/** Says aloud that a relay which was given by hand gives no place: it is asked again by itself, so that nobody else would ever hear of it. */
import * as Effect from "effect/Effect"
import type { Address } from "@parley/core/Transport"
import type { Health } from "@parley/transport-tcp/Reservations"

/** What hears how the relays do (`TransportTcp.Options.onRelays`), and warns of each once, until it has given a place. */
export const make = (
  run: (warning: Effect.Effect<void>) => unknown
): ((relays: ReadonlyArray<Pick<Health, "failures" | "refused" | "state" | "via">>) => void) => {
  const failures = new Map<Address, number>()
  const warned = new Set<Address>()
  return (relays) => {
    for (const relay of relays) {
      // A relay that is held no more because others are better has not failed.
      const hasFailed = relay.failures > (failures.get(relay.via) ?? 0)
      failures.set(relay.via, relay.failures)
      if (relay.state === "held") warned.delete(relay.via)
      if (!hasFailed || warned.has(relay.via)) continue
      warned.add(relay.via)
      const why = relay.refused ?? "it cannot be reached"
      const next = "it is asked again; until then nobody reaches this node through it"
      run(Effect.logWarning(`no place at the relay ${relay.via}: ${why} (${next})`))
    }
  }
}
