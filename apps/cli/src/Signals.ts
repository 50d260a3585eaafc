/**
 * Ctrl-C and SIGTERM: they interrupt what runs, unless a command that lives until then has asked to be told.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

type Signal = "SIGINT" | "SIGTERM" | "SIGHUP"

/** Signals that come so soon after the first, in ms, are the same wish: shells and supervisors send it to a program and to what started it. */
const TOGETHER_MS = 1_000

let claimed: (() => void) | undefined

/**
 * Takes the first signal from now on for its own, and gives what waits for it: the command then ends in its own way, with exit
 * code 0. To be claimed before the command says that it serves, since whoever reads that may stop it.
 */
export const claim: Effect.Effect<Effect.Effect<void>, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const heard = Deferred.makeUnsafe<void>()
      claimed = () => Deferred.doneUnsafe(heard, Effect.void)
      return heard
    }),
    () =>
      Effect.sync(() => {
        claimed = undefined
      })
  ),
  Deferred.await
)

/** Hears signals. `interrupt` is called for the first that nobody claimed, and the process ends at once with a later one. */
export const listen = (interrupt: (exitCode: number) => void): void => {
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }
  let heardAt: number | undefined
  const hear = (signal: Signal) => () => {
    const exitCode = 128 + numbers[signal]
    if (heardAt !== undefined) {
      if (performance.now() - heardAt >= TOGETHER_MS) process.exit(exitCode)
      return
    }
    heardAt = performance.now()
    if (claimed === undefined) interrupt(exitCode)
    else claimed()
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, hear(signal))
}
