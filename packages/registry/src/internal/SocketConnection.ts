/**
 * One WebSocket of the registry's server side: bounded in what it holds in either direction, kept alive by pings, closed with a
 * code that says why.
 *
 * The upgrade is made here and not by the server, because only the socket itself knows how much of what was written still
 * waits (`bufferedAmount`), and can send a ping.
 */
import type { IncomingMessage } from "node:http"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { RawData, WebSocket, WebSocketServer } from "@effect/platform-node/NodeWS"

/** Bytes that may wait to be sent before the sender waits too: a round trip of a fast link. */
export const HIGH_WATER_BYTES = 65_536
/** How long a client may take to read what waits, in milliseconds, until it counts as too slow: 2 KiB/s. */
export const STALL_MS = 30_000
/** Frames of a client that wait to be handled before its socket is no longer read. */
export const MAX_WAITING_FRAMES = 64
/** Pause between pings, in milliseconds. Two without any sign of life, and the connection is gone. */
export const PING_MS = 15_000
/** How long a client may take to answer a close, in milliseconds. */
export const CLOSE_MS = 2_000

/** Close codes: RFC 6455, 7.4.1, and from 4000 on our own. */
export const Code = {
  Normal: 1000,
  GoingAway: 1001,
  Unsupported: 1003,
  Policy: 1008,
  Internal: 1011,
  TryAgain: 1013,
  /** AgentMesh's: the agent is not registered (any longer). */
  NotRegistered: 4004,
  /** The client does not read what it asked for; the reason says where to go on. */
  TooSlow: 4008
} as const

/** The socket is closed, or its client does not read. */
export class SocketGone extends Schema.TaggedError<SocketGone>()("SocketGone", {
  why: Schema.Literals(["Closed", "TooSlow"])
}) {}

/** A frame that came: its text, or `undefined` where it was binary. */
export type Frame = string | undefined

/** Lengths of time that a test makes shorter. */
export interface Times {
  readonly stallMs: number
  readonly pingMs: number
  readonly closeMs: number
}
export const times: Times = { stallMs: STALL_MS, pingMs: PING_MS, closeMs: CLOSE_MS }

const closed = new SocketGone({ why: "Closed" })
const tooSlow = new SocketGone({ why: "TooSlow" })
const NO_HEAD = Buffer.alloc(0)

const textOf = (data: RawData): string =>
  Buffer.isBuffer(data) ? data.toString() : Buffer.concat(Array.isArray(data) ? data : [Buffer.from(data)]).toString()

/** One WebSocket. */
export class SocketConnection {
  readonly #ws: WebSocket
  readonly #times: Times
  readonly #frames: Array<Frame> = []
  #wake: (() => void) | undefined
  #over = false
  #alive = true
  #missed = 0

  constructor(ws: WebSocket, options: Times) {
    this.#ws = ws
    this.#times = options
    const lives = (): void => {
      this.#alive = true
    }
    ws.on("message", (data, isBinary) => {
      lives()
      this.#frames.push(isBinary ? undefined : textOf(data))
      if (this.#frames.length >= MAX_WAITING_FRAMES) ws.pause()
      this.#wake?.()
    })
    ws.on("pong", lives)
    ws.on("ping", lives)
    // What the client did wrong is said by the close code that `ws` sends (1002, 1007, 1009).
    ws.on("error", () => undefined)
    ws.on("close", () => {
      this.#over = true
      this.#wake?.()
    })
  }

  /** The next frame; those that came before the end are still given. */
  readonly receive: Effect.Effect<Frame, SocketGone> = Effect.callback((resume) => {
    const give = (): void => {
      this.#wake = undefined
      if (this.#frames.length === 0) return resume(Effect.fail(closed))
      const frame = this.#frames.shift()
      if (this.#frames.length === 0 && this.#ws.isPaused && !this.#over) this.#ws.resume()
      resume(Effect.succeed(frame))
    }
    if (this.#frames.length > 0 || this.#over) return give()
    this.#wake = give
    return Effect.sync(() => {
      this.#wake = undefined
    })
  })

  /** Sends text if it need not wait. */
  offer(text: string): boolean {
    if (this.#ws.readyState !== 1 || this.#ws.bufferedAmount + text.length > HIGH_WATER_BYTES) return false
    this.#ws.send(text)
    return true
  }

  /** Sends text; waits while more than `HIGH_WATER_BYTES` wait, and fails with `TooSlow` where that takes longer than `STALL_MS`. */
  readonly send = (text: string): Effect.Effect<void, SocketGone> =>
    Effect.suspend(() => {
      if (this.#over || this.#ws.readyState !== 1) return Effect.fail(closed)
      if (this.offer(text)) return Effect.void
      return Effect.callback<void, SocketGone>((resume) => {
        const timer = setTimeout(() => resume(Effect.fail(tooSlow)), this.#times.stallMs)
        this.#ws.send(text, (error) => {
          clearTimeout(timer)
          this.#alive = true
          resume(error ? Effect.fail(closed) : Effect.void)
        })
        return Effect.sync(() => clearTimeout(timer))
      })
    })

  /** Says goodbye; the scope of `accept` then waits for the answer. */
  readonly close = (code: number, reason = ""): Effect.Effect<void> =>
    Effect.sync(() => {
      // RFC 6455, 5.5: 125 bytes with the code.
      this.#ws.close(
        code,
        Buffer.from(reason)
          .subarray(0, 120)
          .toString()
          .replace(/\uFFFD$/, "")
      )
    })

  /** Runs until the client shows no sign of life; then the connection is cut. */
  readonly keepAlive: Effect.Effect<never> = Effect.suspend(() => Effect.sleep(this.#times.pingMs)).pipe(
    Effect.andThen(
      Effect.sync(() => {
        // A socket that is not read does not show its pongs.
        if (this.#alive || this.#ws.isPaused) this.#missed = 0
        else if (++this.#missed >= 2) this.#ws.terminate()
        this.#alive = false
        if (this.#ws.readyState === 1) this.#ws.ping()
      })
    ),
    Effect.forever
  )

  /** Closes, waits for the client's answer for a bounded time, and cuts the connection. */
  readonly end: Effect.Effect<void> = Effect.callback((resume) => {
    const ws = this.#ws
    if (ws.readyState === 3) return resume(Effect.void)
    const timer = setTimeout(() => ws.terminate(), this.#times.closeMs)
    ws.once("close", () => {
      clearTimeout(timer)
      resume(Effect.void)
    })
    // A close frame is only seen when what came before it is read.
    if (ws.isPaused) ws.resume()
    ws.removeAllListeners("message")
    ws.close(Code.GoingAway, "the registry is stopping")
  })
}

/** Upgrades a request. Fails where the handshake does; it is then answered. The scope owns the connection. */
export const accept = (wss: WebSocketServer, incoming: IncomingMessage, options: Times) =>
  Effect.acquireRelease(
    Effect.callback<SocketConnection, SocketGone>((resume) => {
      const { socket } = incoming
      const gone = (): void => resume(Effect.fail(closed))
      if (socket.destroyed) return gone()
      socket.once("close", gone)
      wss.handleUpgrade(incoming, socket, NO_HEAD, (ws) => {
        socket.off("close", gone)
        resume(Effect.succeed(new SocketConnection(ws, options)))
      })
    }),
    (connection) => connection.end
  ).pipe(Effect.tap((connection) => Effect.forkScoped(connection.keepAlive)))
