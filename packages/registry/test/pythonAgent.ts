/** AgentMesh agents in Python processes: with AgentMesh's own SDK, and with its wire protocol alone. */
import { execFileSync, spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { freePort } from "../../../test-support/Throwaway.ts"

/** How an agent is made. */
export type Kind = "sdk" | "wire"

const has = (python: string, modules: string, path?: string): boolean => {
  try {
    const env = path === undefined ? process.env : { ...process.env, PYTHONPATH: path }
    execFileSync(python, ["-c", `import ${modules}`], { stdio: "pipe", env })
    return true
  } catch {
    return false
  }
}
const first = (candidates: ReadonlyArray<string | undefined>, modules: string, path?: string): string | undefined =>
  candidates.find((python): python is string => python !== undefined && has(python, modules, path))

/** Where AgentMesh is checked out (github.com/arshadvani3/AgentMesh), and a Python that has what its SDK needs. */
const checkout = process.env["PARLEY_AGENTMESH_SDK"] || undefined
const own = process.env["PARLEY_PYTHON"] || undefined
const pythons = {
  sdk:
    checkout === undefined
      ? undefined
      : first([own, join(checkout, ".venv/bin/python"), "python3"], "sdk.agent", checkout),
  wire: first([own, "/usr/bin/python3", "python3"], "websockets, httpx")
}

/** Why agents of a kind cannot be started here. */
export const absent = (kind: Kind): string | undefined => {
  if (pythons[kind] !== undefined) return undefined
  if (kind === "wire") return "no python3 with websockets and httpx: install python3-websockets and python3-httpx"
  return checkout === undefined
    ? "PARLEY_AGENTMESH_SDK names no checkout of AgentMesh"
    : "no python3 (PARLEY_PYTHON) has pydantic, httpx and websockets for AgentMesh's SDK"
}

/** What an agent may be told besides its name. */
export interface Options {
  readonly registry_url: string
  readonly name: string
  readonly secret?: string
  readonly max_concurrent_tasks?: number
  readonly tags?: ReadonlyArray<string>
}

interface Said {
  readonly id?: number
  readonly event?: string
  readonly ok?: unknown
  readonly error?: string
}

/** A Python agent that runs. */
export interface PythonAgent {
  readonly id: string
  readonly port: number
  /** What it answered; fails with what its SDK raised. */
  readonly ask: (command: { readonly do: string; readonly [key: string]: unknown }) => Effect.Effect<unknown, string>
}

/** Starts an agent; it is registered and listens when this returns. Fails with what `start()` raised. */
export const start = (kind: Kind, options: Options): Effect.Effect<PythonAgent, string, Scope.Scope> =>
  Effect.gen(function* () {
    const port = yield* Effect.promise(freePort)
    const programs = join(import.meta.dirname, "programs")
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(
          pythons[kind] ?? "python3",
          ["-u", join(programs, "agentmesh_driver.py"), kind, JSON.stringify({ ...options, ws_port: port })],
          { env: { ...process.env, PYTHONPATH: kind === "sdk" ? checkout : programs }, stdio: ["pipe", "pipe", "pipe"] }
        )
      ),
      (process) => Effect.sync(() => void process.kill("SIGKILL"))
    )
    let stderr = ""
    child.stderr.on("data", (bytes: Buffer) => (stderr = (stderr + bytes.toString("utf8")).slice(-4_000)))
    child.stdin.on("error", () => undefined)
    const heard: Array<Said> = []
    const waiting = new Set<() => void>()
    let over = false
    const wake = (): void => {
      for (const each of waiting) each()
    }
    createInterface({ input: child.stdout }).on("line", (line) => {
      heard.push(JSON.parse(line) as Said)
      wake()
    })
    child.on("close", () => {
      over = true
      wake()
    })
    const wait = (is: (said: Said) => boolean): Effect.Effect<Said, string> =>
      Effect.callback<Said, string>((resume) => {
        const look = (): void => {
          const said = heard.find(is)
          if (said === undefined && !over) return
          waiting.delete(look)
          resume(said === undefined ? Effect.fail(`the agent ended: ${stderr}`) : Effect.succeed(said))
        }
        waiting.add(look)
        look()
      })
    const ready = yield* wait(({ event }) => event !== undefined)
    if (ready.event !== "ready") return yield* Effect.fail(ready.error ?? "it did not start")
    let last = 0
    return {
      id: (ready as { agent_id: string }).agent_id,
      port,
      ask: (command) =>
        Effect.gen(function* () {
          const id = (last += 1)
          child.stdin.write(`${JSON.stringify({ ...command, id })}\n`)
          const said = yield* wait((each) => each.id === id)
          return said.error === undefined ? said.ok : yield* Effect.fail(said.error)
        })
    }
  })
