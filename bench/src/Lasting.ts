import type * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"

const scope = Scope.makeUnsafe()

/** Gives an effect a scope that stays open as long as the process. */
export const lasting = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Scope.provide(effect, scope)
