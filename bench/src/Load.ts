/**
 * A closed loop's books: how many requests were answered, and how long each took.
 */
import { build, type Histogram } from "hdr-histogram-js"

/** What one run of load came to. Times are microseconds. */
export interface Run {
  readonly calls: number
  readonly seconds: number
  readonly callsPerSecond: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** Latencies are recorded in steps of 100 ns, with three digits, up to ten seconds. */
const STEPS_PER_MS = 10_000
const LONGEST_STEPS = 10_000 * STEPS_PER_MS

/** Counts requests until its time is over. */
export class Load {
  readonly #histogram: Histogram = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_STEPS,
    numberOfSignificantValueDigits: 3
  })
  readonly #startedAt = performance.now()
  readonly #endsAt: number
  #lastAt = this.#startedAt
  #calls = 0
  over = false

  constructor(seconds: number) {
    this.#endsAt = this.#startedAt + seconds * 1_000
  }

  /** Notes an answer to a request sent at `sentAt` (`performance.now()`), and gives the time now. */
  answered(sentAt: number): number {
    const now = performance.now()
    this.#histogram.recordValue(Math.min(Math.round((now - sentAt) * STEPS_PER_MS), LONGEST_STEPS))
    this.#calls += 1
    this.#lastAt = now
    if (now >= this.#endsAt) this.over = true
    return now
  }

  /** Whether its time is over, though nothing may have been answered for long. */
  isOver(now: number): boolean {
    if (now >= this.#endsAt) this.over = true
    return this.over
  }

  run(): Run {
    const seconds = (this.#lastAt - this.#startedAt) / 1_000
    const at = (percentile: number) => (this.#histogram.getValueAtPercentile(percentile) / STEPS_PER_MS) * 1_000
    return {
      calls: this.#calls,
      seconds,
      callsPerSecond: seconds > 0 ? this.#calls / seconds : 0,
      p50: at(50),
      p90: at(90),
      p99: at(99),
      p999: at(99.9),
      max: at(100)
    }
  }
}
