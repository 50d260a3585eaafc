/**
 * Reads the text after a strategy's name. A wrong one is a `StrategyError` (`BadArgument`) that says what would be right.
 */
import * as Effect from "effect/Effect"
import { type Factory, StrategyError } from "@parley/core/Strategy"

const bad = (strategy: string, detail: string) => new StrategyError({ code: "BadArgument", strategy, detail })

/** The factory of a strategy that takes no argument. */
export const none =
  <A extends { readonly name: string }>(strategy: A): Factory<A> =>
  (argument) =>
    argument === undefined
      ? Effect.succeed(strategy)
      : Effect.fail(bad(strategy.name, `it takes no argument, and was given ${JSON.stringify(argument.slice(0, 64))}`))

/**
 * The factory of a strategy that takes an argument. `make` may throw a `RangeError`, whose message tells the user what
 * the argument must be.
 */
export const some =
  <A>(name: string, make: (argument: string | undefined) => A): Factory<A> =>
  (argument) =>
    Effect.try({
      try: () => make(argument),
      catch: (cause) => bad(name, cause instanceof Error ? cause.message : String(cause))
    })

const decimal = /^[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?$/

/** A number in plain or scientific notation; a `RangeError` says what was expected. */
export const number = (text: string, expected: string): number => {
  if (!decimal.test(text))
    throw new RangeError(`it takes ${expected}, and was given ${JSON.stringify(text.slice(0, 64))}`)
  return Number(text)
}

/** Throws a `RangeError` unless it is a whole number of at least 1. */
export const checkCount = (count: number): number => {
  if (!Number.isSafeInteger(count) || count < 1) throw new RangeError(`it takes a whole number from 1, not ${count}`)
  return count
}
