/**
 * js-libp2p at its fastest: one stream for all requests, frames behind a length, answers in the order of the requests. All that
 * comes in one message is answered in one, and all that is asked in one turn leaves in one.
 */
import { type Path, type Payload, payloadOf } from "../src/Path.ts"
import { lanes } from "./Lanes.ts"
import { dial, open, serve, type Stream } from "./Libp2p.ts"

const LENGTH_BYTES = 4

/** Sends payloads, those of one turn together, and gives those that come. */
class Framed {
  readonly #stream: Stream
  readonly #onPayload: (payload: Payload) => void
  #outgoing: Array<Buffer> = []
  #rest: Buffer | undefined

  constructor(stream: Stream, onPayload: (payload: Payload) => void) {
    this.#stream = stream
    this.#onPayload = onPayload
    stream.addEventListener("message", ({ data }) => this.#received(data.subarray()))
  }

  send(payload: Payload): void {
    const text = JSON.stringify(payload)
    const frame = Buffer.allocUnsafe(LENGTH_BYTES + Buffer.byteLength(text))
    frame.writeUInt32BE(frame.length - LENGTH_BYTES)
    frame.write(text, LENGTH_BYTES)
    if (this.#outgoing.push(frame) === 1) queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    this.#stream.send(Buffer.concat(this.#outgoing))
    this.#outgoing = []
  }

  #received(data: Uint8Array): void {
    const chunk = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (at + LENGTH_BYTES <= bytes.length) {
      const end = at + LENGTH_BYTES + bytes.readUInt32BE(at)
      if (end > bytes.length) break
      this.#onPayload(JSON.parse(bytes.toString("utf8", at + LENGTH_BYTES, end)) as Payload)
      at = end
    }
    this.#rest = at === bytes.length ? undefined : Buffer.from(bytes.subarray(at))
  }
}

const path: Path = {
  answer: () =>
    serve((stream) => {
      const framed = new Framed(stream, (payload) => framed.send(payload))
    }),
  ask: async (address, bytes) => {
    const stream = await open(await dial(address))
    const waiting: Array<(payload: Payload) => void> = []
    const framed = new Framed(stream, (payload) => waiting.shift()!(payload))
    const payload = payloadOf(bytes)
    return lanes(
      payload,
      () =>
        new Promise((resolve) => {
          waiting.push(resolve)
          framed.send(payload)
        })
    )
  }
}

export default path
