/** One node in a process of its own, to be killed: its argument is whom to meet. Prints its NodeId once it has neighbours. */
import { startMember } from "./Member.ts"

const [contact] = process.argv.slice(2)
const member = await startMember("mortal")
await member.meet(contact!)
const timer = setInterval(() => {
  if (member.gossip.neighbors().length < 2) return
  clearInterval(timer)
  process.stdout.write(`${member.nodeId}\n`)
}, 50)
