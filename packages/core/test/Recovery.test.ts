/** Verifies: tasks wait for their agent only as long as it is worth it, and nobody is dialled for nothing. */
import { describe, expect, test } from "bun:test"
import type { Connections } from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import { type Connection, TransportError } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import { ANEW, Recovery, REFUSED_MS, type Resumable } from "../src/internal/Recovery.ts"
import { makeSignal, run, until } from "./mesh.ts"
import { requestOf } from "./wire.ts"

const own = Identity.generate().nodeId
const peer = Identity.generate().nodeId
const broken = { peer, direction: "outbound", address: "mem://gone", state: () => "closed" } as Connection

/** Recovery where this comes of each dial. */
const recoveryOf = Effect.fnUntraced(function* (connect: Effect.Effect<Connection, TransportError>) {
  const scope = yield* Effect.scope
  const context = yield* Effect.context()
  return new Recovery({
    connections: { nodeId: own, connect: () => connect } as unknown as Connections["Service"],
    addresses: () => [],
    fork: (effect) => void Effect.runForkWith(context)(Effect.forkIn(effect, scope))
  })
})

/** Recovery on a network where no dial succeeds. */
const failing = Effect.fnUntraced(function* (refused: boolean) {
  let dials = 0
  const connect = Effect.suspend(() => {
    dials += 1
    return Effect.fail(
      new TransportError({ reason: { _tag: "DialFailed", address: "mem://gone", detail: "for the test", refused } })
    )
  })
  return { recovery: yield* recoveryOf(connect), dials: () => dials }
})

const makeTask = (isPatient: boolean) => {
  const abandoned = makeSignal()
  const task: Resumable = {
    ...requestOf(),
    peer,
    addresses: [],
    isPatient,
    seen: 0,
    resumeOn: () => {},
    abandon: abandoned.tell
  }
  return { task, abandoned }
}

describe("a task whose agent cannot be reached", () => {
  test("goes to others at the first dial that fails, and one that nobody else can do waits", () =>
    run(
      Effect.gen(function* () {
        const { dials, recovery } = yield* failing(false)
        const [patient, hasty] = [makeTask(true), makeTask(false)]
        for (const { task } of [patient, hasty]) expect(recovery.wait(task, broken)).toBe(true)
        yield* hasty.abandoned.wait
        expect(dials()).toBe(1)
        yield* until(
          "it is dialled again",
          Effect.sync(() => dials() >= 4)
        )
        expect(patient.abandoned.happened()).toBe(false)
        expect(recovery.waiting).toBe(1)
        recovery.stop()
        expect(patient.abandoned.happened()).toBe(true)
        expect([recovery.waiting, recovery.wait(patient.task, broken)]).toEqual([0, false])
      })
    ))

  test("is given up soon where nobody listens any more", () =>
    run(
      Effect.gen(function* () {
        const { recovery } = yield* failing(true)
        const { abandoned, task } = makeTask(true)
        const began = performance.now()
        recovery.wait(task, broken)
        yield* abandoned.wait
        expect(performance.now() - began).toBeGreaterThanOrEqual(REFUSED_MS)
        expect(recovery.waiting).toBe(0)
      })
    ))

  test("is dialled for no longer than it waits", () =>
    run(
      Effect.gen(function* () {
        const { dials, recovery } = yield* failing(false)
        const [first, second] = [makeTask(true), makeTask(false)]
        recovery.wait(first.task, broken)
        recovery.drop(first.task)
        yield* Effect.yieldNow
        yield* Effect.yieldNow
        expect(dials()).toBe(0)
        recovery.wait(second.task, broken)
        yield* second.abandoned.wait
        expect(dials()).toBe(1)
      })
    ))

  test(
    "is dialled soon again as long as many tasks go on each time",
    () =>
      run(
        Effect.gen(function* () {
          const again = { ...broken, state: () => "open" } as Connection
          const recovery = yield* recoveryOf(Effect.succeed(again))
          let breaks = 0
          const enough = makeSignal()
          const { task } = makeTask(true)
          const resumeOn = (): void => {
            for (let others = 1; others < ANEW.tasks; others++) recovery.progressed(peer)
            recovery.progressed(peer)
            if (++breaks > ANEW.atOnce + 100) enough.tell()
            else setImmediate(() => recovery.wait({ ...task, resumeOn }, broken))
          }
          recovery.wait({ ...task, resumeOn }, broken)
          // Pauses that double would take minutes.
          yield* enough.wait
          recovery.stop()
        })
      ),
    30_000
  )
})
