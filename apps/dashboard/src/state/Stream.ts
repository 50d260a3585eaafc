/**
 * The registry's event stream (`/ws/events`): begins at a cursor, comes back by itself, and goes on where it stopped, so that
 * nothing is missed. What it is at stands in `state`, for everyone to see.
 */
import { signal } from "@preact/signals"
import * as Http from "../api/Http.ts"
import { token, wanted } from "../api/Session.ts"
import type { RegistryEvent } from "../api/Types.ts"

/** First and longest wait before another try, in milliseconds. */
const FIRST_WAIT_MS = 250
const LONGEST_WAIT_MS = 8_000
/** Without an event for so long after connecting, there is nothing left to catch up with. */
const QUIET_MS = 400

/**
 * `connecting`: for the first time. `live`: what happens is seen at once. `catching-up`: what was missed comes in. `reconnecting`:
 * the registry does not answer. `signed-out`: it wants a token.
 */
export type State = "connecting" | "live" | "catching-up" | "reconnecting" | "signed-out"

export const state = signal<State>("connecting")
/** The last event seen; `undefined` until one was. */
export const cursor = signal<number | undefined>(undefined)
/** When the connection was lost, in milliseconds since the epoch. */
export const lostAt = signal<number | undefined>(undefined)
/** Events that the registry no longer had when we came back. */
export const gap = signal<{ readonly after: number; readonly at: number } | undefined>(undefined)

/** What the rest of the page does with it. */
export interface Handler {
  /** The socket is open: what is asked for now, and the events from now on, leave nothing out. */
  readonly opened: (again: boolean) => void
  readonly event: (event: RegistryEvent) => void
  /** Some events are gone for good: ask for everything anew. */
  readonly gap: () => void
}

/** Where a stream begins whose beginning is not known: at what the registry says is its last event. */
export const begin = (at: number): void => {
  cursor.value ??= at
}

let socket: WebSocket | undefined
let timer: ReturnType<typeof setTimeout> | undefined
let quiet: ReturnType<typeof setTimeout> | undefined
let tries = 0
let handler: Handler | undefined

const address = (): string => {
  const url = new URL("/ws/events", location.href)
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
  if (cursor.peek() !== undefined) url.searchParams.set("cursor", String(cursor.peek()))
  return url.href
}

const retry = (): void => {
  clearTimeout(timer)
  const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries++) * (0.75 + Math.random() / 2)
  timer = setTimeout(connect, wait)
}

/** A socket that is refused says no reason to a page: a request to the same door does. */
const diagnose = async (then: () => void = retry): Promise<void> => {
  try {
    await Http.traces({ limit: 1 })
    then()
  } catch (cause) {
    if (cause instanceof Http.ApiError && (cause.status === 401 || cause.status === 403)) {
      wanted.value ??= cause.message
      state.value = "signed-out"
    } else then()
  }
}

const isEvent = (value: unknown): value is RegistryEvent =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as RegistryEvent).type === "string" &&
  (typeof (value as RegistryEvent).data === "object" || (value as RegistryEvent).data === undefined)

const receive = (text: string, openedAt: number): void => {
  let event: unknown
  try {
    event = JSON.parse(text)
  } catch {
    return
  }
  if (!isEvent(event)) return
  if (event.type === "error") {
    // The token is missing, wrong or over.
    wanted.value = String((event as { detail?: unknown }).detail)
    state.value = "signed-out"
    return
  }
  if (event.type === "position") {
    if (typeof event.cursor === "number") cursor.value = Math.max(event.cursor, cursor.peek() ?? 0)
    return
  }
  if (event.type === "gap") {
    gap.value = { after: cursor.peek() ?? 0, at: Date.now() }
    if (typeof event.cursor === "number") cursor.value = event.cursor
    handler?.gap()
    return
  }
  if (typeof event.cursor !== "number") return
  // Cursors only grow: what was seen is not counted twice.
  if (event.cursor <= (cursor.peek() ?? 0)) return
  cursor.value = event.cursor
  if (state.peek() === "catching-up") {
    if (Date.parse(event.at) >= openedAt) settle()
    else waitForQuiet()
  }
  handler?.event(event)
}

