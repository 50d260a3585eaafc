/** One end of a rival, for its test: `RivalEnd.ts NAME answer` or `RivalEnd.ts NAME ask ADDRESS`. It ends with its input. */
import { rivals, type RivalName } from "../rivals/Rivals.ts"
import { Load } from "../src/Load.ts"

const BYTES = 128
/** Ends when so many requests were answered, and not by time. */
const CALLS = 300

class Some extends Load {
  #calls = 0
  override answered(sentAt: number): number {
    const now = super.answered(sentAt)
    this.#calls += 1
    this.over = this.#calls >= CALLS
    return now
  }
}

const [name, role, to = ""] = process.argv.slice(2)
const path = await rivals[name as RivalName].load()
if (role === "answer") console.log(await path.answer(BYTES))
else {
  const asker = await path.ask(to, BYTES)
  const load = new Some(60)
  await asker.run(8, load)
  console.log(JSON.stringify({ calls: load.run().calls }))
}
process.stdin.on("end", () => process.exit(0))
process.stdin.resume()
