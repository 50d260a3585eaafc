/**
 * What `Start.ts` starts: `StartEnd.ts serve` is an agent that says when it took its first call, and `StartEnd.ts ask` stays, and
 * calls those.
 */
import { obey } from "./Obey.ts"

/** Milliseconds since the process began. */
export interface Serving {
  readonly address: string
  /** The agent's modules were there, and its construction began. */
  readonly loadedAt: number
  /** It could be reached, and could be found with what it serves. */
  readonly servingAt: number
}

/** What the asking end is told: call the agent at this address. Answered by null. */
export interface StartOrder {
  readonly _tag: "Call"
  readonly address: string
}

const CAPABILITY = "bench.echo@1.0.0"
// Both ends are on loopback, and nothing is to be heard beyond it.
const options = { host: "127.0.0.1", mdns: false }

const { Agent } = await import("@parley/agent/Agent")
const loadedAt = performance.now()

if (process.argv[2] === "serve") {
  const agent = await Agent.start(options)
  await agent.serve(CAPABILITY, async (input: unknown) => {
    process.stdout.write(`${performance.now()}\n`)
    return input
  })
  const serving: Serving = { address: agent.addresses[0]!, loadedAt, servingAt: performance.now() }
  process.stdout.write(`${JSON.stringify(serving)}\n`)
  process.stdin.on("end", () => process.exit(0))
  process.stdin.resume()
} else {
  const agent = await Agent.start(options)
  await obey<StartOrder>({}, async ({ address }) => {
    await agent.call(CAPABILITY, { text: "hello" }, { to: address })
    return null
  })
}
