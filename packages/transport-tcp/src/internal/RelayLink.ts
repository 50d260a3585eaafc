/** A relay circuit as a link: bytes ride as messages of a stream to the relay. */
import { ResetCode } from "@parley/core/Transport"
import type { Stream, StreamHandler } from "@parley/core/Transport"
import type { Keeper, KeptLink, LinkHandler } from "./ByteLink.ts"
import type { Session } from "./Session.ts"
import { SessionStream } from "./SessionStream.ts"

const nobody: LinkHandler = { onData: () => {}, onDrain: () => {}, onClose: () => {} }

/** What a reset of the stream under a circuit means to the session over it. */
export const explain = (code: ResetCode): string => {
  switch (code) {
    case ResetCode.Disconnected:
      return "the connection to the relay, or the relay's to the peer, went"
    case ResetCode.Overloaded:
      return "the relay ended the circuit: its quota of bytes or time is used up"
    case ResetCode.UnknownProtocol:
      return "the other end does not relay"
    case ResetCode.TooSlow:
      return "the circuit was too slow for what was sent"
    default:
      return "the other end closed the circuit"
  }
}

export class RelayLink implements KeptLink, StreamHandler {
  keeper: Keeper | undefined
  readonly #stream: Stream
  readonly #session: Session | undefined
  #handler: LinkHandler = nobody
  #blocked = false
  #unsent = 0
  #over = false

  constructor(stream: Stream) {
    this.#stream = stream
    this.#session = stream instanceof SessionStream ? stream.session : undefined
  }

  attach(handler: LinkHandler): void {
    this.#handler = handler
  }

  write(bytes: Uint8Array): void {
    if (this.#over) return
    if (!this.#stream.send(bytes, undefined, false)) this.#blocked = true
    if (this.#blocked) this.#unsent += bytes.length
  }

  /** The session to the relay would gather what the one over the circuit sends early. */
  push(): void {
    if (!this.#over) this.#session?.push()
  }

  unsent(): number {
    return this.#unsent
  }

  close(): void {
    if (this.#over) return
    this.#handler = nobody
    this.#over = true
    this.#stream.send(empty, undefined, true)
  }

  destroy(): void {
    this.#handler = nobody
    this.#over = true
    this.#stream.reset(ResetCode.Cancelled)
    this.#gone()
  }

  onMessage(message: Uint8Array, last: boolean): void {
    if (message.length > 0) this.#handler.onData(message)
    if (!last) return
    const handler = this.#handler
    this.close()
    handler.onClose("the peer closed the connection")
    this.#gone()
  }

  onWritable(): void {
    this.#blocked = false
    this.#unsent = 0
    this.#handler.onDrain()
  }

  onClosed(code: ResetCode): void {
    const handler = this.#handler
    this.#handler = nobody
    this.#over = true
    handler.onClose(explain(code))
    this.#gone()
  }

  #gone(): void {
    this.keeper?.gone(this)
    this.keeper = undefined
  }
}

const empty = new Uint8Array(0)
