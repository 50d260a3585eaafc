/** The small run of an experiment as a test: it must reach what it judges. */
import { describe, expect } from "bun:test"
import { skipTest } from "../../test-support/Skip.ts"
import type { Experiment } from "../src/Experiment.ts"

/** Longest that a small run may take on a slow and busy machine, in ms. */
const MOST_MS = 150_000

/** Declares the test. `PARLEY_SEED` in the environment repeats a run. */
export const brief = (name: string, experiment: Experiment, seed: number): void => {
  describe(`the lab's ${name}`, () => {
    skipTest(experiment.unavailable)(
      experiment.what,
      async () => {
        const used = Number(process.env["PARLEY_SEED"] ?? seed)
        console.log(`${name}: PARLEY_SEED=${used}`)
        const { rows, text } = await experiment.run({ say: () => {}, seed: used, brief: true })
        const missed = rows.filter(({ met }) => !met)
        if (missed.length > 0) console.log(text)
        expect(missed).toEqual([])
        expect(rows.length > 0).toBe(true)
      },
      MOST_MS
    )
  })
}
