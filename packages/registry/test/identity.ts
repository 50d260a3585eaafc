/** What tests of identity share: a store that holds secrets alone, a clock that is set by hand, an `Auth` over both. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Admission from "@parley/registry/Admission"
import * as Authentication from "@parley/registry/Authentication"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import type { Limits } from "@parley/registry/Limits"
import { Auth } from "@parley/registry/Principal"
import { Store, StoreError } from "@parley/registry/Store"

export const SECRET = "a secret that all agents of this test share"
export const OPERATOR = "the operator's token, which is long enough"
export const AUDIENCE = "http://127.0.0.1:8000"

/** A clock that stands still until it is moved. */
export interface HandClock extends Clock.Clock {
  now: number
}
export const handClock = (start = 1_790_000_000_000): HandClock => {
  const nanos = () => BigInt(clock.now) * 1_000_000n
  const clock: HandClock = {
    now: start,
    currentTimeMillisUnsafe: () => clock.now,
    currentTimeMillis: Effect.sync(() => clock.now),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: () => Effect.never
  }
  return clock
}

/** Only what identity asks of a store: values that instances share. `isDown` says when it does not answer. */
export const secretStore = (values: Map<string, string> = new Map(), isDown = () => false) => {
  const answer = <A>(operation: string, read: () => A) =>
    Effect.suspend(() =>
      isDown()
        ? Effect.fail(new StoreError({ code: "Unavailable", operation, detail: "it is down" }))
        : Effect.sync(read)
    )
  return Layer.mock(Store, {
    kind: "memory",
    getSecret: (name) => answer("getSecret", () => values.get(name)),
    putSecret: (name, value, replace = false) =>
      answer("putSecret", () => {
        if (replace || !values.has(name)) values.set(name, value)
        return values.get(name)!
      })
  })
}

export interface World {
  readonly values?: Map<string, string>
  readonly isDown?: () => boolean
  readonly clock?: HandClock
  readonly limits?: Layer.Layer<Limits>
  readonly agents?: Set<string>
  readonly options?: Partial<Authentication.Options>
}

/** One instance. */
export const instance = (world: World = {}) => {
  const clock = world.clock ?? handClock()
  const agents = world.agents ?? new Set<string>()
  const services = Layer.mergeAll(secretStore(world.values, world.isDown), world.limits ?? LimitsMemory.layer)
  const layer = Authentication.layer({
    audiences: () => [AUDIENCE],
    hasAgent: (agent) => agents.has(agent),
    operatorToken: Redacted.make(OPERATOR),
    ...world.options
  }).pipe(Layer.provideMerge(Admission.layer), Layer.provideMerge(services))
  const withClock = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, Clock.Clock, clock)
  const context = Effect.runSync(withClock(Effect.scoped(Layer.build(layer))))
  const run = <A, E>(effect: Effect.Effect<A, E, Auth | Admission.Admission | Limits | Store>): Promise<A> =>
    Effect.runPromise(withClock(Effect.provideContext(effect, context)))
  /** The code of the failure, or `none`. */
  const code = <A, E extends { readonly code?: string }>(
    effect: Effect.Effect<A, E, Auth | Admission.Admission | Limits | Store>
  ): Promise<string> =>
    run(
      Effect.match(effect, {
        onFailure: (failure) => failure.code ?? "?",
        onSuccess: () => "none"
      })
    )
  return {
    auth: Context.get(context, Auth),
    admission: Context.get(context, Admission.Admission),
    agents,
    clock,
    run,
    code
  }
}
