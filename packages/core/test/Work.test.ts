/** Verifies: who waits for a task, as others join it and leave it, against an array. */
import { describe, expect, test } from "bun:test"
import { Waiter, Work } from "../src/internal/Work.ts"
import { forRounds, seeded } from "../src/testing/Seeded.ts"

const nothing = {} as never
const makeWaiter = () => new Waiter(nothing, nothing, nothing)

describe("those who wait for a task", () => {
  test("are those who came and have not gone, in their order", () => {
    const random = seeded(0x70a5)
    forRounds(random, 500, () => {
      const model = [makeWaiter()]
      const gone: Array<Waiter> = []
      const work = new Work(nothing, nothing, undefined, nothing, model[0]!, 0)
      for (let i = 0; i < 30; i++) {
        if (model.length === 0 || random.int(2) === 0) {
          const waiter = makeWaiter()
          model.push(waiter)
          work.join(waiter)
        } else {
          const [waiter] = model.splice(random.int(model.length), 1)
          gone.push(waiter!)
          work.leave(waiter!)
        }
        if (gone.length > 0) work.leave(random.pick(gone))
        expect(work.waiters.map((waiter) => model.indexOf(waiter))).toEqual(model.map((_, at) => at))
        expect(work.waiter).toBe(model[0])
      }
    })
  })
})
