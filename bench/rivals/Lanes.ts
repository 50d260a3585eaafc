import type { Load } from "../src/Load.ts"
import type { Asker, Payload } from "../src/Path.ts"

/** An asker that keeps lanes of its own busy, each with one request after another. Throws where an answer is not what was asked. */
export const lanes = (payload: Payload, ask: () => Promise<Payload>): Asker => ({
  once: ask,
  run: async (inflight: number, load: Load) => {
    const lane = async () => {
      let sentAt = performance.now()
      while (!load.over) {
        const { n, text } = await ask()
        if (n !== payload.n || text.length !== payload.text.length) throw new Error("the answer is not what was asked")
        sentAt = load.answered(sentAt)
      }
    }
    await Promise.all(Array.from({ length: inflight }, lane))
  }
})
