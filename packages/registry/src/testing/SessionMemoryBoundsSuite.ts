/** The laws of what SessionMemory holds at most, and of whom it refuses; part of `SessionMemorySuite`. */
import { Buffer } from "node:buffer"
import { seeded } from "@parley/core/testing/Seeded"
import type { TestApi } from "@parley/core/testing/TestApi"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import { entry, holderOf } from "../internal/Memory.ts"
import { BOUNDS, type Bounds, type Full, MAX_SESSION_BYTES, MAX_VALUE_BYTES, type Writer } from "../SessionMemory.ts"
import { type Harness, lawsOf } from "./SessionMemoryHarness.ts"

const known = (id: string): Writer => ({ id, isStranger: false })
const stranger = (id: string): Writer => ({ id, isStranger: true })

/** What one entry counts. */
const bytesOf = (session: string, name: string, value: Schema.Json): number => entry(session, name, value, 0).bytes
/** Of one of these: all names and values of the laws below have one length. */
const UNIT = bytesOf("s00", "k00", "v")
const name = (letter: string, n: number): string => `${letter}${String(n).padStart(2, "0")}`

const bounds = (less: { readonly [K in keyof Bounds]?: Partial<Bounds[K]> }): Bounds => ({
  session: { ...BOUNDS.session, ...less.session },
  identity: { ...BOUNDS.identity, ...less.identity },
  strangers: { ...BOUNDS.strangers, ...less.strangers },
  all: { ...BOUNDS.all, ...less.all }
})

const untilGone = { schedule: Schedule.spaced(10), until: (value: unknown) => value === undefined }

interface Held {
  readonly holder: string
  readonly bytes: number
  readonly value: Schema.Json
}

/** What a memory of these bounds must do, in maps. */
class Model {
  readonly sessions = new Map<string, Map<string, Held>>()
  readonly #bounds: Bounds

  constructor(bounds: Bounds) {
    this.#bounds = bounds
  }

