/** `bun:test` for Deno: the few names our tests use, made of `node:test` and the npm package `expect`. */
import * as nodeTest from "node:test"

export { expect } from "expect"

type Body = () => unknown
type Options = { readonly skip?: boolean | string; readonly timeout?: number }

/** As in Bun: a test that takes longer than this fails. */
const defaultTimeoutMillis = 5_000

const declare = (options: Options) => (name: string, body?: Body, timeout?: number) =>
  void nodeTest.test(name, { timeout: timeout ?? defaultTimeoutMillis, ...options }, async () => {
    await body?.()
  })

export const test = Object.assign(declare({}), {
  skip: declare({ skip: true }),
  if: (condition: boolean) => declare(condition ? {} : { skip: true }),
  skipIf: (condition: boolean) => declare(condition ? { skip: true } : {})
})
export const it = test
export const describe = (name: string, body: Body) => void nodeTest.describe(name, () => void body())
type Hook = (body: Body) => void
const hook = (register: (body: () => Promise<void>) => void): Hook => (body) => register(async () => void (await body()))
export const beforeAll = hook((body) => nodeTest.before(body))
export const afterAll = hook((body) => nodeTest.after(body))
export const beforeEach = hook((body) => nodeTest.beforeEach(body))
export const afterEach = hook((body) => nodeTest.afterEach(body))
