/** Sends seeded hostile packets to everybody's multicast DNS: `Noise.ts SEED COUNT`. */
import { createSocket } from "node:dgram"
import * as Identity from "@parley/core/Identity"
import { fromSeed } from "@parley/core/testing/Seeded"
import * as dnsPacket from "dns-packet"
import * as DnsSd from "../../src/internal/DnsSd.ts"
import { hostile } from "../support/Hostile.ts"

const [seed, count] = process.argv.slice(2).map(Number)
const random = fromSeed(seed ?? 0)
const node = Identity.generate().nodeId
const answers = DnsSd.answersOf(node, { port: 7878, ips: ["192.0.2.9"] }, { ttl: 120, flush: true })
const examples = [
  dnsPacket.encode({ type: "response", ...answers }),
  dnsPacket.encode({ type: "query", questions: [{ type: "PTR", name: DnsSd.SERVICE }] })
]

const socket = createSocket({ type: "udp4", reuseAddr: true })
await new Promise<void>((resolve) => socket.bind(5353, "0.0.0.0", resolve))
socket.setMulticastInterface(process.argv[4] ?? "127.0.0.1")
let sent = 0
for (let i = 0; i < (count ?? 0); i++) {
  const bytes = hostile(random, examples)
  await new Promise<void>((resolve) =>
    socket.send(bytes, 5353, "224.0.0.251", (error) => {
      if (error === null) sent++
      resolve()
    })
  )
}
socket.close()
process.stdout.write(`${JSON.stringify({ event: "sent", sent })}\n`)
