/**
 * Skipping a test with a reason, the same way on Bun and on Deno. The reason becomes part of the test's name, so that every
 * reporter prints it and `npm test` can list it.
 *
 * ```ts
 * const absent = existsSync(vectors) ? undefined : `no test vectors at ${vectors}`
 * skipTest(absent)("agrees with the Noise vectors", () => { … })
 * ```
 */
import { test } from "bun:test"

/** `test` when there is no reason to skip; else a `test` that only announces itself and the reason. */
export const skipTest = (reason: string | undefined): ((name: string, body: () => unknown, timeout?: number) => void) =>
  reason === undefined
    ? (name, body, timeout) => test(name, async () => void (await body()), timeout)
    : (name, body) => test.skip(`${name} [skipped: ${reason}]`, async () => void (await body()))
