/**
 * A node in a process of its own: `member.ts CONTACT TOPIC`. Prints its NodeId and address, then a line for each message that it hears on
 * the topic; what comes on standard input is published, a line a message.
 */
import { createInterface } from "node:readline"
import { Agent } from "@parley/agent"

const [contact, topic] = process.argv.slice(2)
const agent = await Agent.start({
  mdns: false,
  host: "127.0.0.1",
  log: "None",
  ...(contact === undefined || contact === "" ? {} : { peers: [contact] })
})
await agent.serve("member.echo@1.0.0", (input) => input)
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`)
const news = agent.subscribe(topic!)
say({ node: agent.nodeId, address: agent.addresses[0] })
createInterface({ input: process.stdin }).on("line", (line) => void agent.publish(topic!, line))
for await (const { data, from } of news) say({ from, data })
