/**
 * The tail of a stream against a network that cuts: whatever happens, a reader that goes on gets every chunk once. The network
 * delivers late, returns credit as the transport's window does, and breaks anywhere. Tails with a bug planted must be caught.
 */
import { describe, expect, test } from "bun:test"
import type { NodeId } from "@parley/core/NodeId"
import { WINDOW_BYTES } from "@parley/core/Transport"
import { MAX_ENDED, Tails } from "../src/internal/Tails.ts"
import { type Room, type Sink, Tail } from "../src/internal/Tail.ts"
import * as TaskId from "../src/internal/TaskId.ts"
import { forRounds, fromSeed, type Seeded, seeded } from "../src/testing/Seeded.ts"
import { testNode } from "../src/testing/StrategySuite.ts"

const head = Uint8Array.of(9)
const endHead = Uint8Array.of(8)
const nowhere: Room = { changed: () => {} }

/** A message on its way: the numbers of its chunks, or the end. */
interface Parcel {
  readonly chunks: ReadonlyArray<number>
  readonly size: number
  readonly isEnd: boolean
}

/** One connection's stream, with a window: messages go in pieces as far as there is credit, and each piece that arrives returns its own. */
class Wire implements Sink {
  readonly #reader: Reader
  /** Not delivered whole, and how much of each has not left yet, and not arrived. */
  readonly #parcels: Array<{ readonly parcel: Parcel; unsent: number; left: number }> = []
  #inFlight = 0
  isBlocked = false
  isCut = false

  constructor(reader: Reader) {
    this.#reader = reader
  }

  send(_head: Uint8Array, body: string | Uint8Array | undefined, last: boolean): boolean {
    if (this.isCut) return false
    const text = typeof body === "string" ? body : ""
    const parcel = { chunks: last ? [] : text.trimEnd().split(" ").map(Number), size: text.length + 1, isEnd: last }
    this.#parcels.push({ parcel, unsent: parcel.size, left: parcel.size })
    this.#fill()
    this.isBlocked = this.#isFull
    return !this.isBlocked
  }

  /** Bytes wait for credit. */
  get #isFull(): boolean {
    return (this.#parcels.at(-1)?.unsent ?? 0) > 0
  }

  #fill(): void {
    for (const each of this.#parcels) {
      const piece = Math.min(each.unsent, WINDOW_BYTES - this.#inFlight)
      each.unsent -= piece
      this.#inFlight += piece
    }
  }

