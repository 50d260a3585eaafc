/**
 * Verifies: a session under every cut of its bytes, its flow control and bounds, what it does with altered records, with a peer
 * that breaks the protocol, that is silent, or that does not read.
 */
import { describe, expect, test } from "bun:test"
import { MAX_MESSAGE_BYTES, ResetCode, WINDOW_BYTES } from "@parley/core/Transport"
import type { Stream } from "@parley/core/Transport"
import * as Frame from "@parley/transport-tcp/Frame"
import { MAX_UNSENT_BYTES } from "@parley/transport-tcp/Limits"
import { forRounds, mutate, seeded } from "@parley/core/testing/Seeded"
import { RelayLink } from "../src/internal/RelayLink.ts"
import { data, exchange, Heard, makeEnd, makeHostile, makePair, protocol, settle } from "./sessions.ts"
import type { End } from "./sessions.ts"

const empty = new Uint8Array(0)
const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1")

const open = (end: End): { readonly stream: Stream; readonly heard: Heard } => {
  const heard = new Heard()
  return { stream: end.session.open(protocol, heard)!, heard }
}

/** Waits for something that timers bring about. */
const until = async (what: string, condition: () => boolean): Promise<void> => {
  const end = performance.now() + 15_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not so in time: ${what}`)
    await settle()
  }
}

describe("Session", () => {
  test("many streams, random messages, pauses and cuts: in order, once, whole", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = seeded(seed)
      const [a, b] = makePair()
      const sent: Array<Array<string>> = []
      b.onStream = (heard, stream) => {
        heard.onEach = () => {
          if (random.int(10) > 0) return
          stream.pause()
          setImmediate(() => stream.resume())
        }
      }
      const streams = Array.from({ length: 1 + random.int(12) }, (_, index) => {
        sent.push([])
        const { stream } = open(a)
        stream.send(latin1(`${index}`), undefined, false)
        return stream
      })
      for (let n = 0; n < 150; n++) {
        const index = random.int(streams.length)
        const text = `${n}:` + "x".repeat(random.int(12) === 0 ? random.int(500_000) : random.int(300))
        const split = random.int(3)
        streams[index]!.send(latin1(text.slice(0, split)), text.slice(split), false)
        sent[index]!.push(text)
        if (random.int(30) === 0) await settle()
      }
      for (const stream of streams) stream.send(empty, "end", true)
      await exchange(a, b, (bytes) => {
        const pieces: Array<Uint8Array> = []
        for (let at = 0; at < bytes.length;) {
          const next = at + 1 + random.int(random.int(2) === 0 ? 100 : 90_000)
          pieces.push(bytes.subarray(at, next))
          at = next
        }
        return pieces
      })
      const got = b.streams.map((heard) => [heard.messages[0], heard.messages.slice(1)])
      const want = sent.map((messages, index) => [`${index}`, [...messages, "end"]])
      expect([seed, got]).toEqual([seed, want])
      for (const heard of b.streams) heard.stream!.send(empty, undefined, true)
      await exchange(a, b)
      expect([seed, a.session.streams(), b.session.streams(), a.closed, b.closed]).toEqual([seed, 0, 0, [], []])
    }
  }, 30_000)

  test("a conversation is the same wherever its bytes are cut", async () => {
    const talk = async (at: number): Promise<number> => {
      const [a, b] = makePair()
      b.onStream = (heard, stream) => {
        heard.onEach = () => void stream.send(empty, `re ${heard.messages.at(-1)}`, heard.ended)
      }
      const first = open(a)
      const second = open(a)
      first.stream.send(latin1("he"), "llo", false)
      second.stream.send(empty, "x".repeat(70), true)
      first.stream.send(empty, "", true)
      await settle()
      const bytes = a.link.taken()
      b.link.handler!.onData(bytes.subarray(0, at))
      b.link.handler!.onData(bytes.subarray(at))
      await exchange(a, b)
      expect([at, first.heard.messages, second.heard.messages]).toEqual([
        at,
        ["re hello", "re "],
        [`re ${"x".repeat(70)}`]
      ])
      return bytes.length
    }
    const length = await talk(0)
    for (let at = 1; at <= length; at++) await talk(at)
  })

  test("early data and bytes after the handshake are the session's first frames", () => {
    const victim = makeEnd("inbound")
    victim.session.receive(data(1, Frame.Flag.Open, latin1("early")), empty)
    expect(victim.streams[0]!.messages).toEqual(["early"])
    victim.session.receive(Uint8Array.of(0), empty)
    expect(victim.closed[0]).toContain("inside the head")
  })

  test("large messages are whole, alone, between small ones and in parts, whether the link sends at once or later", async () => {
    const random = seeded(0x1a46e)
    for (const leaves of [true, false]) {
      const [a, b] = makePair({ windowBytes: 4 * 1024 * 1024 })
      a.link.leaves = leaves
      const { stream } = open(a)
      const sent: Array<string> = []
      // As much as may wait in front of the network, and more, which waits in the stream.
      for (let n = 0; n < 60; n++) {
        const size = random.pick([0, 10, 1_000, 32_767, 32_768, 57_000, 65_510, 65_511, 65_512, 65_536, 200_000])
        const body = random.bytes(size)
        const text = Buffer.from(body).toString("latin1")
        stream.send(Uint8Array.of(n), body, false)
        sent.push(String.fromCharCode(n) + text)
        body.fill(0)
      }
      for (let drained = 0; drained < 10; drained++) {
        await exchange(a, b)
        a.link.handler!.onDrain()
      }
      const [heard] = b.streams
      expect(heard!.messages.length).toBe(sent.length)
      expect(heard!.messages.every((message, n) => message === sent[n])).toBe(true)
    }
  })

  test("what one session's link has not sent, no other session writes over", async () => {
    const random = seeded(0x5a4e)
    const ends = Array.from({ length: 8 }, (_, i) => {
      const [a, b] = makePair({ windowBytes: 4 * 1024 * 1024 })
      a.link.leaves = i % 2 === 0
      return { a, b, stream: open(a).stream, sent: [] as Array<string> }
    })
    for (let n = 0; n < 80; n++) {
      const { sent, stream } = random.pick(ends)
      const body = random.bytes(random.pick([20_000, 40_000, 65_000]))
      stream.send(empty, body, false)
      sent.push(Buffer.from(body).toString("latin1"))
    }
    for (const { a, b, sent } of ends) {
      for (let drained = 0; drained < 3; drained++) {
        await exchange(a, b)
        a.link.handler!.onDrain()
      }
      const messages = b.streams[0]?.messages ?? []
      expect(messages.length).toBe(sent.length)
      expect(messages.every((message, n) => message === sent[n])).toBe(true)
    }
  })

  test("a turn's frames leave in one record", async () => {
    const [a] = makePair({ turnMs: Number.POSITIVE_INFINITY })
    for (let n = 0; n < 64; n++) open(a).stream.send(empty, "a request", true)
    await settle()
    expect(a.link.outbox.length).toBe(1)
    expect(a.link.taken().length).toBe(2 + 64 * (Frame.HEADER_BYTES + 1 + 9) + 16)
  })

  test("a turn that goes on for too long sends what it has", async () => {
    const [a] = makePair({ turnMs: 0 })
    for (let n = 0; n < 64; n++) open(a).stream.send(empty, "a request", true)
    expect(a.link.outbox.length).toBe(1)
    for (let n = 0; n < 640; n++) open(a).stream.send(empty, "a request", true)
    expect(a.link.outbox.length).toBe(11)
    expect(a.link.pushed).toBe(11)
    await settle()
    expect(a.link.outbox.length).toBe(12)
    expect(a.link.pushed).toBe(11)
  })

  test("what a session over a circuit sends early, the session to the relay does not keep back", async () => {
    const [a] = makePair({ turnMs: Number.POSITIVE_INFINITY })
    const circuit = new RelayLink(open(a).stream)
    circuit.write(latin1("early"))
    expect(a.link.outbox.length).toBe(0)
    circuit.push()
    expect(a.link.outbox.length).toBe(1)
    circuit.write(latin1("late"))
    circuit.destroy()
    circuit.push()
    expect(a.link.outbox.length).toBe(1)
    await settle()
    expect(a.link.outbox.length).toBe(2)
  })

  test("all streams together are held to the connection's window", async () => {
    const [a, b] = makePair({ connectionWindowBytes: 1024 * 1024, windowBytes: 256 * 1024 })
    b.onStream = (_heard, stream) => stream.pause()
    const mine = Array.from({ length: 64 }, () => open(a))
    for (const { stream } of mine) for (let n = 0; n < 300; n++) stream.send(new Uint8Array(1_000), undefined, false)
    await exchange(a, b)
    const held = () => b.streams.reduce((sum, heard) => sum + heard.bytes, 0)
    expect(held() > 900_000 && held() <= 1024 * 1024).toBe(true)
    for (const heard of b.streams) heard.stream!.resume()
    b.onStream = () => {}
    await exchange(a, b)
    expect(held()).toBe(64 * 300 * 1_000)
    expect(mine.every(({ heard }) => heard.writable === 1)).toBe(true)
    // What a reset stream held comes back to the connection.
    b.onStream = (_heard, stream) => stream.pause()
    for (let round = 0; round < 30; round++) {
      const { stream } = open(a)
      for (let n = 0; n < 200; n++) stream.send(new Uint8Array(1_000), undefined, false)
      await exchange(a, b)
      stream.reset(ResetCode.Cancelled)
    }
    await exchange(a, b)
    const last = open(a)
    last.stream.send(empty, "through", true)
    await exchange(a, b)
    expect(b.streams.at(-1)!.messages).toEqual(["through"])
  })

  test("a paused stream takes no more than a window of a message that comes in parts", async () => {
    const [a, b] = makePair()
    b.onStream = (_heard, stream) => stream.pause()
    const { heard, stream } = open(a)
    expect(stream.send(new Uint8Array(1024 * 1024), undefined, true)).toBe(false)
    let bytes = 0
    const count = (chunk: Uint8Array): ReadonlyArray<Uint8Array> => {
      bytes += chunk.length
      return [chunk]
    }
    await exchange(a, b, count)
    expect([bytes > WINDOW_BYTES / 2, bytes <= WINDOW_BYTES, b.streams[0]!.messages.length]).toEqual([true, true, 0])
    b.streams[0]!.stream!.resume()
    await exchange(a, b, count)
    expect([b.streams[0]!.bytes, b.streams[0]!.ended, heard.codes]).toEqual([1024 * 1024, true, []])
  })

  test("messages whose parts never end are held to a budget", async () => {
    const { say, victim } = makeHostile({ maxReassemblyBytes: 256 * 1024 })
    const part = new Uint8Array(60_000)
    for (let id = 1; id < 21; id += 2) say(data(id, Frame.Flag.Open | Frame.Flag.More, part))
    const codes = victim.streams.flatMap((heard) => heard.codes)
    expect([codes.length > 5, codes.every((code) => code === ResetCode.Overloaded)]).toEqual([true, true])
    expect(victim.session.state()).toBe("open")
  })

  test("a message of endless parts is refused at the largest size", () => {
    const { say, victim } = makeHostile()
    const part = new Uint8Array(60_000)
    say(data(1, Frame.Flag.Open | Frame.Flag.More, part))
    for (let sent = part.length; sent <= MAX_MESSAGE_BYTES; sent += part.length) say(data(1, Frame.Flag.More, part))
    expect(victim.streams[0]!.codes).toEqual([ResetCode.Malformed])
    expect(victim.streams[0]!.messages).toEqual([])
  })

  test("streams beyond the limit are reset, the others live", async () => {
    const { say, victim } = makeHostile({ maxStreams: 3 })
    for (let id = 1; id < 11; id += 2) say(data(id, Frame.Flag.Open, latin1("x")))
    expect([victim.streams.length, victim.session.streams(), victim.session.state()]).toEqual([3, 3, "open"])
    say(data(1, 0, latin1("still here")))
    expect(victim.streams[0]!.messages).toEqual(["x", "still here"])
  })

  const violations: ReadonlyArray<readonly [string, string, ReadonlyArray<Uint8Array>]> = [
    ["garbage", "unknown type", [Uint8Array.of(0x0f, 0, 0, 0, 0, 0, 0)]],
    ["a frame cut short", "inside the head", [Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 0, 0)]],
    ["a stream opened twice", "which is open", [data(1, 0x10, empty), data(1, 0x10, empty)]],
    ["a stream that is not the peer's to open", "not the peer's", [data(2, 0x10, empty)]],
    ["a message after the last", "after the last", [data(1, 0x30, empty), data(1, 0, latin1("x"))]],
    ["a stream opened after GOAWAY", "after GOAWAY", [Uint8Array.of(5, 0, 0, 0, 0, 0, 0), data(1, 0x10, empty)]]
  ]
  for (const [name, why, frames] of violations) {
    test(`${name} closes the connection with a reason`, () => {
      const { say, victim } = makeHostile()
      say(data(9, Frame.Flag.Open, latin1("before")))
      say(...frames)
      expect([victim.session.state(), victim.link.state, victim.closed.length]).toEqual(["closed", "destroyed", 1])
      expect(victim.closed[0]).toContain(why)
      expect(victim.streams[0]!.codes).toEqual([ResetCode.Disconnected])
      say(data(11, Frame.Flag.Open, latin1("after")))
      expect(victim.streams.some((heard) => heard.messages.includes("after"))).toBe(false)
    })
  }

  test("a peer that sends beyond its windows is cut off", () => {
    const stream = makeHostile()
    stream.victim.onStream = (_heard, each) => each.pause()
    stream.say(data(1, Frame.Flag.Open, empty))
    for (let n = 0; n < 11; n++) stream.say(data(1, 0, new Uint8Array(50_000)))
    expect(stream.victim.closed[0]).toContain("window of stream 1")
    expect(stream.victim.streams[0]!.bytes <= WINDOW_BYTES).toBe(true)
    const connection = makeHostile({ connectionWindowBytes: 100_000 })
    connection.victim.onStream = (_heard, each) => each.pause()
    connection.say(data(1, Frame.Flag.Open, new Uint8Array(60_000)))
    connection.say(data(3, Frame.Flag.Open, new Uint8Array(60_000)))
    expect(connection.victim.closed[0]).toContain("the connection's window")
  })

  test("a record that was altered, repeated, left out or reordered ends the session", async () => {
    const injuries: ReadonlyArray<readonly [string, (records: Array<Uint8Array>) => ReadonlyArray<Uint8Array>]> = [
      [
        "altered",
        (records) =>
          records.map((bytes, i) => (i === 1 ? bytes.map((byte, at) => (at === 9 ? byte ^ 1 : byte)) : bytes))
      ],
      ["repeated", (records) => [records[0]!, records[0]!, records[1]!]],
      ["left out", (records) => [records[0]!, records[2]!]],
      ["reordered", (records) => [records[0]!, records[2]!, records[1]!]]
    ]
    for (const [name, injure] of injuries) {
      const [a, b] = makePair()
      const { stream } = open(a)
      const records: Array<Uint8Array> = []
      for (const text of ["one", "two", "three"]) {
        stream.send(empty, text, false)
        await settle()
        records.push(a.link.taken())
      }
      for (const bytes of injure(records)) b.link.handler!.onData(bytes)
      expect([name, b.streams[0]!.messages, b.streams[0]!.codes, b.session.state()]).toEqual([
        name,
        ["one"],
        [ResetCode.Disconnected],
        "closed"
      ])
      expect(b.closed[0]).toContain("does not open")
    }
  })

  test("100,000 hostile records, properly sealed, close the session or are served, and never throw", () => {
    const random = seeded(15)
    const valid = Buffer.concat([
      data(1, Frame.Flag.Open, latin1("hello")),
      data(1, Frame.Flag.More, latin1("part")),
      data(3, Frame.Flag.Open | Frame.Flag.Last, latin1("x"), 9),
      Uint8Array.of(1, 0, 0, 0, 1, 0, 4, 0, 0, 1, 0),
      Uint8Array.of(2, 0, 0, 0, 1, 0, 1, 0),
      Uint8Array.of(3, 0, 0, 0, 0, 0, 0)
    ])
    let closed = 0
    let hostile = makeHostile()
    forRounds(random, 100_000, () => {
      hostile.say(random.int(4) === 0 ? random.bytes(7 + random.int(30)) : mutate(random, valid))
      if (hostile.victim.session.state() === "open") return
      closed++
      if (hostile.victim.closed.length !== 1) throw new Error(`closed ${hostile.victim.closed.length} times`)
      hostile = makeHostile()
    })
    hostile.victim.session.close("done")
    expect(closed > 10_000).toBe(true)
  }, 60_000)

  test("a handler that throws costs its own connection, with a reason", async () => {
    const [a, b] = makePair()
    b.onStream = (heard) => {
      heard.onEach = () => {
        throw new Error("oops")
      }
    }
    open(a).stream.send(empty, "boom", true)
    await exchange(a, b)
    expect(b.closed).toEqual(["a handler of this node threw: oops"])
  })

  test("a silent peer is asked, and dropped when it stays silent", async () => {
    const limits = { keepaliveMs: 30, deadAfterMs: 90 }
    const a = makeEnd("outbound", limits)
    await until("a PING left", () => a.link.outbox.length > 0)
    expect(a.link.taken().length).toBe(2 + Frame.HEADER_BYTES + 16)
    await until("it gave up", () => a.closed.length > 0)
    expect(a.closed[0]).toContain("silent for")
  })

  test("a node that stood still asks its peer before it gives it up", async () => {
    const a = makeEnd("outbound")
    const now = performance.now()
    a.session.tick(now)
    a.session.tick(now + 3_600_000)
    await settle()
    expect([a.session.state(), a.link.outbox.length]).toEqual(["open", 1])
    a.session.tick(now + 3_600_001)
    expect(a.closed[0]).toContain("silent for 3600001 ms")
  })

  test("a peer that answers is kept", async () => {
    const a = makeEnd("outbound", { keepaliveMs: 20, deadAfterMs: 2_000 })
    const b = makeEnd("inbound")
    let pongs = 0
    for (let n = 0; n < 3; n++) {
      await until("a PING left", () => a.link.outbox.length > 0)
      b.link.handler!.onData(a.link.taken())
      await settle()
      const answer = b.link.taken()
      if (answer.length > 0) pongs++
      a.link.handler!.onData(answer)
    }
    expect([pongs > 0, a.session.state()]).toEqual([true, "open"])
    a.session.close("done")
    b.session.close("done")
  })

  test("a peer that does not read makes streams queue, and is dropped when nothing moves", async () => {
    const [a, b] = makePair({ stallTimeoutMs: 60, keepaliveMs: 10_000 })
    a.link.leaves = false
    const mine = Array.from({ length: 40 }, () => open(a))
    for (const { stream } of mine) for (let n = 0; n < 4; n++) stream.send(new Uint8Array(60_000), undefined, false)
    await settle()
    expect([a.session.congested, a.link.unsent() < MAX_UNSENT_BYTES]).toEqual([true, true])
    expect(mine.at(-1)!.stream.send(empty, "more", false)).toBe(false)
    await until("it was dropped", () => a.closed.length > 0)
    expect(a.closed[0]).toContain("stopped reading")
    expect(mine.every(({ heard }) => heard.codes.length === 1)).toBe(true)
    b.session.close("done")
  })

  test("a peer that reads again is served on", async () => {
    const [a, b] = makePair()
    a.link.leaves = false
    const mine = Array.from({ length: 40 }, () => open(a))
    for (const { stream } of mine) {
      for (let n = 0; n < 4; n++) stream.send(new Uint8Array(60_000), undefined, false)
      stream.send(empty, "end", true)
    }
    await settle()
    a.link.leaves = true
    b.link.handler!.onData(a.link.taken())
    a.link.handler!.onDrain()
    await exchange(a, b)
    expect(b.streams.map((heard) => [heard.bytes, heard.ended])).toEqual(b.streams.map(() => [240_003, true]))
    expect(b.streams.length).toBe(40)
  })

  test("control frames for a peer that does not read are bounded, too", async () => {
    const { say, victim } = makeHostile()
    victim.link.leaves = false
    for (let said = 0; victim.session.state() === "open" && said < 3_000_000; said += 2_000) {
      // Each of these streams is refused with a RESET.
      const frames = Array.from({ length: 2_000 }, (_, n) =>
        data(1 + 2 * (said + n), Frame.Flag.Open | Frame.Flag.Last, empty, 99)
      )
      say(...frames)
      await settle()
    }
    expect(victim.closed[0]).toContain("stopped reading")
    expect(victim.link.unsent() < 2 * MAX_UNSENT_BYTES).toBe(true)
  }, 30_000)

  test("what waits for a peer that does not read is bounded over all streams", async () => {
    const [a, b] = makePair({ maxQueuedBytes: 3_000_000 })
    a.link.leaves = false
    for (let n = 0; n < 100 && a.session.state() === "open"; n++) {
      open(a).stream.send(new Uint8Array(200_000), undefined, false)
    }
    expect(a.closed[0]).toContain("is full")
    b.session.close("done")
  })
})
