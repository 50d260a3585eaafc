/** What a program says first. */
import type { ChildProcess } from "node:child_process"
import { createInterface } from "node:readline"

/** Longest that it may be silent, in ms: a runtime starts within seconds, on a busy machine too. */
const SILENCE_MS = 30_000

/** The first line that a program prints. Rejects when it ends without one, or is silent for too long, and then kills it. */
export const firstLine = (child: ChildProcess, what: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(timer)
      reject(new Error(`${what} ${why}`))
    }
    const timer = setTimeout(() => {
      child.kill("SIGKILL")
      fail(`said nothing within ${SILENCE_MS} ms`)
    }, SILENCE_MS)
    child.once("error", (error) => fail(`did not start: ${error.message}`))
    child.once("close", (code, signal) => fail(`ended with ${code ?? signal} and said nothing`))
    createInterface({ input: child.stdout! }).once("line", (line) => {
      clearTimeout(timer)
      resolve(line)
    })
  })
