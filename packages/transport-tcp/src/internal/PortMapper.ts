/** Keeps one port of this machine mapped at its router, as long as its scope is open. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Perimeter from "@parley/core/Perimeter"
import type { Address } from "@parley/core/Transport"
import * as PortMapping from "../PortMapping.ts"
import * as Addresses from "./Addresses.ts"
import * as Gateway from "./Gateway.ts"
import * as NatPmp from "./NatPmp.ts"
import { watch } from "./NetworkWatch.ts"
import * as Upnp from "./Upnp.ts"

export interface Options {
  /** The address that the node listens on. */
  readonly host: string
  readonly port: number
  readonly perimeter: Perimeter.Rules
  /** The mapped address, whenever it is another one; none when it is gone. */
  readonly onAddresses: (addresses: ReadonlyArray<Address>) => void
  /** What came of it, each time that the router was asked. */
  readonly onMapping: (outcome: PortMapping.Mapping | PortMapping.PortMappingError) => void
}

interface Held extends Upnp.Mapped {
  readonly until: number
}

const told = (cause: unknown): string =>
  cause instanceof Error ? (cause.name === "TimeoutError" ? "no answer" : cause.message) : String(cause)

/** Asks the router, one way and then the other. */
const mapped = async (
  { host, perimeter, port }: Options,
  before: PortMapping.Mapping | undefined,
  signal: AbortSignal
): Promise<Upnp.Mapped> => {
  const gateway = Gateway.find(host)
  if (gateway === undefined || !perimeter.allows(gateway.host)) {
    const detail = `listening on ${host}, this machine has no private IPv4 address with a router behind it`
    throw new PortMapping.PortMappingError("NoRouter", `no port is mapped: ${detail}`)
  }
  const local = { host: gateway.local, port }
  const failures: Array<string> = []
  const tries = [
    async (): Promise<Upnp.Mapped> => {
      const mapping = await NatPmp.map(gateway.host, local, signal)
      return { mapping, unmap: (stop) => NatPmp.unmap(gateway.host, port, stop) }
    },
    () => Upnp.map(gateway.host, local, before?.external.port ?? port, signal)
  ]
  // What was answered last time is asked first.
  for (const attempt of before?.protocol === "UPnP" ? tries.toReversed() : tries) {
    const name = attempt === tries[0] ? "NAT-PMP" : "UPnP"
    try {
      const made = await attempt()
      const { external } = made.mapping
      const isPort = Number.isInteger(external.port) && external.port > 0 && external.port <= 65_535
      if (isPort && PortMapping.isPublic(external.host) && perimeter.allows(external.host)) return made
      await made.unmap(AbortSignal.any([signal, AbortSignal.timeout(PortMapping.CLOSE_MS)])).catch(() => undefined)
      const text = String(external.host).slice(0, 64)
      throw new PortMapping.PortMappingError(
        "SharedAddress",
        `no port is mapped: the router ${gateway.host} says that its own outer address is ${text}, which others cannot reach: there is another router in front of it. Forward the port at both, or use a relay`
      )
    } catch (cause) {
      signal.throwIfAborted()
      if (cause instanceof PortMapping.PortMappingError) throw cause
      failures.push(`${name}: ${told(cause).slice(0, 200)}`)
    }
  }
  throw new PortMapping.PortMappingError(
    "NoAnswer",
    `no port is mapped: the router ${gateway.host} did not map port ${port} (${failures.join("; ")}). Switch on NAT-PMP or UPnP there, forward the port by hand and give it as \`advertise\`, or use a relay`
  )
}

/** Takes it back, as far as the router answers in time. */
const unmapped = (held: Upnp.Mapped): Effect.Effect<void> =>
  Effect.promise(() => held.unmap(AbortSignal.timeout(PortMapping.CLOSE_MS)).catch(() => undefined)).pipe(
    Effect.timeoutOption(PortMapping.CLOSE_MS),
    Effect.asVoid
  )

/** Begins, and goes on until the scope closes. */
export const keep = (options: Options): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    if (!options.perimeter.allows(Upnp.GROUP)) {
      const why = `this node keeps to ${options.perimeter.name}, and a mapped port would let others in`
      const error = new PortMapping.PortMappingError("ClosedPerimeter", `no port is mapped: ${why}`)
      options.onMapping(error)
      return yield* Effect.logWarning(error.message)
    }
    let held: Held | undefined
    let failure = ""
    let wake = (): void => {}
    let moved = false
    const settle = (next: Held | undefined): void => {
      const before = held?.mapping.external
      held = next
      const now = next?.mapping.external
      if (before?.host === now?.host && before?.port === now?.port) return
      options.onAddresses(now === undefined ? [] : [Addresses.format(now.host, now.port)])
    }
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        const last = held
        settle(undefined)
        return last === undefined ? Effect.void : unmapped(last)
      })
    )
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        watch.listen(() => {
          moved = true
          wake()
        })
      ),
      (stop) => Effect.sync(stop)
    )
    const round = Effect.gen(function* () {
      const hadMoved = moved
      moved = false
      const made = yield* Effect.tryPromise({
        try: (signal) => mapped(options, held?.mapping, signal),
        catch: (cause) =>
          cause instanceof PortMapping.PortMappingError
            ? cause
            : new PortMapping.PortMappingError("NoAnswer", `no port is mapped: ${told(cause)}`)
      }).pipe(
        Effect.catch((error) => {
          options.onMapping(error)
          const { message } = error
          // Once aloud, and again when it is something else.
          const log = message === failure ? Effect.logDebug(message) : Effect.logWarning(message)
          failure = message
          return Effect.as(log, undefined)
        })
      )
      const now = performance.now()
      if (made !== undefined) {
        options.onMapping(made.mapping)
        const { external, gateway, leaseMs, protocol } = made.mapping
        const isNew = held === undefined || held.mapping.external.port !== external.port
        failure = ""
        settle({ ...made, until: now + leaseMs })
        if (isNew)
          yield* Effect.logInfo(
            `the router ${gateway} lets port ${external.port} of ${external.host} through to port ${options.port} (${protocol})`
          )
        return leaseMs / 2
      }
      if (held !== undefined && (held.until <= now || hadMoved)) settle(undefined)
      return held === undefined ? PortMapping.RETRY_MS : Math.min(PortMapping.RENEW_AGAIN_MS, held.until - now)
    })
    const pause = (ms: number) =>
      Effect.callback<void>((resume) => {
        if (moved) return resume(Effect.void)
        const timer = setTimeout(() => wake(), ms)
        timer.unref()
        wake = () => {
          clearTimeout(timer)
          wake = () => {}
          resume(Effect.void)
        }
        return Effect.sync(() => clearTimeout(timer))
      })
    yield* Effect.forkScoped(Effect.forever(Effect.flatMap(round, pause)))
  })
