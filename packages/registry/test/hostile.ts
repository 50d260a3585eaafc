/** What hostile tests share: a registry in another process, a friend who uses it meanwhile, and seeded chance. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Identity from "@parley/core/Identity"
import * as Challenge from "@parley/registry/Challenge"
import { command, repository } from "../../../test-support/Runtime.ts"

export const SECRET = "hostile-suite-agent-secret-0f3a"
export const OPERATOR = "hostile-suite-operator-token-77c1"

export interface Started {
  readonly url: string
  readonly port: number
  readonly mode: string
  readonly tokens: { readonly [name: string]: string }
  readonly folder: string
  /** All that the process has printed after its first line. */
  readonly output: () => string
  readonly stop: () => Promise<void>
}

const program = join(repository, "packages/registry/test/programs/hostile-registry.ts")
const children = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})

/** Starts a registry; with `secret`, AgentMesh's agents may come. Fails with what it printed where it does not come up. */
export const start = (
  options: { readonly secret?: boolean; readonly [option: string]: unknown } = {}
): Promise<Started> =>
  new Promise((resolve, reject) => {
    const { secret = false, ...rest } = options
    const folder = mkdtempSync(join(tmpdir(), "parley-hostile-"))
    const [runtime, ...args] = command(program)
    const child = spawn(runtime, [...args, JSON.stringify({ file: join(folder, "registry.db"), ...rest })], {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        PARLEY_OPERATOR_TOKEN: OPERATOR,
        ...(secret ? { AGENT_SECRET: SECRET } : {})
      }
    })
    children.add(child)
    let output = ""
    let isReady = false
    const ended = new Promise<void>((done) => child.once("exit", () => done()))
    const timer = setTimeout(() => child.kill("SIGKILL"), 20_000)
    void ended.then(() => {
      clearTimeout(timer)
      children.delete(child)
      rmSync(folder, { recursive: true, force: true })
      if (!isReady) reject(new Error(`The registry ended before it served:\n${output}`))
    })
    const hear = (bytes: Buffer): void => {
      output += bytes.toString()
      if (isReady) return
      const line = /^\{"url".*\}$/m.exec(output)
      if (line === null) return
      isReady = true
      clearTimeout(timer)
      output = output.replace(line[0], "")
      resolve({
        ...(JSON.parse(line[0]) as Pick<Started, "url" | "port" | "mode" | "tokens">),
        folder,
        output: () => output,
        stop: async () => {
          child.kill("SIGTERM")
          await ended
        }
      })
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
  })

/** Small, fast, seeded (mulberry32). */
export const randomOf = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** Asks, and reads all of the answer. */
export const ask = async (
  at: Pick<Started, "url">,
  method: string,
  path: string,
  options: {
    readonly token?: string | undefined
    readonly body?: unknown
    readonly headers?: Record<string, string>
  } = {}
): Promise<Answer> => {
  const { token, body, headers = {} } = options
  const response = await fetch(`${at.url}${path}`, {
    method,
    redirect: "manual",
    headers: {
      ...(body === undefined || typeof body === "string" ? {} : { "content-type": "application/json" }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
  })
  return { status: response.status, type: response.headers.get("content-type") ?? "", body: await response.text() }
}

/** The member of a JSON answer. */
export const member = (answer: Answer, name: string): unknown =>
  (JSON.parse(answer.body) as { readonly [name: string]: unknown })[name]

/** A node that has signed in. */
export const node = async (at: Started, identity = Identity.generate()) => {
  const challenge = String(
    member(await ask(at, "POST", "/auth/challenge", { body: { node: identity.nodeId } }), "challenge")
  )
  const signature = Challenge.sign(identity, at.url, challenge)
  const proof = { node: identity.nodeId, challenge, signature }
  const answer = await ask(at, "POST", "/auth/proof", { body: proof })
  if (answer.status !== 200) throw new Error(`A node could not sign in: ${answer.body}`)
  return { identity, id: identity.nodeId, proof, token: String(member(answer, "access_token")) }
}

/** An AgentMesh agent that has registered and proven the secret. */
export const agent = async (at: Started, id: string) => {
  const manifest = { agent_id: id, name: id, endpoint: "ws://localhost:9000" }
  const registered = await ask(at, "POST", "/agents/register", { body: manifest })
  if (registered.status !== 200) throw new Error(`An agent could not register: ${registered.body}`)
  const answer = await ask(at, "POST", "/auth/token", { body: { agent_id: id, secret: SECRET } })
  if (answer.status !== 200) throw new Error(`An agent could not prove the secret: ${answer.body}`)
  return { id, manifest, token: String(member(answer, "access_token")) }
}

/** A friend who reads and searches all the time; `end` gives how it went. */
export const friend = (at: Started) => {
  const state = { isOver: false, served: 0, refused: 0, waits: [] as Array<number> }
  const loop = (async () => {
    while (!state.isOver) {
      const started = performance.now()
      const isSearch = state.served % 2 === 1
      const { status } = isSearch
        ? await ask(at, "POST", "/discover", { body: { capability_name: "x" } })
        : await ask(at, "GET", "/health")
      state.waits.push(performance.now() - started)
      if (status === 200) state.served++
      else state.refused++
    }
  })()
  return {
    end: async () => {
      state.isOver = true
      await loop
      state.waits.sort((a, b) => a - b)
      return {
        served: state.served,
        refused: state.refused,
        p95: state.waits[Math.floor(state.waits.length * 0.95)] ?? Infinity
      }
    }
  }
}
