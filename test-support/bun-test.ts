/**
 * `bun:test` for Deno: the names our tests use, made of `node:test` and the npm package `expect`. On Bun this file is not
 * loaded. Use `skipTest` of `Skip.ts` to skip a test with a reason.
 */
import * as nodeTest from "node:test"
import { TEST_MS } from "./Patience.ts"

export { expect } from "expect"

type Body = () => unknown
type Options = { readonly skip?: boolean }

// Deno's node:test loses what a test file throws while it loads, after its first test. Bun reports it, and so does this.
let testsRunning = 0
addEventListener("unhandledrejection", (event) => {
  if (testsRunning > 0) return
  console.error("Error outside of any test:", (event as PromiseRejectionEvent).reason)
  process.exit(1)
})

const declare = (options: Options) => (name: string, body?: Body, timeout?: number) =>
  void nodeTest.test(name, { timeout: timeout ?? TEST_MS, ...options }, async () => {
    testsRunning++
    try {
      await body?.()
    } finally {
      testsRunning--
    }
  })

export const test = Object.assign(declare({}), {
  skip: declare({ skip: true }),
  if: (condition: boolean) => declare({ skip: !condition }),
  skipIf: (condition: boolean) => declare({ skip: condition })
})
export const it = test
export const describe = (name: string, body: Body) => void nodeTest.describe(name, () => void body())

const hook = (register: (body: () => Promise<void>) => void) => (body: Body) =>
  register(async () => {
    testsRunning++
    try {
      await body()
    } finally {
      testsRunning--
    }
  })
export const beforeAll = hook((body) => nodeTest.before(body))
export const afterAll = hook((body) => nodeTest.after(body))
export const beforeEach = hook((body) => nodeTest.beforeEach(body))
export const afterEach = hook((body) => nodeTest.afterEach(body))
