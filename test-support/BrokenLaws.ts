/** Laws that are seen to fail: a suite run apart from the test that asks, over something that breaks it. */
import { expect } from "bun:test"
import type { TestApi } from "@parley/core/testing/TestApi"

/** Runs a suite, and gives the names of the laws that failed. */
export const brokenLaws = async (suite: (api: TestApi) => void): Promise<Array<string>> => {
  const laws: Array<{ readonly name: string; readonly body: () => void | Promise<void> }> = []
  suite({ describe: (_, body) => body(), test: (name, body) => void laws.push({ name, body }), expect })
  const failed: Array<string> = []
  for (const { body, name } of laws) {
    try {
      await body()
    } catch {
      failed.push(name)
    }
  }
  return failed
}
