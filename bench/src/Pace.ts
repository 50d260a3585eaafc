/**
 * An open loop: requests leave by the clock, whether or not earlier ones have been answered, and each one's time counts from
 * the moment that it was due. So a stall is seen by all that it held up ("coordinated omission" is avoided).
 */
import type { Load } from "./Load.ts"
import type { Asker } from "./Path.ts"

/** Requests that wait for their answers at most: beyond it the other end is lost, and the run fails. */
const MOST_WAITING = 200_000

/** Sends until the load's time is over, and waits for the last answers. The first failed request fails it. */
export const pace = ({ once }: Asker, perSecond: number, load: Load): Promise<void> =>
  new Promise((resolve, reject) => {
    if (once === undefined) return reject(new Error("this path has no single requests"))
    const startedAt = performance.now()
    const each = 1_000 / perSecond
    let sent = 0
    let waiting = 0
    let failed = false
    const answered = (dueAt: number) => {
      load.answered(dueAt)
      waiting -= 1
      if (waiting === 0 && load.over) resolve()
    }
    const fail = (error: unknown) => {
      failed = true
      reject(error)
    }
    // It looks at the clock each turn: a timer is a millisecond too coarse.
    const turn = () => {
      if (failed) return
      const now = performance.now()
      if (load.isOver(now)) {
        if (waiting === 0) resolve()
        return
      }
      for (let dueAt = startedAt + sent * each; dueAt <= now; dueAt = startedAt + sent * each) {
        sent += 1
        waiting += 1
        const due = dueAt
        once().then(() => answered(due), fail)
      }
      if (waiting > MOST_WAITING) return fail(new Error(`${waiting} requests wait for their answers`))
      setImmediate(turn)
    }
    turn()
  })
