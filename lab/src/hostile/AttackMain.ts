/**
 * Attackers, in a process of their own: `AttackMain.ts NODE HOST PORT CROWD SEED NAME...`. A first
 * line says that all have begun. They end with their input, and then say what they did.
 */
import { fromSeed } from "@parley/core/testing/Seeded"
import * as NodeId from "@parley/core/NodeId"
import { type Counts, rest } from "./Attack.ts"
import { attacks } from "./Attacks.ts"

const [node = "", host = "", port = "", crowd = "", seed = "", ...names] = process.argv.slice(2)
const victim = { node: NodeId.parse(node)!, host, port: Number(port), crowd: Number(crowd) }
const over = new AbortController()
process.stdin.on("end", () => over.abort())
process.stdin.resume()

const done: { [name: string]: Counts } = Object.fromEntries(names.map((name) => [name, {}]))
const attacking = Promise.all(
  names.map((name, i) => attacks[name]!.run(victim, done[name]!, fromSeed(Number(seed) + i), over.signal))
)
// Every attack has begun when each has counted something.
while (!over.signal.aborted && Object.values(done).some((counts) => Object.keys(counts).length === 0))
  await rest(10, over.signal)
process.stdout.write(`${JSON.stringify({ attacking: names })}\n`)
await attacking
process.stdout.write(`${JSON.stringify(done)}\n`, () => process.exit(0))
