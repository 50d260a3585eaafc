/** Two sessions over a link in memory, with levers: how bytes are cut, changed, held back or not taken. */
import * as Identity from "@parley/core/Identity"
import type { ResetCode, Stream, StreamHandler } from "@parley/core/Transport"
import { CipherState } from "@parley/transport-tcp/CipherState"
import * as CipherSuite from "@parley/transport-tcp/CipherSuite"
import * as Frame from "@parley/transport-tcp/Frame"
import { sessionDefaults } from "@parley/transport-tcp/Limits"
import type { SessionLimits } from "@parley/transport-tcp/Limits"
import type { Budget } from "../src/internal/Budget.ts"
import type { ByteLink, LinkHandler } from "../src/internal/ByteLink.ts"
import { Session } from "../src/internal/Session.ts"

export const protocol = 200

/** One end of a link. What is written waits in `outbox` until somebody delivers it. */
export class TestLink implements ByteLink {
  handler: LinkHandler | undefined
  outbox: Array<Uint8Array> = []
  /** False: what was written counts as not having left. */
  leaves = true
  pushed = 0
  state: "open" | "closing" | "destroyed" = "open"

  attach(handler: LinkHandler): void {
    this.handler = handler
  }
  write(bytes: Uint8Array): void {
    // A link that says it has nothing left to send may keep nothing of what it was given.
    this.outbox.push(this.leaves ? Uint8Array.from(bytes) : bytes)
  }
  push(): void {
    this.pushed++
  }
  unsent(): number {
    return this.leaves ? 0 : this.outbox.reduce((sum, bytes) => sum + bytes.length, 0)
  }
  close(): void {
    this.state = "closing"
  }
  destroy(): void {
    this.state = "destroyed"
  }
  /** Takes what was written. */
  taken(): Uint8Array {
    const bytes = new Uint8Array(Buffer.concat(this.outbox))
    this.outbox = []
    return bytes
  }
}

/** Everything a stream was told. */
export class Heard implements StreamHandler {
  readonly messages: Array<string> = []
  readonly codes: Array<ResetCode> = []
  bytes = 0
  writable = 0
  ended = false
  onEach: (() => void) | undefined
  readonly stream: Stream | undefined

  constructor(stream?: Stream) {
    this.stream = stream
  }
  onMessage(message: Uint8Array, last: boolean): void {
    this.bytes += message.length
    this.messages.push(Buffer.from(message).toString("latin1"))
    if (last) this.ended = true
    this.onEach?.()
  }
  onWritable(): void {
    this.writable++
  }
  onClosed(code: ResetCode): void {
    this.codes.push(code)
  }
}

/** A session, its link, and what its owner was told. */
export interface End {
  readonly session: Session
  readonly link: TestLink
  readonly streams: Array<Heard>
  readonly closed: Array<string>
  /** What happens to each stream that the peer opens. */
  onStream: (heard: Heard, stream: Stream) => void
}

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)

/** The cipher of one direction: both ends make the same. */
export const cipher = (fill: number): CipherState => new CipherState(CipherSuite.available()[0]!, key(fill))

/** One end; `outbound` sends under key 1 and reads under key 2. */
export const makeEnd = (
  direction: "outbound" | "inbound",
  limits: Partial<SessionLimits> = {},
  budget?: Budget
): End => {
  const link = new TestLink()
  const all: SessionLimits = { ...sessionDefaults, ...limits }
  const [send, receive] = direction === "outbound" ? [1, 2] : [2, 1]
  const end: Omit<End, "session"> & { session: Session | undefined } = {
    session: undefined,
    link,
    streams: [],
    closed: [],
    onStream: () => {}
  }
  end.session = new Session({
    link,
    send: cipher(send!),
    receive: cipher(receive!),
    peer: Identity.fromSeed(key(direction === "outbound" ? 4 : 3)).nodeId,
    address: "tcp://test:1",
    direction,
    relayed: false,
    peerMaxFrame: Frame.MAX_RECORD_BYTES,
    peerSettings: all,
    limits: all,
    ...(budget === undefined ? {} : { budget }),
    owner: {
      onStream: (_connection, number, stream) => {
        if (number !== protocol) return undefined
        const heard = new Heard(stream)
        end.streams.push(heard)
        end.onStream(heard, stream)
        return heard
      },
      onClosed: (_connection, why) => void end.closed.push(why)
    },
    prefix: undefined
  })
  return end as End
}

export const makePair = (limits: Partial<SessionLimits> = {}): readonly [End, End] => [
  makeEnd("outbound", limits),
  makeEnd("inbound", limits)
]

/** Lets every microtask that is due run. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Delivers what waits, both ways, in pieces as `cut` says, until nothing more comes. */
export const exchange = async (
  a: End,
  b: End,
  cut: (bytes: Uint8Array) => ReadonlyArray<Uint8Array> = (bytes) => [bytes]
): Promise<void> => {
  for (let quiet = 0; quiet < 2;) {
    await settle()
    quiet = a.link.outbox.length + b.link.outbox.length === 0 ? quiet + 1 : 0
    for (const [from, to] of [
      [a, b],
      [b, a]
    ] as const) {
      const bytes = from.link.taken()
      if (bytes.length > 0) for (const piece of cut(bytes)) to.link.handler!.onData(piece)
    }
  }
}

/** A hostile peer of an inbound session: seals whatever frames it likes. */
export const makeHostile = (limits: Partial<SessionLimits> = {}, budget?: Budget) => {
  const victim = makeEnd("inbound", limits, budget)
  const seal = cipher(1)
  return {
    victim,
    /** Delivers one record with these frames, properly sealed. */
    say: (...frames: ReadonlyArray<Uint8Array>): void => {
      const plaintext = new Uint8Array(Buffer.concat(frames))
      const out = new Uint8Array(2 + plaintext.length + 16)
      out[0] = (plaintext.length + 16) >>> 8
      out[1] = plaintext.length + 16
      seal.seal(out, 2, plaintext)
      victim.link.handler!.onData(out)
    }
  }
}

/** A DATA frame. */
export const data = (stream: number, flags: number, body: Uint8Array, number = protocol): Uint8Array => {
  const open = (flags & Frame.Flag.Open) === 0 ? 0 : 1
  const out = new Uint8Array(Frame.HEADER_BYTES + open + body.length)
  Frame.writeHeader(out, 0, flags, stream, open + body.length)
  if (open === 1) out[Frame.HEADER_BYTES] = number
  out.set(body, Frame.HEADER_BYTES + open)
  return out
}
