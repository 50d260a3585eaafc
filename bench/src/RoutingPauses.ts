/** What stops p99 at 64 in flight on Bun: how often its collector holds each end up under the same load, for how long, and whom. */
import { Pair } from "./End.ts"
import type { Options } from "./RoutingOptions.ts"
import { warmSeconds } from "./RoutingRivals.ts"
import { spreadOf } from "./Spread.ts"
import { short } from "./Table.ts"

const INFLIGHT = 64
const SECONDS = 2

/** Pauses of one end. */
interface EndPauses {
  readonly perSecond: number
  /** The middle one, in ms. */
  readonly medianMs: number
}

export interface Pauses {
  readonly callsPerSecond: number
  /** Microseconds. */
  readonly p50: number
  readonly p99: number
  readonly asking: EndPauses
  readonly answering: EndPauses
}

/** Measures with the collector's log on. */
export const measurePauses = async (
  { bytes, seconds, setting }: Options,
  brief: boolean,
  say: (text: string) => void
): Promise<Pauses> => {
  const heard = { asking: [] as Array<number>, answering: [] as Array<number> }
  const pair = await Pair.start({
    path: "call",
    asking: "bun",
    answering: "bun",
    bytes,
    setting,
    onPause: { asking: (ms) => void heard.asking.push(ms), answering: (ms) => void heard.answering.push(ms) }
  })
  try {
    await pair.round(INFLIGHT, warmSeconds("call", seconds))
    heard.asking.length = 0
    heard.answering.length = 0
    const run = await pair.round(INFLIGHT, brief ? seconds : SECONDS)
    const of = (pauses: ReadonlyArray<number>): EndPauses => ({
      perSecond: pauses.length / run.seconds,
      medianMs: pauses.length === 0 ? 0 : spreadOf(pauses).median
    })
    say("routing: the collector's pauses: measured")
    const { callsPerSecond, p50, p99 } = run
    return { callsPerSecond, p50, p99, asking: of(heard.asking), answering: of(heard.answering) }
  } finally {
    pair.close()
  }
}

/** In a sentence or two. */
export const pausesText = ({ answering, asking, callsPerSecond, p50, p99 }: Pauses): string => {
  const end = (name: string, { medianMs, perSecond }: EndPauses) =>
    `the ${name} end ${short(perSecond)} times a second, for ${short((medianMs * 1_000) / p50)} × p50 each`
  // All that is in flight waits for either end.
  const share = ((asking.perSecond + answering.perSecond) * INFLIGHT) / callsPerSecond
  return (
    `Bun's collector holds up ${end("asking", asking)}, and ${end("answering", answering)}. Each time it holds up all ` +
    `${INFLIGHT} in flight, so that about ${(share * 100).toFixed(1)} % of calls meet a pause: p99, here ${short(p99 / p50)} × p50, is ` +
    (share > 0.01 ? "a call that does." : "hardly touched by it.")
  )
}
