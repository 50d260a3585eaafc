import { afterAll, describe, expect, test } from "bun:test"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { command, type Runtime } from "../../test-support/Runtime.ts"

interface Started {
  readonly address: string
  readonly node: string
}

interface Answered {
  readonly answer: { readonly text: string }
  readonly last: { readonly n: number }
}

/** An agent on a runtime, in a process of its own. */
class Process {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #lines: AsyncIterator<string>

  constructor(runtime: Runtime) {
    const [program, ...args] = command(fileURLToPath(new URL("agent.ts", import.meta.url)), runtime)
    this.#child = spawn(program, [...args, runtime], { stdio: ["pipe", "pipe", "inherit"] })
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }
  async read<A>(): Promise<A> {
    const line = await this.#lines.next()
    if (line.done === true) throw new Error("the agent ended before it answered")
    return JSON.parse(line.value) as A
  }
  call(address: string): Promise<Answered> {
    this.#child.stdin.write(`${address}\n`)
    return this.read()
  }
  async end(): Promise<number | null> {
    const exit = once(this.#child, "exit")
    this.#child.stdin.end()
    await exit
    return this.#child.exitCode
  }
}

const pairs: ReadonlyArray<readonly [Runtime, Runtime]> = [
  ["bun", "deno"],
  ["deno", "bun"],
  ["deno", "deno"],
  ["bun", "bun"]
]

describe("agents on different runtimes", () => {
  const running: Array<Process> = []
  afterAll(() => Promise.all(running.map((each) => each.end())))

  for (const [one, other] of pairs) {
    test(`${one} and ${other} call each other and stream to each other`, async () => {
      const a = new Process(one)
      const b = new Process(other)
      running.push(a, b)
      const [atA, atB] = [await a.read<Started>(), await b.read<Started>()]
      expect(atA.node).not.toBe(atB.node)
      const expected: Answered = { answer: { text: "🙂 eßartS eén" }, last: { n: 5_000 } }
      expect(await a.call(atB.address)).toEqual(expected)
      expect(await b.call(atA.address)).toEqual(expected)
      expect(await Promise.all([a.end(), b.end()])).toEqual([0, 0])
      running.length = 0
    }, 30_000)
  }
})
