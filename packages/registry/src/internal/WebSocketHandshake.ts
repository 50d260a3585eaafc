/** The opening handshake of a WebSocket (RFC 6455, section 4), as client and as server, on a socket of our own. */
import { Buffer } from "node:buffer"
import { createHash, randomBytes } from "node:crypto"
import { connect as connectTcp, isIP, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { WebSocketLink } from "./WebSocketLink.ts"

/** Largest head of a request or an answer, in bytes: as node:http. */
export const MAX_HEAD_BYTES = 16_384

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
const accept = (key: string): string =>
  createHash("sha1")
    .update(key + GUID)
    .digest("base64")

/** Where to dial. */
export interface Target {
  /** The host as it stood in the URL: what `Host` and the certificate are for. */
  readonly host: string
  readonly port: number
  readonly secure: boolean
  /** Path and query. */
  readonly path: string
  /** IP addresses, tried in order; only these are dialled. */
  readonly addresses: ReadonlyArray<string>
  readonly headers?: { readonly [name: string]: string }
}

/** A dial failed. `status` where a server answered something else than 101. */
export class DialFault extends Error {
  readonly status: number | undefined
  constructor(message: string, status?: number) {
    super(message)
    this.status = status
  }
}

interface Head {
  readonly first: string
  readonly headers: ReadonlyMap<string, string>
  /** What came behind it. */
  readonly rest: Buffer
}

/** Gathers bytes until the empty line; `undefined` while it has not come. Throws a `DialFault` beyond the bound. */
const headReader = (): ((bytes: Buffer) => Head | undefined) => {
  let seen: Buffer = Buffer.alloc(0)
  return (bytes) => {
    seen = Buffer.concat([seen, bytes])
    const end = seen.indexOf("\r\n\r\n")
    if (end > MAX_HEAD_BYTES || (end < 0 && seen.length > MAX_HEAD_BYTES))
      throw new DialFault("the head is too long", 431)
    if (end < 0) return undefined
    const [first = "", ...lines] = seen.toString("latin1", 0, end).split("\r\n")
    const headers = new Map<string, string>()
    for (const line of lines) {
      const colon = line.indexOf(":")
      if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
    }
    return { first, headers, rest: seen.subarray(end + 4) }
  }
}

const open = (target: Target, address: string): Socket =>
  target.secure
    ? connectTls({
        host: address,
        port: target.port,
        ALPNProtocols: ["http/1.1"],
        ...(isIP(target.host) === 0 ? { servername: target.host } : {})
      })
    : connectTcp({ host: address, port: target.port })

const dialOne = (target: Target, address: string, maxBytes: number, signal: AbortSignal): Promise<WebSocketLink> =>
  new Promise((resolve, reject) => {
    const key = randomBytes(16).toString("base64")
    const socket = open(target, address)
    const read = headReader()
    const where = `${address} port ${target.port}`
    const fail = (message: string, status?: number): void => {
      signal.removeEventListener("abort", abort)
      socket.destroy()
      reject(new DialFault(message, status))
    }
    const abort = (): void => fail(`${where} gave no answer in time`)
    if (signal.aborted) return abort()
    signal.addEventListener("abort", abort, { once: true })
    const onClose = (): void => fail(`${where} closed the connection before it was one`)
    const onError = (error: Error): void => fail(`${where}: ${error.message}`)
    const onData = (bytes: Buffer): void => {
      let head: Head | undefined
      try {
        head = read(bytes)
      } catch (fault) {
        return fail(`${where}: ${fault instanceof Error ? fault.message : String(fault)}`)
      }
      if (head === undefined) return
      const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head.first)?.[1] ?? 0)
      if (status !== 101) return fail(`${where} answered ${JSON.stringify(head.first.slice(0, 80))}`, status)
      if (head.headers.get("sec-websocket-accept") !== accept(key))
        return fail(`${where} is no WebSocket server`, status)
      if (head.headers.has("sec-websocket-extensions"))
        return fail(`${where} uses an extension nobody asked for`, status)
      signal.removeEventListener("abort", abort)
      socket.off("data", onData).off("error", onError).off("close", onClose)
      resolve(new WebSocketLink(socket, { client: true, maxBytes, head: head.rest }))
    }
    socket.on("data", onData).on("error", onError).on("close", onClose)
    socket.once(target.secure ? "secureConnect" : "connect", () => {
      const shown = isIP(target.host) === 6 ? `[${target.host}]` : target.host
      const lines = [
        `GET ${target.path} HTTP/1.1`,
        `Host: ${shown}:${target.port}`,
        "Upgrade: websocket",
        "Connection: Upgrade",
        `Sec-WebSocket-Key: ${key}`,
        "Sec-WebSocket-Version: 13",
        ...Object.entries(target.headers ?? {}).map(([name, value]) => `${name}: ${value}`)
      ]
      socket.write(`${lines.join("\r\n")}\r\n\r\n`)
    })
  })

