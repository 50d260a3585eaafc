/** An attack: what strangers do to one node, from many network addresses of loopback (127.0.0.0/8), until they are told to stop. */
import { connect, createServer, type Socket } from "node:net"
import type { AddressInfo } from "node:net"
import { setTimeout as pause } from "node:timers/promises"
import type { NodeId } from "@parley/core/NodeId"
import type { Seeded } from "@parley/core/testing/Seeded"

/** Whom it is about. */
export interface Victim {
  readonly node: NodeId
  readonly host: string
  readonly port: number
  /** Connections that say nothing, in a crowd. */
  readonly crowd: number
}

/** What an attack did, by name. */
export type Counts = { [what: string]: number }

/** One kind of attack. */
export interface Attack {
  readonly what: string
  /** Goes on until `over` is aborted, counting as it goes; must not throw because the victim defends itself. */
  readonly run: (victim: Victim, counts: Counts, random: Seeded, over: AbortSignal) => Promise<void>
}

/** Waits, or until it is over. */
export const rest = async (ms: number, over: AbortSignal): Promise<void> => {
  await pause(ms, undefined, { signal: over }).catch((error: unknown) => {
    if (!over.aborted) throw error
  })
}

export const add = (counts: Counts, what: string, by = 1): void => {
  counts[what] = (counts[what] ?? 0) + by
}

/** A network address of an attacker: every other one counts as another network. */
export const addressOf = (which: number): string => `127.66.${(which >> 8) & 255}.${which & 255 || 1}`

/** Opens a socket to the victim from one of the attackers' addresses. */
export const socketTo = ({ host, port }: Victim, from: number): Socket => {
  const socket = connect({ host, port, localAddress: addressOf(from) })
  socket.on("error", () => undefined)
  socket.resume()
  return socket
}

/** A door on loopback through which sessions reach the victim from one of the attackers' addresses; gives its address. */
export const doorTo = async (victim: Victim, from: number, over: AbortSignal): Promise<string> => {
  const server = createServer((near) => {
    const far = socketTo(victim, from)
    near.on("error", () => far.destroy())
    near.on("close", () => far.destroy())
    far.on("close", () => near.destroy())
    near.pipe(far)
    far.pipe(near)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  over.addEventListener("abort", () => server.close())
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
}
