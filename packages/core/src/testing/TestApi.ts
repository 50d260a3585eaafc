/** What the suites of laws need of a test runner; `bun:test`, Jest, Vitest, and `node:test` with `expect` have it. */
export interface TestApi {
  readonly describe: (name: string, body: () => void) => void
  readonly test: (name: string, body: () => void | Promise<void>, timeoutMs?: number) => void
  readonly expect: (actual: unknown) => { toBe(expected: unknown): void; toEqual(expected: unknown): void }
}
