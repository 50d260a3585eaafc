/** What the registry of the bench knows: agents of five capabilities each, and what is asked about them. */
import { createHash, randomBytes, randomUUID } from "node:crypto"
import * as Identity from "@parley/core/Identity"
import * as Receipt from "@parley/core/Receipt"
import type { Manifest } from "@parley/registry/Model"

/** Capabilities to an agent. */
export const EACH = 5

const subjects = (
  "csv table text weather image sound market news legal code chart graph patent invoice recipe genome satellite traffic " +
  "contract lecture melody portrait budget protein glacier harbour novel engine planet garden"
).split(" ")
const verbs = (
  "summarize translate describe extract compare merge clean parse find route plan price forecast label rank group check " +
  "draw record repair"
).split(" ")

const pick = (all: ReadonlyArray<string>, at: number): string => all[at % all.length]!

/** The capabilities' names: 600, so that of 10,000 agents about eighty have each. */
const nameOf = (at: number): string => `${pick(subjects, at)}.${pick(verbs, Math.floor(at / subjects.length))}`
const NAMES = subjects.length * verbs.length

/** Agents run the same software: what they say of a capability comes in so many versions. */
const VERSIONS = 100

/** Where an agent's capability stands among the names. */
const placeOf = (agent: number, k: number): number => (agent * 7 + k * 131 + (agent % 13) * k * k) % NAMES

/** So many agents have keys, and sign receipts; so many callers ask them. */
const EXECUTORS = 64
const CALLERS = 16

const identitiesOf = (what: string, count: number): ReadonlyArray<Identity.Identity["Service"]> =>
  Array.from({ length: count }, (_, i) => Identity.fromSeed(createHash("sha256").update(`${what} ${i}`).digest()))
const executors = identitiesOf("executor", EXECUTORS)
const callers = identitiesOf("caller", CALLERS)

const idOf = (agent: number): string => executors[agent]?.nodeId ?? `agent-${agent}`

/** The nth agent. */
export const manifestOf = (agent: number): Manifest => ({
  agent_id: idOf(agent),
  name: `Agent ${agent}`,
  version: "0.1.0",
  description: "An agent of the bench",
  capabilities: Array.from({ length: EACH }, (_, k) => {
    const at = placeOf(agent, k)
    const version = (agent * 31 + k) % VERSIONS
    return {
      name: nameOf(at),
      description:
        `Can ${pick(verbs, at + version)} a ${pick(subjects, at)} and ${pick(verbs, at + version + 3)} its ` +
        `${pick(subjects, version)}, in version ${version}`,
      input_schema: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
      output_schema: { type: "object", properties: { answer: { type: "string" } } },
      avg_latency_ms: 50 + ((agent * 17 + k) % 400),
      cost_per_call_usd: ((agent * 3 + k) % 40) / 1_000
    }
  }),
  mcp_servers: [],
  max_concurrent_tasks: 3,
  endpoint: `ws://127.0.0.1:${9_000 + (agent % 50_000)}`,
  tags: [pick(["eu", "us", "asia"], agent)]
})

const someHash = createHash("sha256").update("a text").digest("hex")

/** What is asked of the registry. */
export type What = "exact" | "words" | "attested" | "report" | "update"

/** The nth request: path and body. Each discovery asks for something else, so that nothing is kept of the one before. */
export const requestOf = (what: What, n: number, agents: number): { readonly path: string; readonly body: string } => {
  switch (what) {
    case "exact":
      return {
        path: "/discover",
        body: JSON.stringify({ capability_name: nameOf(n * 17), max_cost_usd: 0.05 + (n % 1_000) / 100_000 })
      }
    case "words": {
      const words = `${pick(verbs, n)} my ${pick(subjects, n * 3 + 1)} and ${pick(verbs, n * 7 + 5)} request ${n}`
      return { path: "/discover", body: JSON.stringify({ capability_description: words }) }
    }
    case "attested": {
      const agent = n % EXECUTORS
      const capability = nameOf(placeOf(agent, n % EACH))
      const task = randomBytes(16).toString("hex")
      const finishedAt = Date.now()
      const receipt = Receipt.make(executors[agent]!, {
        task,
        capability: `${capability}@1.0.0`,
        caller: callers[n % CALLERS]!.nodeId,
        inputHash: someHash,
        outputHash: someHash,
        startedAt: finishedAt - 40 - (n % 200),
        finishedAt
      })
      return {
        path: "/trust/reports",
        body: JSON.stringify({
          agent_id: idOf(agent),
          capability,
          task_id: task,
          success: n % 9 !== 0,
          quality: 0.8,
          latency_ms: 40 + (n % 200),
          receipt
        })
      }
    }
    case "report":
      return {
        path: "/trust/reports",
        body: JSON.stringify({
          agent_id: idOf((n * 31) % agents),
          capability: nameOf(placeOf((n * 31) % agents, n % EACH)),
          task_id: randomUUID(),
          success: n % 9 !== 0,
          quality: 0.8,
          latency_ms: 40 + (n % 200)
        })
      }
    case "update":
      return { path: `/trust/update?agent_id=${idOf((n * 31) % agents)}&success=${n % 9 !== 0}&quality=0.8`, body: "" }
  }
}
