/**
 * Bare TCP: frames of the payload's size behind a length, sent back as they came. What comes in one chunk is answered by one
 * write, and what is asked in one turn leaves in one write: as fast as this runtime's sockets move such frames at all.
 */
import { connect, createServer, type Socket } from "node:net"
import { once } from "node:events"
import type { Load } from "./Load.ts"
import { type Asker, type Path, payloadOf } from "./Path.ts"

const LENGTH_BYTES = 4

/** Calls back for each whole frame; what is not whole waits for the next chunk. */
const framesOf = (onFrames: (frames: Buffer, count: number) => void) => {
  let rest: Buffer | undefined
  return (chunk: Buffer): void => {
    const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    let count = 0
    while (at + LENGTH_BYTES <= bytes.length) {
      const end = at + LENGTH_BYTES + bytes.readUInt32BE(at)
      if (end > bytes.length) break
      at = end
      count += 1
    }
    rest = at === bytes.length ? undefined : Buffer.from(bytes.subarray(at))
    if (count > 0) onFrames(bytes.subarray(0, at), count)
  }
}

const frameOf = (bytes: number): Buffer => {
  const body = Buffer.from(JSON.stringify(payloadOf(bytes)))
  const frame = Buffer.alloc(LENGTH_BYTES + body.length)
  frame.writeUInt32BE(body.length)
  frame.set(body, LENGTH_BYTES)
  return frame
}

const answer = async (): Promise<string> => {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy())
    socket.on(
      "data",
      framesOf((frames) => socket.write(Buffer.from(frames)))
    )
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the echo has no port")
  return `tcp://127.0.0.1:${address.port}`
}

class EchoAsker implements Asker {
  readonly #socket: Socket
  readonly #frame: Buffer
  /** When each request in flight was sent; answers come in order. */
  #sentAt: Array<number> = []
  #load: Load | undefined
  #done: (() => void) | undefined

  constructor(socket: Socket, bytes: number) {
    this.#socket = socket
    this.#frame = frameOf(bytes)
    socket.on(
      "data",
      framesOf((_, count) => this.#answered(count))
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
    this.#socket.write(out)
  }

  #answered(count: number): void {
    const load = this.#load!
    for (let i = 0; i < count; i++) load.answered(this.#sentAt[i]!)
    this.#sentAt.splice(0, count)
    if (!load.over) this.#send(count)
    else if (this.#sentAt.length === 0) this.#done?.()
  }
}

/** Bare TCP. */
export const echoPath: Path = {
  answer,
  ask: async (address, bytes) => {
    const { hostname, port } = new URL(address)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, "connect")
    return new EchoAsker(socket, bytes)
  }
}
