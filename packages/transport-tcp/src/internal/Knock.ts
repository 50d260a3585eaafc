/** Whether anybody accepts connections at an address: a connection is made, and closed without a word. */
import { connect } from "node:net"
import type { Reached } from "./RelayWire.ts"

/** How long nobody answering counts as nobody being there: a lost SYN is sent again after one second. */
export const KNOCK_MS = 2_500

/** Tries, and tells once what came of it, unless it is stopped before. */
export const knock = (host: string, port: number, tell: (reached: Reached) => void): (() => void) => {
  let over = false
  const socket = connect({ host, port })
  const end = (reached: Reached | undefined): void => {
    if (over) return
    over = true
    clearTimeout(timer)
    socket.destroy()
    if (reached !== undefined) tell(reached)
  }
  const timer = setTimeout(() => end("no answer"), KNOCK_MS)
  socket.once("connect", () => end("accepted"))
  socket.on("error", (error: NodeJS.ErrnoException) => end(error.code === "ECONNREFUSED" ? "refused" : "no answer"))
  return () => end(undefined)
}
