/**
 * What is said on PUNCH streams.
 *
 * | from | message | meaning |
 * | --- | --- | --- |
 * | node, to one that sees it directly | 1 ‖ key of a peer (32 bytes), or nothing | tell me where you see me, and tell that peer too, when it names me |
 * | the one that sees | 2 ‖ token (16 bytes) ‖ endpoints | open a TCP connection to where you reach me, or to one of these, and send the first 16 bytes of the token's SHA-256 |
 * | the one that sees | 3 ‖ endpoint | that is where your connection came from |
 * | the one that sees | 4 ‖ endpoint | that is where the connection came from of the peer that you named, and that named you |
 * | who leads, to its peer | 5 ‖ listening port (u16) or 0 | let us try a direct path; 6 follows |
 * | who follows | 6 ‖ listening port (u16) or 0 | I know where I am seen |
 * | who leads | 7 | 8 follows at once: that is how long a round trip takes |
 * | who follows | 8 | |
 * | who leads | 9 | begin, as I do half a round trip from now |
 *
 * An endpoint is 4 ‖ 4 bytes ‖ port (u16), or 6 ‖ 16 bytes ‖ port (u16).
 */
import { createHash, randomBytes } from "node:crypto"
import { isIP } from "node:net"
import * as NodeId from "@parley/core/NodeId"
import type { Message } from "../Punch.ts"
import type { HostPort } from "./Addresses.ts"

/** Bytes of a token: nobody guesses one. */
export const TOKEN_BYTES = 16
/** Endpoints that one who sees may add to its own address. */
export const MAX_ENDPOINTS = 4

const kind = { observe: 1, token: 2, seen: 3, theirs: 4, offer: 5, answer: 6, ping: 7, pong: 8, go: 9 } as const

/** What one that sees is asked, and says. */
export type Sight =
  | { readonly _tag: "Token"; readonly token: Uint8Array; readonly at: ReadonlyArray<HostPort> }
  | { readonly _tag: "Seen"; readonly endpoint: HostPort }
  | { readonly _tag: "Theirs"; readonly endpoint: HostPort }

export const newToken = (): Uint8Array => randomBytes(TOKEN_BYTES)
/** What is sent to show a token: nobody who hands out tokens chooses what others send to where it points. */
export const shown = (token: Uint8Array): Uint8Array =>
  createHash("sha256").update(token).digest().subarray(0, TOKEN_BYTES)

const bytesOf = (host: string): ReadonlyArray<number> => {
  if (isIP(host) === 4) return host.split(".").map(Number)
  const [head = "", tail] = host.split("%")[0]!.split("::")
  const groups = (text: string): ReadonlyArray<number> =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16))
  const [left, right] = [groups(head), groups(tail ?? "")]
  const middle = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => 0)
  return [...left, ...middle, ...right].flatMap((group) => [group >> 8, group & 0xff])
}

const endpoint = ({ host, port }: HostPort): ReadonlyArray<number> => [
  isIP(host) === 6 ? 6 : 4,
  ...bytesOf(host),
  port >> 8,
  port & 0xff
]

/** The endpoint at an offset, and where it ends; undefined when there is none. */
const readEndpoint = (bytes: Uint8Array, at: number): readonly [HostPort, number] | undefined => {
  const length = bytes[at] === 4 ? 4 : bytes[at] === 6 ? 16 : undefined
  if (length === undefined || at + 3 + length > bytes.length) return undefined
  const address = bytes.subarray(at + 1, at + 1 + length)
  const port = bytes[at + 1 + length]! * 256 + bytes[at + 2 + length]!
  if (port === 0) return undefined
  const host =
    length === 4
      ? address.join(".")
      : new URL(
          `http://[${Array.from({ length: 8 }, (_, group) => (address[2 * group]! * 256 + address[2 * group + 1]!).toString(16)).join(":")}]`
        ).hostname.slice(1, -1)
  return [{ host, port }, at + 3 + length]
}

/** Whether it is an address that can be written: an IP address, and not an IPv4 one inside IPv6. */
export const isEndpoint = ({ host, port }: HostPort): boolean =>
  isIP(host) !== 0 && !host.includes("%") && !(host.includes(":") && host.includes(".")) && port > 0 && port < 65_536

export const observe = (peer: NodeId.NodeId | undefined): Uint8Array =>
  Uint8Array.of(kind.observe, ...(peer === undefined ? [] : NodeId.toPublicKey(peer)))
/** The peer that is named; null where none is, undefined when that is no such request. */
export const readObserve = (bytes: Uint8Array): NodeId.NodeId | null | undefined => {
  if (bytes[0] !== kind.observe) return undefined
  if (bytes.length === 1) return null
  return bytes.length === 1 + NodeId.PUBLIC_KEY_BYTES ? NodeId.fromPublicKey(bytes.slice(1)) : undefined
}

export const token = (bytes: Uint8Array, at: ReadonlyArray<HostPort>): Uint8Array =>
  Uint8Array.of(kind.token, ...bytes, ...at.filter(isEndpoint).slice(0, MAX_ENDPOINTS).flatMap(endpoint))
export const seen = (where: HostPort): Uint8Array => Uint8Array.of(kind.seen, ...endpoint(where))
export const theirs = (where: HostPort): Uint8Array => Uint8Array.of(kind.theirs, ...endpoint(where))

/** What one that sees says; undefined when it says nothing that makes sense. */
export const readSight = (bytes: Uint8Array): Sight | undefined => {
  if (bytes[0] === kind.token && bytes.length >= 1 + TOKEN_BYTES) {
    const at: Array<HostPort> = []
    for (let offset = 1 + TOKEN_BYTES; offset < bytes.length;) {
      const read = readEndpoint(bytes, offset)
      if (read === undefined || at.length === MAX_ENDPOINTS) return undefined
      at.push(read[0])
      offset = read[1]
    }
    return { _tag: "Token", token: bytes.slice(1, 1 + TOKEN_BYTES), at }
  }
  const read = readEndpoint(bytes, 1)
  if (read === undefined || read[1] !== bytes.length) return undefined
  if (bytes[0] === kind.seen) return { _tag: "Seen", endpoint: read[0] }
  return bytes[0] === kind.theirs ? { _tag: "Theirs", endpoint: read[0] } : undefined
}

/** A message between the two that try. */
export const encode = (message: Message): Uint8Array => {
  switch (message._tag) {
    case "Offer":
      return Uint8Array.of(kind.offer, message.port >> 8, message.port & 0xff)
    case "Answer":
      return Uint8Array.of(kind.answer, message.port >> 8, message.port & 0xff)
    case "Ping":
      return Uint8Array.of(kind.ping)
    case "Pong":
      return Uint8Array.of(kind.pong)
    case "Go":
      return Uint8Array.of(kind.go)
  }
}

/** A message between the two that try; undefined when it is none. */
export const decode = (bytes: Uint8Array): Message | undefined => {
  const [first, high, low] = bytes
  if (bytes.length === 3 && (first === kind.offer || first === kind.answer))
    return { _tag: first === kind.offer ? "Offer" : "Answer", port: high! * 256 + low! }
  if (bytes.length !== 1) return undefined
  return first === kind.ping
    ? { _tag: "Ping" }
    : first === kind.pong
      ? { _tag: "Pong" }
      : first === kind.go
        ? { _tag: "Go" }
        : undefined
}
