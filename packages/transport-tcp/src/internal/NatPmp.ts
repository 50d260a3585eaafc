/**
 * NAT-PMP through `nat-port-mapper`, made safe: answers are the router's alone and whole ones, a lost datagram is sent again, and
 * one socket at a time has the port that answers come to.
 */
import type { Gateway } from "@achingbrain/nat-port-mapper"
import * as PortMapping from "../PortMapping.ts"

/** Where routers listen (RFC 6886, 1.1). */
const ROUTER_PORT = 5_351
/** The answer to a request to map TCP, and its length (RFC 6886, 3.3). */
const MAPPED = 130
const MAPPED_BYTES = 16
/** The answer with the outer address, and its length (RFC 6886, 3.2). */
const ADDRESS = 128
const ADDRESS_BYTES = 12
/** Of answers to other requests, or that say no, no more is read. */
const HEAD_BYTES = 8

/** What the library's object has beside its type. */
interface Inside {
  onMessage: (message: Buffer, from: { readonly address: string; readonly port: number }) => void
  readonly on: (event: "error", listener: (error: Error) => void) => void
}

/** Whether the library can read it: it would throw where nobody catches. */
const isWhole = (message: Uint8Array): boolean => {
  if (message.length < HEAD_BYTES) return false
  // One that says no ends there.
  if (message[2] !== 0 || message[3] !== 0) return true
  return message.length >= (message[1] === MAPPED ? MAPPED_BYTES : message[1] === ADDRESS ? ADDRESS_BYTES : HEAD_BYTES)
}

let turn: Promise<unknown> = Promise.resolve()
/** Answers come to one port of this machine: nodes of a process take turns. */
const inTurn = <A>(body: () => Promise<A>): Promise<A> => {
  const mine = turn.then(body, body)
  turn = mine.catch(() => undefined)
  return mine
}

interface Asked {
  readonly gateway: Gateway
  /** What the router granted, in seconds. */
  leaseSeconds: number | undefined
}

/** One question with a socket of its own: the library's waits for ever for the answer to a datagram that was lost. */
const once = async <A>(
  host: string,
  waitMs: number,
  signal: AbortSignal,
  ask: (asked: Asked, signal: AbortSignal) => Promise<A>
) => {
  const { pmpNat } = await import("@achingbrain/nat-port-mapper")
  signal.throwIfAborted()
  const gateway = pmpNat(host, { autoRefresh: false })
  const asked: Asked = { gateway, leaseSeconds: undefined }
  const inside = gateway as unknown as Inside
  const read = inside.onMessage.bind(gateway)
  inside.onMessage = (message, from) => {
    if (from.address !== host || from.port !== ROUTER_PORT || !isWhole(message)) return
    if (message[1] === MAPPED && message.length >= MAPPED_BYTES) asked.leaseSeconds = message.readUInt32BE(12)
    read(message, from)
  }
  const broken = new AbortController()
  inside.on("error", (error) => broken.abort(error))
  try {
    return await ask(asked, AbortSignal.any([signal, broken.signal, AbortSignal.timeout(waitMs)]))
  } finally {
    // The socket of one that broke is closed already.
    await gateway.stop().catch(() => undefined)
  }
}

const repeated = async <A>(
  host: string,
  signal: AbortSignal,
  ask: (asked: Asked, signal: AbortSignal) => Promise<A>
): Promise<A> => {
  let failure: unknown
  for (const waitMs of PortMapping.PMP_WAITS_MS) {
    try {
      return await inTurn(() => once(host, waitMs, signal, ask))
    } catch (cause) {
      signal.throwIfAborted()
      failure = cause
      // It has answered, and said no.
      if (!(cause instanceof Error && cause.name === "TimeoutError")) throw cause
    }
  }
  throw failure
}

/** Maps the port, or renews it. */
export const map = (
  host: string,
  local: { readonly host: string; readonly port: number },
  signal: AbortSignal
): Promise<PortMapping.Mapping> =>
  repeated(host, signal, async (asked, within) => {
    // The library takes seconds here.
    const options = { protocol: "TCP", autoRefresh: false, ttl: PortMapping.LEASE_MS / 1_000, signal: within } as const
    const { externalHost, externalPort } = await asked.gateway.map(local.port, local.host, options)
    const granted = (asked.leaseSeconds ?? 0) * 1_000
    return {
      protocol: "NAT-PMP",
      gateway: host,
      local,
      external: { host: externalHost, port: externalPort },
      leaseMs: Math.min(PortMapping.LEASE_MS, Math.max(PortMapping.MIN_LEASE_MS, granted))
    }
  })

/** Takes the mapping back. */
export const unmap = (host: string, port: number, signal: AbortSignal): Promise<void> =>
  repeated(host, signal, ({ gateway }, within) => {
    const options = { protocol: "TCP", autoRefresh: false, signal: within }
    return gateway.unmap(port, options)
  })
