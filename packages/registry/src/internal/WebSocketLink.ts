/** One WebSocket connection after its handshake, at either end. */
import { Buffer } from "node:buffer"
import type { Socket } from "node:net"
import { CloseCode, closePayload, encodeFrame, Fault, FrameReader, Opcode } from "./WebSocketFrames.ts"

/** Bytes that may wait for a slow reader: a few of the largest messages. Beyond, the connection is cut. */
export const MAX_WAITING_BYTES = 4 * 1_048_576
/** How often the peer is pinged, in milliseconds; one that has said nothing for two rounds is gone. */
export const PING_MS = 20_000
/** How long the peer may take to answer a close, in milliseconds. */
const CLOSE_MS = 1_000

/** Who hears what comes on a connection. */
export interface Listener {
  readonly onMessage: (text: string) => void
  /** Once, whatever ended it. */
  readonly onClosed: (code: number, reason: string) => void
}

/** One WebSocket connection. */
export class WebSocketLink {
  readonly #socket: Socket
  readonly #client: boolean
  readonly #reader: FrameReader
  readonly #maxBytes: number
  readonly #pinging: ReturnType<typeof setInterval>
  #listener: Listener | undefined
  #early: Array<string> = []
  #heard = true
  #closing = false
  #ended: { readonly code: number; readonly reason: string } | undefined
  #said: { readonly code: number; readonly reason: string } | undefined

  /** `head`: bytes that came behind the handshake. */
  constructor(
    socket: Socket,
    options: { readonly client: boolean; readonly maxBytes: number; readonly head: Uint8Array }
  ) {
    this.#socket = socket
    this.#client = options.client
    this.#maxBytes = options.maxBytes
    this.#reader = new FrameReader({
      masked: !options.client,
      maxBytes: options.maxBytes,
      sink: {
        onMessage: (text) => {
          if (this.#listener === undefined) this.#early.push(text)
          else this.#listener.onMessage(text)
        },
        onPing: (payload) => this.#write(Opcode.Pong, payload),
        onPong: () => undefined,
        onClose: (code, reason) => {
          this.#said ??= { code, reason }
          this.close(code === CloseCode.NoStatus ? CloseCode.Normal : code, "")
          socket.end()
        }
      }
    })
    socket.setNoDelay(true)
    socket.on("data", (bytes: Buffer) => this.#push(bytes))
    socket.on("error", () => socket.destroy())
    socket.on("close", () => this.#end())
    this.#pinging = setInterval(() => {
      if (!this.#heard) return void socket.destroy()
      this.#heard = false
      this.#write(Opcode.Ping, new Uint8Array())
    }, PING_MS)
    this.#pinging.unref?.()
    if (options.head.length > 0) this.#push(options.head)
  }

  get closed(): boolean {
    return this.#closing || this.#ended !== undefined
  }

  /** Hands over what came, and what comes from now on. The last one to listen is told. */
  listen(listener: Listener): void {
    this.#listener = listener
    for (const text of this.#early.splice(0)) listener.onMessage(text)
    if (this.#ended !== undefined) listener.onClosed(this.#ended.code, this.#ended.reason)
  }

  /** Whether it was taken: not on a closed connection, nor what is larger than a message may be. */
  send(text: string): boolean {
    const bytes = Buffer.from(text)
    if (this.closed || bytes.length > this.#maxBytes) return false
    this.#write(Opcode.Text, bytes)
    return true
  }

  /** Closes in good order; the peer has a second to agree. */
  close(code: number = CloseCode.Normal, reason = ""): void {
    if (this.closed) return
    this.#write(Opcode.Close, closePayload(code, reason))
    this.#closing = true
    this.#said ??= { code, reason }
    setTimeout(() => this.#socket.destroy(), CLOSE_MS).unref?.()
  }

  /** Ends it at once. */
  destroy(): void {
    this.#socket.destroy()
  }

  #push(bytes: Uint8Array): void {
    this.#heard = true
    if (this.#ended !== undefined) return
    try {
      this.#reader.push(bytes)
    } catch (fault) {
      const { code, message } = fault instanceof Fault ? fault : new Fault(CloseCode.InternalError, "internal error")
      this.#said ??= { code, reason: message }
      this.close(code, message)
      this.#socket.removeAllListeners("data")
      // What still comes is not read: a reader that stopped would wait for ever for the peer to be done.
      this.#socket.resume()
      this.#socket.end()
    }
  }

  #write(opcode: number, payload: Uint8Array): void {
    if (this.closed) return
    this.#socket.write(encodeFrame(opcode, payload, this.#client))
    if (this.#socket.writableLength > MAX_WAITING_BYTES) this.#socket.destroy()
  }

  #end(): void {
    if (this.#ended !== undefined) return
    clearInterval(this.#pinging)
    this.#ended = this.#said ?? { code: CloseCode.Abnormal, reason: "the connection broke" }
    this.#listener?.onClosed(this.#ended.code, this.#ended.reason)
  }
}
