/**
 * Bare TCP: frames of the payload's size behind a length, sent back as they came. What comes in one chunk is answered by one
 * write, and what is asked in one turn leaves in one write: as fast as this runtime's sockets move such frames at all.
 *
 * The same sealed is the ceiling of an encrypted transport: AES-256-GCM by `node:crypto`, once with each frame sealed by itself,
 * and once with all that leaves in one write sealed as one record.
 */
import { connect, createServer, type Socket } from "node:net"
import { once } from "node:events"
import { framesOf, LENGTH_BYTES } from "./Frames.ts"
import type { Load } from "./Load.ts"
import { type Asker, type Path, payloadOf } from "./Path.ts"
import { type Sealing, sealingOf, TAG_BYTES } from "./Sealing.ts"

/** How frames are turned into what goes over the wire and back. */
export interface Wire {
  /** Bytes that the wire carries for frames that stand one behind the other. */
  readonly seal: (frames: Buffer) => Buffer
  /** Calls back with the frames of each chunk, and their number. */
  readonly open: (onFrames: (frames: Buffer, count: number) => void) => (chunk: Buffer) => void
}

const plain = (): Wire => ({ seal: (frames) => Buffer.from(frames), open: framesOf })

/** Each frame sealed by itself. */
const sealedFrames = (sealing: Sealing): Wire => ({
  seal: (frames) => {
    let count = 0
    for (let at = 0; at < frames.length; count++) at += LENGTH_BYTES + frames.readUInt32BE(at)
    const out = Buffer.allocUnsafe(frames.length + count * TAG_BYTES)
    let to = 0
    for (let at = 0; at < frames.length;) {
      const end = at + LENGTH_BYTES + frames.readUInt32BE(at)
      to = out.writeUInt32BE(end - at - LENGTH_BYTES + TAG_BYTES, to)
      to = sealing.seal(frames.subarray(at + LENGTH_BYTES, end), out, to)
      at = end
    }
    return out
  },
  open: (onFrames) =>
    framesOf((sealed, count) => {
      const frames = Buffer.allocUnsafe(sealed.length - count * TAG_BYTES)
      let to = 0
      for (let at = 0; at < sealed.length;) {
        const end = at + LENGTH_BYTES + sealed.readUInt32BE(at)
        to = frames.writeUInt32BE(end - at - LENGTH_BYTES - TAG_BYTES, to)
        to += sealing.open(sealed.subarray(at + LENGTH_BYTES, end)).copy(frames, to)
        at = end
      }
      onFrames(frames, count)
    })
})

/** The longest record, as in Parley's session. */
const RECORD_BYTES = 65_535 - TAG_BYTES

/** All that leaves in one write sealed as one record; several where it is longer than one may be. */
const sealedRecords = (sealing: Sealing): Wire => ({
  seal: (frames) => {
    const records = Math.ceil(frames.length / RECORD_BYTES)
    const out = Buffer.allocUnsafe(frames.length + records * (LENGTH_BYTES + TAG_BYTES))
    let to = 0
    for (let at = 0; at < frames.length; at += RECORD_BYTES) {
      const plaintext = frames.subarray(at, at + RECORD_BYTES)
      to = out.writeUInt32BE(plaintext.length + TAG_BYTES, to)
      to = sealing.seal(plaintext, out, to)
    }
    return out
  },
  open: (onFrames) => {
    const inner = framesOf(onFrames)
    return framesOf((sealed) => {
      for (let at = 0; at < sealed.length;) {
        const end = at + LENGTH_BYTES + sealed.readUInt32BE(at)
        inner(sealing.open(sealed.subarray(at + LENGTH_BYTES, end)))
        at = end
      }
    })
  }
})

const answer = async (wireOf: () => Wire): Promise<string> => {
  const server = createServer({ noDelay: true }, (socket) => {
    const wire = wireOf()
    socket.on("error", () => socket.destroy())
    socket.on(
      "data",
      wire.open((frames) => socket.write(wire.seal(frames)))
    )
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the echo has no port")
  return `tcp://127.0.0.1:${address.port}`
}

const frameOf = (bytes: number): Buffer => {
  const body = Buffer.from(JSON.stringify(payloadOf(bytes)))
  const frame = Buffer.alloc(LENGTH_BYTES + body.length)
  frame.writeUInt32BE(body.length)
  frame.set(body, LENGTH_BYTES)
  return frame
}

class EchoAsker implements Asker {
  readonly #socket: Socket
  readonly #wire: Wire
  readonly #frame: Buffer
  /** When each request in flight was sent; answers come in order. */
  #sentAt: Array<number> = []
  #load: Load | undefined
  #done: (() => void) | undefined

  constructor(socket: Socket, wire: Wire, bytes: number) {
    this.#socket = socket
    this.#wire = wire
    this.#frame = frameOf(bytes)
    socket.on(
      "data",
      wire.open((_, count) => this.#answered(count))
    )
  }

  run(inflight: number, load: Load): Promise<void> {
    this.#load = load
    return new Promise((resolve) => {
      this.#done = resolve
      this.#send(inflight)
    })
  }

  #send(count: number): void {
    const now = performance.now()
    for (let i = 0; i < count; i++) this.#sentAt.push(now)
    const { length } = this.#frame
    const out = Buffer.allocUnsafe(count * length)
    for (let i = 0; i < count; i++) out.set(this.#frame, i * length)
    this.#socket.write(this.#wire.seal(out))
  }

  #answered(count: number): void {
    const load = this.#load!
    for (let i = 0; i < count; i++) load.answered(this.#sentAt[i]!)
    this.#sentAt.splice(0, count)
    if (!load.over) this.#send(count)
    else if (this.#sentAt.length === 0) this.#done?.()
  }
}

const pathOf = (wireOf: (role: "ask" | "answer") => Wire): Path => ({
  answer: () => answer(() => wireOf("answer")),
  ask: async (address, bytes) => {
    const { hostname, port } = new URL(address)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, "connect")
    return new EchoAsker(socket, wireOf("ask"), bytes)
  }
})

/** Bare TCP. */
export const echoPath: Path = pathOf(plain)

/** Each frame sealed by itself. */
export const aesEchoPath: Path = pathOf((role) => sealedFrames(sealingOf(role)))

/** All that leaves in one write sealed as one record. */
export const aesRecordsPath: Path = pathOf((role) => sealedRecords(sealingOf(role)))
