/** Port mapping, where the node is to ask for it: whether the router lets the port through. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { type Mapping, PortMappingError, type Reason } from "@parley/transport-tcp/PortMapping"
import { type Finding, of } from "./Finding.ts"
import type { Ground } from "./Ground.ts"

/** How long the router has, in ms: for NAT-PMP, for being found by UPnP, and for what it is asked then. */
const WAIT_MS = 12_000

const advice: { readonly [R in Reason]: string } = {
  ClosedPerimeter: "leave port mapping out: nobody outside is to get into a closed network",
  NoRouter: "where this machine's address is public nothing is needed; else forward the port by hand",
  NoAnswer: "switch on NAT-PMP or UPnP in the router, forward the port by hand and publish it, or use a relay",
  SharedAddress: "forward the port at both routers, or use a relay"
}

/** What is to be said of what the router did; undefined where it did nothing in time. */
export const judge = (port: number, outcome: Mapping | PortMappingError | undefined): Finding => {
  const find = of("mapping", `asking the router for port ${port}, by NAT-PMP and UPnP`)
  if (outcome === undefined)
    return find("warn", "NoPortMapping", `the router did not answer within ${WAIT_MS / 1_000} s`, advice.NoAnswer)
  if (outcome instanceof PortMappingError) return find("warn", "NoPortMapping", outcome.message, advice[outcome.reason])
  const { external, gateway, local, protocol } = outcome
  const found = `the router ${gateway} lets ${external.host}, port ${external.port}, through to port ${local.port} (${protocol})`
  return find("ok", "PortMapped", found)
}

/** Has the port mapped for a moment. It must be free. */
export const check = (ground: Ground, port: number): Effect.Effect<Finding> =>
  Effect.gen(function* () {
    const { host } = ground.options
    const asked = Deferred.makeUnsafe<Mapping | PortMappingError>()
    yield* ground.connections({
      port,
      ...(host === undefined ? {} : { host }),
      portMapping: true,
      onPortMapping: (outcome) => void Deferred.doneUnsafe(asked, Effect.succeed(outcome))
    })
    return yield* Deferred.await(asked)
  }).pipe(
    Effect.scoped,
    // What it would log is the finding.
    Effect.provideService(References.MinimumLogLevel, "None"),
    // The port was free a moment ago.
    Effect.catch(() => Effect.as(Effect.void, undefined)),
    Effect.timeoutOrElse({ duration: WAIT_MS, orElse: () => Effect.as(Effect.void, undefined) }),
    Effect.map((outcome) => judge(port, outcome))
  )
