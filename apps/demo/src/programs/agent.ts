/**
 * One agent of the demo as a process, over `@parley/agent`. Its argument is a `Settings` as JSON. It says who it is on stdout,
 * and ends when stdin closes.
 *
 * Whoever serves texts is also a customer: told `place NODEID` on stdin, it gives that agent a table to describe, and says
 * `accepted` when the agent has a place for it.
 */
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import * as Schema from "effect/Schema"
import { type Agent, start } from "@parley/agent/Agent"
import * as Capability from "@parley/core/Capability"
import type { NodeId } from "@parley/core/NodeId"
import { Describe, make as makeDescribe, words } from "../Describe.ts"
import * as OnePass from "../methods/OnePass.ts"
import * as Sql from "../methods/Sql.ts"
import * as TwoPasses from "../methods/TwoPasses.ts"
import type { Way } from "../Cast.ts"
import { doctored, read } from "../Table.ts"
import { clean } from "./Leaving.ts"

/** How the agent is. */
export interface Settings {
  readonly name: string
  readonly way: Exclude<Way, { readonly _tag: "Exec" }>
  readonly tracker: string
  /** URL of a registry to join. */
  readonly registry?: string
  readonly listen: boolean
  /** Milliseconds it waits before it works. */
  readonly delayMs: number
  readonly doctored: boolean
  /** One task at a time, and none that waits. */
  readonly single: boolean
}

const methods = { "one-pass": OnePass.describe, "two-passes": TwoPasses.describe, sql: Sql.describe }

const Summarize = Capability.make("text.summarize", {
  version: "1.2.0",
  description: "Shortens a text to its first sentences",
  tags: ["text"],
  input: Schema.Struct({ text: Schema.String }),
  output: Schema.Struct({ summary: Schema.String })
})

/** The next major version of csv.describe takes numbers instead of a text: who asks for ^1 must not get it. */
const DescribeRows = Capability.make("csv.describe", {
  version: "2.0.0",
  description: words,
  tags: ["csv", "statistics"],
  input: Schema.Struct({ rows: Schema.Array(Schema.Array(Schema.Finite)) }),
  output: Schema.Struct({ means: Schema.Array(Schema.Finite) })
})

const serve = async (agent: Agent, settings: Settings): Promise<void> => {
  const { way } = settings
  if (way._tag === "Module") {
    const describe = methods[way.method]
    const capability = makeDescribe({
      ...(settings.delayMs > 0 ? { latencyMs: settings.delayMs } : {}),
      ...(settings.single ? { concurrency: 1 } : {})
    })
    await agent.serve(
      capability,
      async ({ csv }, { signal }) => {
        await sleep(settings.delayMs, undefined, { signal })
        const table = read(csv)
        return describe(settings.doctored ? doctored(table) : table)
      },
      settings.single ? { concurrency: 1, queue: 0 } : {}
    )
  } else if (way.serves === "text.summarize") {
    await agent.serve(Summarize, ({ text }) => ({ summary: /^(?:[^.!?]*[.!?]+\s*){1,2}/.exec(text)?.[0] ?? text }))
  } else {
    await agent.serve(DescribeRows, ({ rows }) => ({
      means: (rows[0] ?? []).map((_, at) => rows.reduce((sum, row) => sum + (row[at] ?? 0), 0) / rows.length)
    }))
  }
}

const place = async (agent: Agent, at: NodeId): Promise<void> => {
  try {
    await agent.call(
      Describe,
      { csv: "quarter,orders\n1,120\n2,135\n3,128\n4,150\n" },
      {
        to: at,
        onEvent: (event) => {
          if (event._tag === "Accepted") process.stdout.write("accepted\n")
        }
      }
    )
    process.stdout.write("described\n")
  } catch (error) {
    process.stdout.write(`failed ${error instanceof Error ? error.message : String(error)}\n`)
  }
}

clean()
const settings: Settings = JSON.parse(process.argv[2] ?? "{}")
const lines = createInterface({ input: process.stdin })
let closing = false
const closed = new Promise<void>((resolve) => lines.once("close", resolve)).then(() => {
  closing = true
})

const agent = await start({
  name: settings.name,
  host: "127.0.0.1",
  listen: settings.listen,
  mdns: false,
  trackers: [settings.tracker],
  relays: settings.listen ? [] : [settings.tracker],
  ...(settings.registry === undefined ? {} : { registry: settings.registry }),
  log: "Error"
})
await serve(agent, settings)
lines.on("line", (line) => {
  const [word, node] = line.split(" ")
  if (word === "place") void place(agent, node as NodeId)
})
if (!closing) process.stdout.write(`${JSON.stringify({ node: agent.nodeId, addresses: agent.addresses })}\n`)
await closed
// It ends also when closing does not come to its end.
setTimeout(() => process.exit(1), 1_500).unref()
await agent.close()
process.exit(0)