  /** What is held of each kind; strangers each by itself, all together each session once. */
  #holds(holds: (holder: string) => boolean, sessions: ReadonlyMap<string, ReadonlyMap<string, Held>>) {
    const count = { sessions: 0, bytes: 0 }
    for (const entries of sessions.values()) {
      const mine = [...entries.values()].filter(({ holder }) => holds(holder))
      count.sessions += new Set(mine.map(({ holder }) => holder)).size
      count.bytes += mine.reduce((sum, { bytes }) => sum + bytes, 0)
    }
    return count
  }

  set(session: string, key: string, value: Schema.Json, writer: Writer | undefined): Full | undefined {
    const holder = holderOf(writer)
    const bytes = bytesOf(session, key, value)
    const there = this.sessions.get(session) ?? new Map<string, Held>()
    const after = new Map(this.sessions).set(session, new Map(there).set(key, { holder, bytes, value }))
    const isStranger = (holder: string) => holder.startsWith("stranger:")
    const counts = (sessions: ReadonlyMap<string, ReadonlyMap<string, Held>>) => {
      const entries = [...(sessions.get(session)?.values() ?? [])]
      return {
        session: { keys: entries.length, bytes: entries.reduce((sum, each) => sum + each.bytes, 0) },
        ...(holder === "" ? {} : { identity: this.#holds((each) => each === holder, sessions) }),
        ...(isStranger(holder) ? { strangers: this.#holds(isStranger, sessions) } : {}),
        all: { ...this.#holds(() => true, sessions), sessions: sessions.size }
      } as { readonly [of: string]: { readonly [what: string]: number } }
    }
    const [was, is] = [counts(this.sessions), counts(after)]
    for (const [of, amounts] of Object.entries(is)) {
      for (const what of of === "session" ? ["keys", "bytes"] : ["sessions", "bytes"]) {
        const limit = (this.#bounds as unknown as typeof is)[of]![what]!
        if (amounts[what]! > limit && amounts[what]! > was[of]![what]!) {
          return { _tag: "Full", of: of as Full["of"], what: what as Full["what"], limit }
        }
      }
    }
    this.sessions.set(session, after.get(session)!)
    return undefined
  }

  remove(session: string, key: string): void {
    this.sessions.get(session)?.delete(key)
    if (this.sessions.get(session)?.size === 0) this.sessions.delete(session)
  }
}

/** Declares the laws for one implementation. */
export const suite = ({ describe, expect, test }: TestApi, harness: Harness): void => {
  const law = lawsOf(test, harness)
  const full = (of: Full["of"], what: Full["what"], limit: number): Full => ({ _tag: "Full", of, what, limit })

  describe(`SessionMemory's bounds: ${harness.name}`, () => {
    law("all of a session fits into one answer, whatever stands in it", (memory) =>
      Effect.gen(function* () {
        // Keys that JSON writes with six characters for each of theirs; and values of the largest kind.
        const odd = (n: number): string => `${String(n).padStart(3, "0")}${"\u0001".repeat(125)}`
        let refused: Full | undefined
        for (let n = 0; n < 1_000 && refused === undefined; n++) {
          const value = "x".repeat(n < 10 ? MAX_VALUE_BYTES - 2 : 2_000)
          refused = yield* memory.set("s", odd(n), value, { writer: known("a") })
        }
        expect(refused).toEqual(full("session", "bytes", MAX_SESSION_BYTES))
        const data = yield* memory.all("s")
        const answer = Buffer.byteLength(JSON.stringify({ session_id: "s", keys: Object.keys(data), data }))
        expect([answer <= MAX_SESSION_BYTES, answer > MAX_SESSION_BYTES * 0.7]).toEqual([true, true])
        // What is there may become smaller, and stays as it is where more was refused.
        expect(yield* memory.set("s", odd(0), "x")).toBe(undefined)
        expect(yield* memory.set("s", odd(1), "y".repeat(MAX_VALUE_BYTES - 2))).toBe(undefined)
        expect((yield* memory.all("s"))[odd(2)]).toBe("x".repeat(MAX_VALUE_BYTES - 2))
      })
    )

    law(
      "an identity holds its share, and others what they were told is kept",
      (memory) =>
        Effect.gen(function* () {
          yield* memory.set("s99", "k99", "v", { writer: known("b") })
          for (const writer of [known("a"), stranger("x")]) {
            const set = (n: number) => memory.set(name(writer.id, n), "k00", "v", { writer })
            for (let n = 0; n < 4; n++) expect([n, yield* set(n)]).toEqual([n, undefined])
            expect(yield* set(4)).toEqual(full("identity", "sessions", 4))
            const first = (key: string, value = "v") => memory.set(name(writer.id, 0), key, value, { writer })
            expect(yield* first("k01")).toBe(undefined)
            expect(yield* first("k02")).toEqual(full("identity", "bytes", 5 * UNIT))
            expect(yield* first("k01", "vv")).toEqual(full("identity", "bytes", 5 * UNIT))
            // It may write over what it wrote before, and remove to write something else.
            expect(yield* first("k01", "w")).toBe(undefined)
            yield* memory.remove(name(writer.id, 0), "k01")
            expect(yield* first("k02")).toBe(undefined)
            yield* memory.clear(name(writer.id, 3))
            expect(yield* set(4)).toBe(undefined)
          }
          expect(yield* memory.set("n00", "k00", "v")).toBe(undefined)
          expect(yield* memory.all("s99")).toEqual({ k99: "v" })
          expect(yield* memory.all("x00")).toEqual({ k00: "v", k02: "v" })
        }),
      bounds({ identity: { sessions: 4, bytes: 5 * UNIT } })
    )

    law(
      "strangers, however many, leave room for those who are none, and erase nothing",
      (memory) =>
        Effect.gen(function* () {
          expect(yield* memory.set("s00", "k00", "v", { writer: known("a") })).toBe(undefined)
          expect(yield* memory.set("s01", "k00", "v")).toBe(undefined)
          const answers: Array<Full | undefined> = []
          for (let n = 0; n < 40; n++)
            answers.push(yield* memory.set(name("x", n), "k00", "v", { writer: stranger(`sybil ${n}`) }))
          expect(answers).toEqual([
            ...Array.from({ length: 6 }, () => undefined),
            ...Array.from({ length: 34 }, () => full("strangers", "sessions", 6))
          ])
          // Where they are already they may write more, and to sessions of others no more than to their own.
          for (let n = 0; n < 4; n++)
            expect(yield* memory.set("x00", name("k", n + 1), "v", { writer: stranger("sybil 0") })).toBe(undefined)
          expect(yield* memory.set("x00", "k05", "v", { writer: stranger("sybil 0") })).toEqual(
            full("strangers", "bytes", 10 * UNIT)
          )
          expect(yield* memory.set("s00", "k09", "v", { writer: stranger("sybil 0") })).toEqual(
            full("strangers", "sessions", 6)
          )
          for (let n = 2; n < 6; n++)
            expect([n, yield* memory.set(name("s", n), "k00", "v", { writer: known(`b${n}`) })]).toEqual([n, undefined])
          expect(yield* memory.set("s06", "k00", "v", { writer: known("a") })).toEqual(full("all", "sessions", 12))
          expect(yield* memory.set("s06", "k00", "v")).toEqual(full("all", "sessions", 12))
          expect(yield* memory.set("s00", "k01", "v")).toBe(undefined)
          expect(yield* memory.set("s00", "k02", "v", { writer: known("a") })).toEqual(full("all", "bytes", 17 * UNIT))
          expect(yield* memory.get("s00", "k00")).toBe("v")
          expect((yield* memory.sessions({ limit: 100 })).length).toBe(12)
        }),
      bounds({ strangers: { sessions: 6, bytes: 10 * UNIT }, all: { sessions: 12, bytes: 17 * UNIT } })
    )

    law(
      "a session is counted for each who has something in it, and for nobody else",
      (memory) =>
        Effect.gen(function* () {
          const set = (session: number, key: number, writer: Writer, value = "v") =>
            memory.set(name("s", session), name("k", key), value, { writer })
          for (let n = 0; n < 2; n++) expect(yield* set(n, 0, known("a"))).toBe(undefined)
          for (let n = 0; n < 2; n++) expect(yield* set(n, 1, stranger("x"))).toBe(undefined)
          expect(yield* set(2, 0, known("a"))).toEqual(full("identity", "sessions", 2))
          expect(yield* set(2, 0, stranger("x"))).toEqual(full("identity", "sessions", 2))
          // Who keeps something alive that another began has the place for it.
          yield* memory.remove("s00", "k00")
          expect(yield* set(2, 0, known("a"))).toBe(undefined)
          expect(yield* set(3, 0, stranger("x"))).toEqual(full("identity", "sessions", 2))
          // Somebody else writes over the last that it had.
          expect(yield* set(0, 1, known("b"), "w")).toBe(undefined)
          expect(yield* set(3, 0, stranger("x"))).toBe(undefined)
          expect(yield* set(3, 1, stranger("y"))).toBe(undefined)
          expect(yield* set(4, 0, stranger("y"))).toEqual(full("strangers", "sessions", 3))
          expect(yield* memory.all("s00")).toEqual({ k01: "w" })
        }),
      bounds({ identity: { sessions: 2 }, strangers: { sessions: 3 } })
    )

    law(
      "what has expired counts for nothing",
      (memory) =>
        Effect.gen(function* () {
          const writer = stranger("x")
          const set = (n: number, ttlMs?: number) =>
            memory.set(name("s", n), "k00", "v", { writer, ...(ttlMs === undefined ? {} : { ttlMs }) })
          for (let n = 0; n < 3; n++) yield* set(n)
          expect(yield* set(3)).toEqual(full("identity", "sessions", 3))
          for (let n = 0; n < 3; n++) yield* memory.clear(name("s", n))
          for (let n = 0; n < 3; n++) yield* set(n, 40)
          for (let n = 0; n < 3; n++) yield* memory.get(name("s", n), "k00").pipe(Effect.repeat(untilGone))
          for (let n = 3; n < 6; n++) expect([n, yield* set(n)]).toEqual([n, undefined])
          expect(yield* set(6)).toEqual(full("identity", "sessions", 3))
          // Nor in the session that somebody writes to.
          expect(yield* memory.set("s05", "k01", "v", { writer: known("b"), ttlMs: 40 })).toBe(undefined)
          yield* memory.get("s05", "k01").pipe(Effect.repeat(untilGone))
          expect(yield* memory.set("s05", "k02", "v")).toBe(undefined)
          expect(yield* memory.set("s05", "k03", "v")).toEqual(full("session", "keys", 2))
        }),
      bounds({ session: { keys: 2 }, identity: { sessions: 3 } })
    )

    law(
      "however much has expired, it counts for nothing",
      (memory) =>
        Effect.gen(function* () {
          const writer = known("a")
          // More than goes at once.
          const keys = Array.from({ length: 600 }, (_, n) => `k${n}`)
          yield* Effect.forEach(keys, (key) => memory.set("s00", key, "v", { writer, ttlMs: 500 }), {
            concurrency: 16,
            discard: true
          })
          const isEmpty = (session: object) => Object.keys(session).length === 0
          yield* memory.all("s00").pipe(Effect.repeat({ schedule: Schedule.spaced(20), until: isEmpty }))
          expect(yield* memory.set("s01", "k00", "v", { writer })).toBe(undefined)
          expect(yield* memory.set("s02", "k00", "v", { writer })).toEqual(full("identity", "sessions", 1))
        }),
      bounds({ identity: { sessions: 1 } })
    )

    const few = bounds({
      session: { keys: 3, bytes: 3 * UNIT + 50 },
      identity: { sessions: 3, bytes: 4 * UNIT },
      strangers: { sessions: 5, bytes: 6 * UNIT },
      all: { sessions: 6, bytes: 12 * UNIT }
    })
    law(
      "random writers are let in and refused as by a model that counts anew each time",
      (memory) =>
        Effect.gen(function* () {
          const random = seeded(77)
          const model = new Model(few)
          const writers = [undefined, known("a"), known("b"), stranger("a"), stranger("x"), stranger("y")]
          const refusals = new Set<string>()
          for (let round = 0; round < 400; round++) {
            const session = name("s", random.int(9))
            const key = name("k", random.int(6))
            const what = random.int(20)
            if (what < 16) {
              const writer = random.pick(writers)
              const value = "v".repeat(1 + random.int(40))
              const answer = yield* memory.set(session, key, value, writer === undefined ? {} : { writer })
              expect([random.seed, round, answer]).toEqual([random.seed, round, model.set(session, key, value, writer)])
              if (answer !== undefined) refusals.add(`${answer.of} ${answer.what}`)
            } else if (what < 19) {
              yield* memory.remove(session, key)
              model.remove(session, key)
            } else {
              yield* memory.clear(session)
              model.sessions.delete(session)
            }
            const there = [...(model.sessions.get(session) ?? [])].map(([key, { value }]) => [key, value])
            expect([random.seed, round, yield* memory.all(session)]).toEqual([
              random.seed,
              round,
              Object.fromEntries(there)
            ])
          }
          expect(refusals.size > 4).toBe(true)
          // Everything is given back.
          for (const session of model.sessions.keys()) yield* memory.clear(session)
          for (let n = 0; n < 6; n++) expect([n, yield* memory.set(name("s", n), "k00", "v")]).toEqual([n, undefined])
          expect(yield* memory.set("s07", "k00", "v")).toEqual(full("all", "sessions", 6))
        }),
      few
    )

    if (!harness.isShared) return

    law(
      "instances that write at once keep every bound together",
      (memory, place) =>
        Effect.gen(function* () {
          const other = yield* place.open(crowded)
          const both = (n: number) => (n % 2 === 0 ? memory : other)
          const count = (answers: ReadonlyArray<Full | undefined>) => {
            const counts: { [answer: string]: number } = {}
            for (const answer of answers) {
              const text = answer === undefined ? "kept" : `${answer.of} ${answer.what}`
              counts[text] = (counts[text] ?? 0) + 1
            }
            return counts
          }
          const all = (sets: ReadonlyArray<Effect.Effect<Full | undefined, unknown>>) =>
            Effect.map(Effect.all(sets, { concurrency: 16 }), count)
          const many = Array.from({ length: 48 }, (_, n) => n)
          // One identity in sessions of its own; then as many strangers; then whoever comes.
          const own = many.map((n) => both(n).set(name("a", n), "k00", "v", { writer: known("a") }))
          expect(yield* all(own)).toEqual({ kept: 9, "identity sessions": 39 })
          const sybils = many.map((n) => both(n).set(name("x", n), "k00", "v", { writer: stranger(`${n}`) }))
          expect(yield* all(sybils)).toEqual({ kept: 12, "strangers sessions": 36 })
          const others = many.map((n) => both(n).set(name("b", n), "k00", "v", { writer: known(`b${n}`) }))
          expect(yield* all(others)).toEqual({ kept: 9, "all sessions": 39 })
          // Into what is there, until there are no bytes left.
          const [into = ""] = yield* memory.sessions({ limit: 1 })
          const more = many.map((n) => both(n).set(into, name("k", n + 1), "v", { writer: known(`c${n}`) }))
          expect(yield* all(more)).toEqual({ kept: 10, "all bytes": 38 })
          expect((yield* other.sessions({ limit: 100 })).length).toBe(30)
          // All at once clear it, and it is as it was.
          const sessions = yield* memory.sessions({ limit: 100 })
          const clearing = sessions.flatMap((session) => [memory.clear(session), other.remove(session, "k00")])
          yield* Effect.all(clearing, { concurrency: 16, discard: true })
          expect(yield* other.sessions({ limit: 100 })).toEqual([])
          expect(yield* all(own)).toEqual({ kept: 9, "identity sessions": 39 })
          expect(yield* all(sybils)).toEqual({ kept: 12, "strangers sessions": 36 })
          expect(yield* all(others)).toEqual({ kept: 9, "all sessions": 39 })
        }),
      crowded
    )
  })
}

const crowded = bounds({
  identity: { sessions: 9 },
  strangers: { sessions: 12 },
  all: { sessions: 30, bytes: 40 * UNIT }
})
