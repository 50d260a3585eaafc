/** Dials of js-libp2p: a node that takes them, and one that makes them, each started before anything is measured. */
import { multiaddr } from "@multiformats/multiaddr"
import { start } from "./Libp2p.ts"

/** It takes five connections a second from one host unless told otherwise; all come from one here. */
const plenty = { inboundConnectionThreshold: 1_000_000, maxConnections: 10_000, maxIncomingPendingConnections: 1_000 }

/** Gives the address of a node, and how many connections it was brought. */
export const answer = async (): Promise<{ readonly address: string; readonly accepted: () => number }> => {
  const node = await start(["/ip4/127.0.0.1/tcp/0"], plenty)
  let accepted = 0
  node.addEventListener("connection:open", () => (accepted += 1))
  return { address: node.getMultiaddrs()[0]!.toString(), accepted: () => accepted }
}

/** Gives what dials an address, and gives what closes the connection again. */
export const dialler = async (): Promise<(address: string) => Promise<() => Promise<void>>> => {
  const node = await start([])
  return async (address) => {
    const connection = await node.dial(multiaddr(address))
    return () => connection.close()
  }
}
