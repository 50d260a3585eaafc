/** An agent whose clock is off (`skewed-agent.ts MS [serve]`): prints its address and its NodeId, and leaves when its input ends. */
import { writeSync } from "node:fs"
import { Agent } from "@parley/agent"

const [off = "0", serve] = process.argv.slice(2)
const now = Date.now.bind(Date)
Date.now = () => now() + Number(off)
const agent = await Agent.start({ mdns: false, gossip: false, host: "127.0.0.1", log: "None" })
if (serve === "serve") await agent.serve("text.echo@1.0.0", (input) => input)
writeSync(1, `${agent.addresses[0]} ${agent.nodeId}\n`)
process.stdin.resume().once("end", async () => {
  await agent.close()
  process.exit(0)
})
