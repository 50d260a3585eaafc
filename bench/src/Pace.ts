/**
 * An open loop: requests are due by the clock, whether or not earlier ones have been answered, and each one's time counts from
 * the moment that it was due. So a stall is seen by all that it held up ("coordinated omission" is avoided).
 */
import type { Load } from "./Load.ts"
import type { Asker } from "./Path.ts"

/** Requests on their way at once; more wait their turn, and their time runs. Less than every contestant's own bounds. */
const MOST_ON_THE_WAY = 512
/** How long a run may take after its last request was due. */
const LONGEST_TAIL_MS = 10_000

/** Sends what is due until the load's time is over, and waits for all answers. The first request that fails fails it. */
export const pace = ({ once }: Asker, perSecond: number, load: Load): Promise<void> =>
  new Promise((resolve, reject) => {
    if (once === undefined) return reject(new Error("this path has no single requests"))
    const startedAt = performance.now()
    const each = 1_000 / perSecond
    let sent = 0
    let answered = 0
    let endedAt: number | undefined
    let failed = false
    const fail = (error: unknown): void => {
      failed = true
      reject(error)
    }
    /** When the next one is due. */
    const dueAt = (): number => startedAt + sent * each
    const mayGo = (until: number): boolean => dueAt() <= until && sent - answered < MOST_ON_THE_WAY
    const send = (): void => {
      const due = dueAt()
      sent += 1
      once().then(() => {
        answered += 1
        load.answered(due)
      }, fail)
    }
    // It looks at the clock each turn: a timer is a millisecond too coarse.
    const turn = (): void => {
      if (failed) return
      const now = performance.now()
      if (endedAt === undefined && load.isOver(now)) endedAt = now
      const until = endedAt ?? now
      while (mayGo(until)) send()
      if (endedAt !== undefined) {
        if (dueAt() > endedAt && answered === sent) return resolve()
        if (now - endedAt > LONGEST_TAIL_MS) return fail(new Error(`${perSecond} requests a second are too many`))
      }
      setImmediate(turn)
    }
    turn()
  })
