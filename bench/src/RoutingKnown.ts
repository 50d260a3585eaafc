/** The same call by a node that knows 10 capabilities and by one that knows 100,000, in turn. */
import { Pair, type Round } from "./End.ts"
import { usual } from "./Path.ts"
import type { Options } from "./RoutingOptions.ts"
import { warmSeconds } from "./RoutingRivals.ts"
import { headOf, type Row, rowsOf } from "./RoutingRows.ts"
import { whole } from "./Table.ts"
import { takeTurns } from "./Turns.ts"

export const FEW = 10
export const MANY = 100_000

const nameOf = (known: number): string => `known ${known}`

/** The node that knows few comes first. */
export const measureKnown = async (
  { bytes, pairs: rounds, seconds }: Options,
  brief: boolean,
  say: (text: string) => void
): Promise<ReadonlyArray<Row>> => {
  const counts = [FEW, brief ? 1_000 : MANY]
  const pairs: Array<Pair> = []
  try {
    for (const known of counts)
      pairs.push(
        await Pair.start({ path: "call", asking: "bun", answering: "bun", bytes, setting: { ...usual, known } })
      )
    const taken = await takeTurns<Round>(
      pairs.map((pair, i) => ({
        name: nameOf(counts[i]!),
        warmUp: () => pair.asking.run(64, warmSeconds("call", seconds)),
        round: () => pair.round(64, seconds)
      })),
      // Two that are nearly alike want more rounds than two that are not.
      2 * rounds
    )
    say(`routing: ${counts.map(whole).join(" beside ")} known capabilities: measured`)
    return rowsOf(
      counts.map((known) => ({
        ...headOf("call", "bun", 64, bytes),
        name: nameOf(known),
        label: `call, ${whole(known)} known`
      })),
      taken,
      nameOf(counts[1]!)
    )
  } finally {
    for (const pair of pairs) pair.close()
  }
}
