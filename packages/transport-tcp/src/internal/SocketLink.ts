/** A TCP socket as a link. */
import type { Socket } from "node:net"
import type { Keeper, KeptLink, LinkHandler } from "./ByteLink.ts"

/** How long the last bytes may take to leave after `close`, and the peer to close too. */
export const CLOSE_GRACE_MS = 1_000

const nobody: LinkHandler = { onData: () => {}, onDrain: () => {}, onClose: () => {} }
const closing: LinkHandler = { ...nobody }

export class SocketLink implements KeptLink {
  keeper: Keeper | undefined
  readonly #socket: Socket
  #handler: LinkHandler = nobody

  constructor(socket: Socket) {
    this.#socket = socket
    let why = "the peer closed the connection"
    socket.on("data", (chunk: Uint8Array) => this.#handler.onData(chunk))
    socket.on("drain", () => this.#handler.onDrain())
    socket.on("error", (error: Error) => {
      why = `the connection broke: ${error.message}`
    })
    socket.on("end", () => this.#over(why))
    socket.on("close", () => {
      this.#over(why)
      this.keeper?.gone(this)
      this.keeper = undefined
    })
  }

  attach(handler: LinkHandler): void {
    this.#handler = handler
  }

  /** Hands bytes that were looked at to whoever has taken over. */
  again(chunk: Uint8Array): void {
    this.#handler.onData(chunk)
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** A socket writes at once. */
  push(): void {}

  unsent(): number {
    return this.#socket.writableLength
  }

  close(): void {
    if (this.#handler === closing) return
    this.#handler = closing
    const socket = this.#socket
    const timer = setTimeout(() => socket.destroy(), CLOSE_GRACE_MS)
    timer.unref()
    socket.once("close", () => clearTimeout(timer))
    socket.end()
  }

  destroy(): void {
    this.#handler = closing
    this.#socket.destroy()
  }

  #over(why: string): void {
    const handler = this.#handler
    this.#handler = closing
    handler.onClose(why)
  }
}
