import { afterAll, describe, expect } from "bun:test"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import { command, current } from "../../test-support/Runtime.ts"
import { skipTest } from "../../test-support/Skip.ts"
import { rivalNames, rivals } from "../rivals/Rivals.ts"

const end = fileURLToPath(new URL("RivalEnd.ts", import.meta.url))

const children: Array<ChildProcessByStdio<Writable, Readable, null>> = []
afterAll(() => {
  for (const child of children) child.stdin.end()
})

/** Starts an end of a rival in a process of its own, and gives its first line. */
const start = async (...args: ReadonlyArray<string>): Promise<string> => {
  const [program, ...first] = command(end)
  const child = spawn(program, [...first, ...args], { stdio: ["pipe", "pipe", "inherit"] })
  children.push(child)
  const line = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next()
  if (line.done === true) throw new Error(`RivalEnd.ts ${args.join(" ")} ended without a word`)
  return line.value
}

describe("rivals", () => {
  for (const name of rivalNames) {
    const { label, unavailable } = rivals[name]
    skipTest(unavailable(current))(
      `${label} answers some hundred calls with what was asked`,
      async () => {
        const address = await start(name, "answer")
        const { calls } = JSON.parse(await start(name, "ask", address)) as { readonly calls: number }
        expect(calls).toBeGreaterThanOrEqual(300)
      },
      120_000
    )
  }
})
