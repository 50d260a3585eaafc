/** What is asked in a soak, and what the one right answer is. */
import * as Schema from "effect/Schema"
import * as Capability from "@parley/core/Capability"

const named = (name: string) =>
  Capability.make(name, {
    version: "1.0.0",
    description: "Does a numbered task, and says who did it",
    tags: ["soak"],
    input: Schema.Struct({ n: Schema.Finite, text: Schema.String }),
    output: Schema.Struct({ n: Schema.Finite, by: Schema.Finite, proof: Schema.Finite })
  })

/**
 * Every call has a number of its own; the answer says which agent gave it, and what only the right number gives. Agents that come
 * and go serve one of these, and those that stay the other: a caller prefers whom it has tried, and would ask nobody else.
 */
export const Work = named("soak.work")
export const Stay = named("soak.stay")

/** About 128 bytes of JSON with the number. */
export const TEXT = "x".repeat(96)

/** What a number must be answered with: another one for each agent, so that no two answers are taken for each other. */
export const proofOf = (n: number, by: number): number =>
  (Math.imul(n ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(by, 0xc2b2ae35)) >>> 0

/** One task of so many takes its time, so that agents that leave or die have some that they are in the midst of. */
const SLOW_ONE_OF = 256
/** How long it takes, in ms. */
export const SLOW_MS = 20
export const isSlow = (n: number): boolean => n % SLOW_ONE_OF === 0

/**
 * The finished tasks that an agent keeps: for longer than any call of a soak may take, and no more than it does within some seconds.
 * With the defaults, 65,536 for five minutes, this memory would fill for half of a soak, and look like a leak.
 */
export const KEPT = { entries: 16_384, ms: 30_000 }
