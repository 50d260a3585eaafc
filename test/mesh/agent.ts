/**
 * An agent in a process of its own, for tests. It prints its address and key as a line of JSON, serves two capabilities, and
 * for every address that it reads on a line calls whoever is there, and prints the answer. It ends with its input.
 */
import { createInterface } from "node:readline"
import { Agent } from "@parley/agent/Agent"

const agent = await Agent.start({ name: process.argv[2] ?? "agent", host: "127.0.0.1", mdns: false })
await agent.serve("text.reverse@1.0.0", async ({ text }) => ({ text: [...text].toReversed().join("") }))
await agent.serve("count.to@1.0.0", async function* ({ to }) {
  for (let n = 1; n <= to; n++) yield { n }
})
console.log(JSON.stringify({ address: agent.addresses[0], node: agent.nodeId }))

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await agent.call("text.reverse@^1", { text: "née Straße 🙂" }, { to: line })
  let last: unknown
  for await (const chunk of agent.stream("count.to@^1", { to: 5_000 }, { to: line })) last = chunk
  console.log(JSON.stringify({ answer, last }))
}
await agent.close()
