/**
 * How long a test may take that says nothing else, and each of its hooks, in ms: twice what a wait of `Until.ts` takes to give up, so that
 * the wait says what did not come before the test is cut off. Bun loads this file before each test file (`bunfig.toml`), Deno's
 * `bun-test.ts` reads the constant.
 */
export const TEST_MS = 30_000

if (process.versions.bun !== undefined) (await import("bun:test")).setDefaultTimeout(TEST_MS)