const settle = (): void => {
  clearTimeout(quiet)
  state.value = "live"
  lostAt.value = undefined
}
const waitForQuiet = (): void => {
  clearTimeout(quiet)
  quiet = setTimeout(settle, QUIET_MS)
}

const connect = (): void => {
  clearTimeout(timer)
  socket?.close()
  const again = lostAt.peek() !== undefined
  const own = new WebSocket(address())
  socket = own
  let opened = false
  let openedAt = 0
  own.addEventListener("open", () => {
    if (socket !== own) return
    opened = true
    openedAt = Date.now()
    tries = 0
    state.value = "catching-up"
    // As the first frame: in the address it would stand in the logs of whatever is between.
    const sent = token.peek()
    if (sent !== undefined) own.send(JSON.stringify({ type: "auth", token: sent }))
    waitForQuiet()
    handler?.opened(again)
  })
  own.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
    if (socket === own && typeof data === "string") receive(data, openedAt)
  })
  own.addEventListener("close", () => {
    if (socket !== own) return
    socket = undefined
    clearTimeout(quiet)
    lostAt.value ??= Date.now()
    if (state.peek() !== "signed-out") state.value = opened || again ? "reconnecting" : "connecting"
    if (opened && state.peek() !== "signed-out") retry()
    else if (!opened) void diagnose()
  })
}

/** Connects, after asking whether a token is wanted: a socket without one would be let in, and wait. */
const knock = (): void => {
  if (token.peek() === undefined) void diagnose(connect)
  else connect()
}

/** Begins, once. */
export const start = (to: Handler): void => {
  handler = to
  knock()
  let before = token.peek()
  token.subscribe((now) => {
    if (now === before) return
    before = now
    reconnect()
  })
  const hurry = () => {
    if (socket === undefined && state.peek() !== "signed-out") {
      tries = 0
      connect()
    }
  }
  addEventListener("online", hurry)
  document.addEventListener("visibilitychange", () => document.hidden || hurry())
}

/** Tries now. */
export const reconnect = (): void => {
  tries = 0
  if (state.peek() === "signed-out") state.value = "connecting"
  if (cursor.peek() !== undefined) lostAt.value ??= Date.now()
  const old = socket
  socket = undefined
  old?.close()
  knock()
}

/**
 * Events before a cursor, oldest first, at most `count`: a stream of the same events that ends when it has reached it.
 */
export const earlier = async (before: number, count: number): Promise<ReadonlyArray<RegistryEvent>> => {
  const sent = token.peek()
  const stop = new AbortController()
  const giveUp = setTimeout(() => stop.abort(), 5_000)
  const found: Array<RegistryEvent> = []
  try {
    const response = await fetch(`/events?cursor=${Math.max(0, before - 1 - count)}`, {
      signal: stop.signal,
      headers: { accept: "text/event-stream", ...(sent === undefined ? {} : { authorization: `Bearer ${sent}` }) }
    })
    if (!response.ok || response.body === null) return found
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ""
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      const blocks = (rest + value).split(/\r?\n\r?\n/)
      rest = blocks.pop() ?? ""
      for (const block of blocks) {
        const data = block
          .split(/\r?\n/)
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trimStart())
          .join("\n")
        if (data === "") continue
        const event: unknown = JSON.parse(data)
        if (!isEvent(event) || event.type === "gap") continue
        if (event.cursor < before) found.push(event)
        if (event.cursor >= before - 1) return found
      }
    }
  } catch {
    // What has come is shown; the rest can be asked for again.
  } finally {
    clearTimeout(giveUp)
    stop.abort()
  }
  return found
}
