/** Runs a handshake over a link: from bytes to keys and a proven peer, in bounded time. */
import type { TransportErrorReason } from "@parley/core/Transport"
import type * as Handshake from "../Handshake.ts"
import type { HandshakeError } from "../HandshakeError.ts"
import type { ByteLink } from "./ByteLink.ts"

export interface EstablishOptions {
  readonly link: ByteLink
  readonly handshake: Handshake.Handshake
  /** The other end, for errors. */
  readonly address: string
  /** Time left for the handshake. */
  readonly timeoutMs: number
  /** Time that the whole attempt was given, connecting included: what a `TimedOut` names. */
  readonly limitMs: number
  /** The peer is proven. Takes over the link; `send` is to be written before anything else. */
  readonly onEstablished: (outcome: Handshake.Outcome, send: Uint8Array | undefined) => void
  /** The peer is proven and not let in, and the link is open still: to tell it why is all that may be done with it. */
  readonly onOutsider: (outcome: Handshake.Outcome, reason: TransportErrorReason) => void
  /** Nothing came of it, and the link is closed. */
  readonly onFailed: (reason: TransportErrorReason) => void
}

/** Starts; gives what abandons the attempt, after which nothing is called. */
export const establish = (options: EstablishOptions): (() => void) => {
  const { address, handshake, limitMs, link, onEstablished, onFailed, timeoutMs } = options
  const failed = ({ message, reason }: HandshakeError): TransportErrorReason => ({
    _tag: "HandshakeFailed",
    address,
    code: reason,
    detail: message
  })
  let over = false
  const timer = setTimeout(() => {
    over = true
    link.destroy()
    onFailed({ _tag: "TimedOut", address, afterMs: limitMs })
  }, timeoutMs)
  const end = (): void => {
    over = true
    clearTimeout(timer)
  }
  link.attach({
    onData: (chunk) => {
      if (over) return
      const step = handshake.receive(chunk)
      switch (step._tag) {
        case "Pending":
          if (step.send !== undefined) link.write(step.send)
          return
        case "Established":
          end()
          return onEstablished(step.outcome, step.send)
        case "Failed":
          end()
          if (step.outcome !== undefined) return options.onOutsider(step.outcome, failed(step.error))
          if (step.send === undefined) {
            link.destroy()
          } else {
            link.write(step.send)
            link.close()
          }
          return onFailed(failed(step.error))
      }
    },
    onDrain: () => {},
    onClose: (why) => {
      if (over) return
      end()
      onFailed({ _tag: "DialFailed", address, detail: `${why} during the handshake`, broken: true })
    }
  })
  if (handshake.hello.length > 0) link.write(handshake.hello)
  return () => {
    if (over) return
    end()
    link.destroy()
  }
}
