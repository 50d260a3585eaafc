/** A registry in a process of its own, over a file that a restart finds again. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { command, repository } from "../../../test-support/Runtime.ts"
import { freePort } from "../../../test-support/Throwaway.ts"

export interface RunningRegistry {
  readonly url: string
  /** Ends it at once, as `kill -9` does. */
  readonly kill: () => Promise<void>
  /** Starts it again, at the same port and over the same file. */
  readonly restart: () => Promise<void>
  /** Ends it, and forgets its file. */
  readonly close: () => Promise<void>
}

const program = join(repository, "apps/dashboard/test/programs/Registry.ts")
/** Longest wait for a registry to serve, in milliseconds. */
const START_MS = 30_000

const ended = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((resolve) => child.once("exit", () => resolve()))

const begin = (
  file: string,
  port: number,
  token: string | undefined
): Promise<{ child: ChildProcess; url: string }> => {
  const [binary, ...args] = command(program)
  const child = spawn(binary, [...args, file, String(port), ...(token === undefined ? [] : [token])], {
    stdio: ["pipe", "pipe", "pipe"]
  })
  return new Promise((resolve, reject) => {
    let said = ""
    const limit = setTimeout(() => {
      child.kill("SIGKILL")
      reject(new Error(`no registry within ${START_MS} ms; it said: ${said}`))
    }, START_MS)
    const hear = (chunk: unknown): void => {
      said += String(chunk)
      const url = /^http:\/\/\S+$/m.exec(said)?.[0]
      if (url === undefined) return
      clearTimeout(limit)
      resolve({ child, url })
    }
    child.stdout!.on("data", hear)
    child.stderr!.on("data", hear)
    child.once("exit", (code) => {
      clearTimeout(limit)
      reject(new Error(`the registry ended with ${code}; it said: ${said}`))
    })
  })
}

/** Starts one; with an operator's token it asks who one is. */
export const start = async (token?: string): Promise<RunningRegistry> => {
  const directory = mkdtempSync(join(tmpdir(), "parley-dashboard-"))
  const file = join(directory, "registry.db")
  const port = await freePort()
  let { child, url } = await begin(file, port, token)
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL")
    await ended(child)
  }
  return {
    url,
    kill,
    restart: async () => {
      ;({ child, url } = await begin(file, port, token))
    },
    close: async () => {
      await kill()
      rmSync(directory, { recursive: true, force: true })
    }
  }
}
