/**
 * An agent in a process of its own (`leaving-agent.ts BYTES [RELAY]`: length of its answers, and where else it is reached): prints its address, then the number of each task whose handler ends. With its first byte of input it
 * leaves, and exits as soon as it has: what it has answered must be with its caller by then.
 */
import { writeSync } from "node:fs"
import { Agent } from "@parley/agent"

const [bytes = "0", via] = process.argv.slice(2)
const agent = await Agent.start({
  mdns: false,
  host: "127.0.0.1",
  log: "None",
  ...(via === undefined ? {} : { listen: false, relays: [via] })
})
const text = "x".repeat(Number(bytes))
await agent.serve("text.long@1.0.0", async ({ n }: { readonly n: number }) => {
  if (n % 4 === 0) await new Promise((resolve) => setTimeout(resolve, n % 8))
  writeSync(1, `${n}\n`)
  return { n, text }
})
// A slot at a relay takes a moment.
while (agent.addresses.length === 0) await new Promise((resolve) => setTimeout(resolve, 2))
writeSync(1, `${agent.addresses[0]}\n`)
process.stdin.once("data", async () => {
  await agent.close()
  process.exit(0)
})
