/**
 * A Selection of one's own: `cheapest-3` asks the three agents whose capability costs least.
 */
import * as Effect from "effect/Effect"
import type { Match } from "@parley/core/Matcher"
import { type Registered, type Selection, StrategyError } from "@parley/core/Strategy"

const priceOf = ({ capability }: Match): number => capability.cost?.usdPerCall ?? 0

/** The so many agents that cost least; of equal prices the better match. Each agent once, with its cheapest match. */
export const cheapest = (count: number): Selection => ({
  name: `cheapest-${count}`,
  select: (matches) => {
    const nodes = new Set<string>()
    return matches
      .toSorted((a, b) => priceOf(a) - priceOf(b))
      .filter(({ node }) => nodes.size < count && !nodes.has(node) && nodes.add(node))
  }
})

/** What makes it known by name: the text after `cheapest-` comes as the argument. */
export const registered: Registered = {
  selections: {
    cheapest: (argument = "3") => {
      const count = Number(argument)
      return Number.isSafeInteger(count) && count > 0
        ? Effect.succeed(cheapest(count))
        : Effect.fail(
            new StrategyError({
              code: "BadArgument",
              strategy: `cheapest-${argument}`,
              detail: "it takes how many to ask, from 1: cheapest-3"
            })
          )
    }
  }
}