/** Dials the addresses in order, and gives the first connection; rejects with the last `DialFault`. */
export const dial = async (target: Target, maxBytes: number, signal: AbortSignal): Promise<WebSocketLink> => {
  let last = new DialFault(`${target.host} has no address that may be dialled`)
  for (const address of target.addresses) {
    try {
      return await dialOne(target, address, maxBytes, signal)
    } catch (fault) {
      if (fault instanceof DialFault) last = fault
      // Whoever answered has answered; another address of the same host would say the same.
      if (signal.aborted || last.status !== undefined) break
    }
  }
  throw last
}

const reasons: { readonly [status: number]: string } = {
  400: "Bad Request",
  403: "Forbidden",
  405: "Method Not Allowed",
  426: "Upgrade Required",
  431: "Request Header Fields Too Large",
  503: "Service Unavailable"
}

/** Turns somebody away who is not, or not yet, a WebSocket. */
export const refuse = (socket: Socket, status: number, detail: string): void => {
  const body = `${detail}\n`
  socket.end(
    [
      `HTTP/1.1 ${status} ${reasons[status] ?? "Error"}`,
      "Connection: close",
      "Content-Type: text/plain; charset=utf-8",
      `Content-Length: ${Buffer.byteLength(body)}`,
      ...(status === 426 ? ["Upgrade: websocket"] : []),
      ...(status === 405 ? ["Allow: GET"] : []),
      "",
      body
    ].join("\r\n")
  )
  setTimeout(() => socket.destroy(), 1_000).unref?.()
}

/** What is wrong with a request to become a WebSocket. */
const wrong = ({ first, headers }: Head): readonly [status: number, detail: string] | undefined => {
  if (!/^[A-Z]+ \S+ HTTP\/1\.1$/.test(first)) return [400, "this is no HTTP/1.1 request"]
  if (!first.startsWith("GET ")) return [405, "a WebSocket is asked for with GET"]
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") return [426, "this port speaks WebSocket only"]
  if (headers.get("sec-websocket-version") !== "13") return [426, "this port speaks WebSocket version 13"]
  if (!/^[A-Za-z0-9+/]{22}==$/.test(headers.get("sec-websocket-key") ?? "")) return [400, "Sec-WebSocket-Key is no key"]
  // Browsers say where a page came from: a page of anybody's must not reach an agent on its reader's machine.
  if (headers.has("origin")) return [403, "pages in a browser may not call agents"]
  return undefined
}

/** Answers a client's handshake within `timeoutMs`; `undefined` when it was turned away. */
export const answer = (socket: Socket, maxBytes: number, timeoutMs: number): Promise<WebSocketLink | undefined> =>
  new Promise((resolve) => {
    const read = headReader()
    const timer = setTimeout(() => socket.destroy(), timeoutMs)
    const done = (link: WebSocketLink | undefined): void => {
      clearTimeout(timer)
      socket.off("data", onData).off("close", onClose)
      resolve(link)
    }
    const onClose = (): void => done(undefined)
    const turnAway = (status: number, detail: string): void => {
      done(undefined)
      refuse(socket, status, detail)
    }
    const onData = (bytes: Buffer): void => {
      let head: Head | undefined
      try {
        head = read(bytes)
      } catch {
        return turnAway(431, `the head of a request has at most ${MAX_HEAD_BYTES} bytes`)
      }
      if (head === undefined) return
      const fault = wrong(head)
      if (fault !== undefined) return turnAway(...fault)
      const lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
      socket.write(
        `${[...lines, `Sec-WebSocket-Accept: ${accept(head.headers.get("sec-websocket-key") ?? "")}`].join("\r\n")}\r\n\r\n`
      )
      done(new WebSocketLink(socket, { client: false, maxBytes, head: head.rest }))
    }
    socket.on("error", () => socket.destroy())
    socket.on("data", onData).on("close", onClose)
  })
