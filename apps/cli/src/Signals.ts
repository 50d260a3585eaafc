/**
 * Ctrl-C and SIGTERM: they interrupt what runs, unless a command that lives until then has asked to be told.
 */
import * as Effect from "effect/Effect"

type Signal = "SIGINT" | "SIGTERM" | "SIGHUP"

let claimed: (() => void) | undefined

/** Waits for the first signal, and takes it for its own: the command then ends in its own way, with exit code 0. */
export const stop: Effect.Effect<void> = Effect.callback<void>((resume) => {
  claimed = () => resume(Effect.void)
  return Effect.sync(() => {
    claimed = undefined
  })
})

/** Hears signals. `interrupt` is called for the first that nobody claimed, and the process ends at once with the next. */
export const listen = (interrupt: (exitCode: number) => void): void => {
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }
  let heard = false
  const hear = (signal: Signal) => () => {
    const exitCode = 128 + numbers[signal]
    if (heard) process.exit(exitCode)
    heard = true
    if (claimed === undefined) interrupt(exitCode)
    else claimed()
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, hear(signal))
}
