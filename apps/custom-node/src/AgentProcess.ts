/**
 * An agent in a process of its own: this program once more, with `--serve`. It lives until its standard input closes, so
 * it does not outlive whoever started it.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Schema from "effect/Schema"
import * as Node from "@parley/core/Node"
import * as CustomNode from "./CustomNode.ts"
import * as Position from "./Position.ts"

/** How an agent is told what it is; it travels as one argument of JSON. */
export const Role = Schema.Struct({
  name: Schema.String,
  folder: Schema.String,
  site: Schema.String,
  usdPerCall: Schema.Finite,
  method: Schema.Literals(["linear", "iterative", "search", "swapped"] satisfies Array<Position.Method>)
})
/** What an agent is. */
export type Role = typeof Role.Type

/** How long an agent may take to start or to end, in milliseconds. */
const PATIENCE_MS = 15_000

/** Serves until standard input closes. */
export const serve = ({ folder, method, name, site, usdPerCall }: Role): Effect.Effect<void, unknown> =>
  Effect.gen(function* () {
    const node = yield* Node.Node
    yield* node.serve(Position.make({ site, usdPerCall }), (ranges) => Effect.succeed(Position.methods[method](ranges)))
    process.stdout.write(`${JSON.stringify({ ready: node.nodeId })}\n`)
    yield* Effect.promise(() => once(process.stdin.resume(), "end"))
  }).pipe(Effect.scoped, Effect.provide(CustomNode.layer({ name, folder, sites: { here: site, allowed: [site] } })))

/** An agent did not come up. */
export class AgentError extends Schema.TaggedError<AgentError>()("AgentError", {
  agent: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `agent ${this.agent} ${this.detail}`
  }
}

const ready = (child: ChildProcess, agent: string): Effect.Effect<string, AgentError> =>
  Effect.callback<string, AgentError>((resume) => {
    const fail = (detail: string) => resume(Effect.fail(new AgentError({ agent, detail })))
    child.once("exit", (code) => fail(`ended (exit code ${code}) before it served`))
    child.once("error", (error) => fail(`did not start: ${error.message}`))
    createInterface({ input: child.stdout! }).once("line", (line) => {
      const { ready } = JSON.parse(line) as { readonly ready: string }
      resume(Effect.succeed(ready))
    })
  }).pipe(
    Effect.timeoutOrElse({
      duration: PATIENCE_MS,
      orElse: () => Effect.fail(new AgentError({ agent, detail: `did not serve within ${PATIENCE_MS} ms` }))
    })
  )

/** Starts an agent on the runtime that runs this, and gives its NodeId when it serves. The scope ends it. */
export const start = (role: Role): Effect.Effect<string, AgentError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const main = new URL("main.ts", import.meta.url).pathname
      const run = "Deno" in globalThis ? ["run", "-A", "--quiet", main] : [main]
      return spawn(process.execPath, [...run, "--serve", JSON.stringify(role)], { stdio: ["pipe", "pipe", "inherit"] })
    }),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const ended = once(child, "exit")
        const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS)
        child.stdin.end()
        await ended
        clearTimeout(timer)
      })
  ).pipe(Effect.flatMap((child) => ready(child, role.name)))