  /** Some bytes arrive; whole messages are read. Gives whether the sender may go on. */
  deliver(bytes: number): boolean {
    let left = Math.min(bytes, this.#inFlight)
    this.#inFlight -= left
    for (let first = this.#parcels[0]; first !== undefined && left > 0; first = this.#parcels[0]) {
      const taken = Math.min(left, first.left)
      first.left -= taken
      left -= taken
      if (first.left > 0) break
      this.#parcels.shift()
      this.#reader.take(first.parcel)
    }
    this.#fill()
    if (!this.isBlocked || this.#isFull) return false
    this.isBlocked = false
    return true
  }
}

class Reader {
  readonly seen: Array<number> = []
  ended = false
  take(parcel: Parcel): void {
    if (parcel.isEnd) this.ended = true
    else this.seen.push(...parcel.chunks)
  }
}

/** A tail as the executor uses it. */
type Tested = Pick<Tail, "push" | "end" | "attach" | "detach" | "writable" | "isReady" | "has" | "length">

/** Runs one stream through one seed's network; gives what is wrong with what its reader saw. */
const simulate = (random: Seeded, make: () => Tested): string | undefined => {
  const tail = make()
  const reader = new Reader()
  let wire = new Wire(reader)
  tail.attach(wire, 0)
  // Bodies of a few bytes, or of a good part of a window, or of more than one.
  const largest = random.pick([1, 50, 20_000, 300_000, 700_000])
  const total = largest > 10_000 ? 200 : 2_000
  let made = 0
  for (let step = 0; step < 20_000 && !reader.ended; step++) {
    const what = random.int(100)
    if (what < 45 && made < total) {
      if (!tail.isReady) continue
      const count = Math.min(1 + random.int(4), total - made)
      const numbers = Array.from({ length: count }, (_, n) => made + n)
      made += count
      tail.push(head, numbers.join(" ").padEnd(1 + random.int(largest)), count)
    } else if (made === total && what < 50) {
      tail.end(endHead, undefined)
    } else if (what < 93) {
      if (!wire.isCut && wire.deliver(1 + random.int(Math.max(64, largest * 2)))) tail.writable(wire)
    } else if (what < 97) {
      // A cut: what flies is lost. The executor may hear of it, or only of the new connection.
      wire.isCut = true
      if (random.int(3) > 0) tail.detach(wire)
      // A handler that was at it goes on to its next message.
    } else if (wire.isCut) {
      const before = wire
      wire = new Wire(reader)
      if (!tail.has(reader.seen.length)) return `chunk ${reader.seen.length} is not there any more, of ${made}`
      if (!tail.attach(wire, reader.seen.length)) return "it cannot be attached"
      tail.detach(before)
    }
  }
  const wrong = reader.seen.findIndex((number, at) => number !== at)
  if (wrong >= 0) return `chunk ${wrong} is ${reader.seen[wrong]}`
  if (!reader.ended) return `it never ended, after ${reader.seen.length} of ${total}`
  return reader.seen.length === total ? undefined : `it ended after ${reader.seen.length} of ${total}`
}

/** Tails with a bug: each must be caught. */
const broken: Readonly<Record<string, () => Tested>> = {
  "keeps half a window": () => {
    const tail = new Tail(nowhere)
    let size = 0
    const sizes: Array<number> = []
    return wrapped(tail, {
      push: (first, body, chunks) => {
        sizes.push(body.length)
        size += body.length
        while (sizes.length > 2 && size - sizes[0]! > WINDOW_BYTES / 2) {
          size -= sizes.shift()!
          tail.shed()
        }
        return tail.push(first, body, chunks)
      }
    })
  },
  "forgets the newest message but one": () => {
    const tail = new Tail(nowhere)
    return wrapped(tail, {
      push: (first, body, chunks) => {
        while (tail.length > 1 && tail.shed()) continue
        return tail.push(first, body, chunks)
      }
    })
  },
  "goes on one message too late": () => {
    const tail = new Tail(nowhere)
    const counts: Array<number> = []
    return wrapped(tail, {
      push: (first, body, chunks) => {
        counts.push(chunks)
        return tail.push(first, body, chunks)
      },
      attach: (sink, next) => {
        let number = 0
        for (const count of counts) {
          if (number > next) break
          number += count
        }
        return number > next && tail.has(number) ? tail.attach(sink, number) : tail.attach(sink, next)
      }
    })
  },
  "goes on from the first chunk that it has": () => {
    const tail = new Tail(nowhere)
    return wrapped(tail, { attach: (sink) => tail.attach(sink, tail.kept[0]) })
  },
  "takes the old connection's word for the new one's": () => {
    const tail = new Tail(nowhere)
    let last: Sink | undefined
    return wrapped(tail, {
      attach: (sink, next) => {
        last = sink
        return tail.attach(sink, next)
      },
      detach: () => last !== undefined && tail.detach(last)
    })
  },
  "says the end once only": () => {
    const tail = new Tail(nowhere)
    let isSaid = false
    return wrapped(tail, {
      attach: (sink, next) =>
        tail.attach(
          {
            send: (first, body, last) => {
              if (last && isSaid) return false
              isSaid ||= last
              return sink.send(first, body, last)
            }
          },
          next
        )
    })
  }
}

const wrapped = (tail: Tail, changed: Partial<Tested>): Tested => ({
  push: (first, body, chunks) => tail.push(first, body, chunks),
  end: (first, body) => tail.end(first, body),
  attach: (sink, next) => tail.attach(sink, next),
  detach: (sink) => tail.detach(sink),
  writable: (sink) => tail.writable(sink),
  has: (next) => tail.has(next),
  get isReady() {
    return tail.isReady
  },
  get length() {
    return tail.length
  },
  ...changed
})

describe("the tail of a stream", () => {
  test("gives every chunk once, wherever the network cuts", () => {
    const random = seeded(5)
    forRounds(random, 150, () => {
      const round = random.int(2 ** 32)
      const wrong = simulate(fromSeed(round), () => new Tail(nowhere))
      if (wrong !== undefined) throw new Error(`${wrong} (round of seed ${round})`)
    })
  }, 30_000)

  for (const [what, make] of Object.entries(broken)) {
    test(`is caught where it ${what}`, () => {
      const random = seeded(6)
      let caught: string | undefined
      for (let round = 0; caught === undefined && round < 400; round++) {
        caught = simulate(fromSeed(random.int(2 ** 32)), make)
      }
      expect(caught).toBeDefined()
    }, 30_000)
  }

  test("keeps a window and two messages, and no more", () => {
    const tail = new Tail(nowhere)
    const wire: Sink = { send: () => true }
    tail.attach(wire, 0)
    for (let n = 0; n < 1_000; n++) tail.push(head, "x".repeat(16_383), 1)
    // 32 of 16 KiB are a window.
    expect(tail.length).toBe(33)
    expect(tail.kept).toEqual([967, 1_000])
    for (let n = 0; n < 10; n++) tail.push(head, "x".repeat(4 * WINDOW_BYTES), 1)
    expect(tail.length).toBe(2)
  })

  test("gives none that it dropped, that lies within a message, or that never went out", () => {
    const tail = new Tail(nowhere)
    const wire: Sink = { send: () => true }
    tail.attach(wire, 0)
    for (let n = 0; n < 100; n++) tail.push(head, "x".repeat(WINDOW_BYTES / 4), 3)
    expect(tail.kept).toEqual([285, 300])
    for (const next of [-1, 0, 284, 286, 299, 301, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect([next, tail.has(next), tail.attach(wire, next)]).toEqual([next, false, false])
    }
    tail.detach(wire)
    tail.push(head, "never out", 2)
    expect([tail.has(300), tail.has(302)]).toEqual([true, false])
  })
})

describe("the tails of a node", () => {
  const wire: Sink = { send: () => true }
  const open = (tails: Tails, caller: number): Tail => {
    const tail = tails.open(testNode(caller))
    tail.attach(wire, 0)
    return tail
  }

  test("share the room: whoever holds most makes it", () => {
    const tails = new Tails({ bytes: 1_000_000, ms: 1_000 })
    const modest = open(tails, 1)
    modest.push(head, "y".repeat(10_000), 1)
    const greedy = Array.from({ length: 50 }, () => open(tails, 2))
    for (let n = 0; n < 40; n++) for (const tail of greedy) tail.push(head, "x".repeat(10_000), 1)
    expect(tails.size.bytes).toBeLessThanOrEqual(1_000_000)
    expect(tails.size.bytes).toBeGreaterThan(900_000)
    // Also while it adds to what is too much already.
    for (let n = 0; n < 5; n++) modest.push(head, "y".repeat(10_000), 1)
    expect(modest.has(0)).toBe(true)
    for (const tail of greedy) tails.close(tail)
    expect(tails.size.bytes).toBe(6 * 10_064)
    tails.ended(testNode(1), new TaskId.TaskId(1, 2, 3, 4), modest, 0)
    tails.forget()
    expect(tails.size).toEqual({ bytes: 0, ended: 0 })
  })

  test("remember ended streams of a caller, up to a number and an age", () => {
    const tails = new Tails({ bytes: 1_000_000, ms: 1_000 })
    for (let n = 0; n < MAX_ENDED.perCaller + 10; n++) {
      const tail = open(tails, 1)
      tail.push(head, "x", 1)
      tails.ended(testNode(1), new TaskId.TaskId(n, 0, 0, 0), tail, n)
      tail.end(endHead, undefined)
    }
    const has = (caller: number, n: number, now: number): boolean =>
      tails.get(testNode(caller), new TaskId.TaskId(n, 0, 0, 0), now) !== undefined
    expect(tails.size.ended).toBe(MAX_ENDED.perCaller)
    expect([has(1, 9, 100), has(1, 10, 100), has(2, 10, 100)]).toEqual([false, true, false])
    expect([has(1, 10, 1_010), has(1, 10, 1_011)]).toEqual([true, false])
    for (let caller = 2; caller < 20; caller++) {
      for (let n = 0; n < 500; n++) {
        tails.ended(testNode(caller), new TaskId.TaskId(n, 0, 0, 0), open(tails, caller), 2_000)
      }
    }
    expect(tails.size.ended).toBe(MAX_ENDED.all)
    tails.forget()
  })
})

describe("a node whose tails have too many bytes that did not go out", () => {
  test("looks at a few of them for each message, however many callers there are", () => {
    const tails = new Tails({ bytes: 1_000_000, ms: 60_000 })
    const head = new Uint8Array(1)
    const takes = { send: () => true }
    const callers = 1_000
    for (let i = 0; i < callers; i++) {
      const tail = tails.open(`caller ${i}` as NodeId)
      tail.attach(takes, 0)
      tail.push(head, "x", 1)
      tails.ended(`caller ${i}` as NodeId, new TaskId.TaskId(i, 0, 0, 0), tail, Date.now())
    }
    // One caller reads none of its streams.
    for (let i = 0; i < 20; i++) tails.open("slow" as NodeId).push(head, new Uint8Array(100_000), 1)
    let looks = 0
    const shed = Tail.prototype.shed
    Tail.prototype.shed = function (this: Tail): boolean {
      looks++
      return shed.call(this)
    }
    try {
      const tail = tails.open("caller" as NodeId)
      tail.attach(takes, 0)
      tail.push(head, "y", 1)
    } finally {
      Tail.prototype.shed = shed
      tails.forget()
    }
    expect(looks < callers).toBe(true)
  })
})
