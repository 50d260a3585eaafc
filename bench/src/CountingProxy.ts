/**
 * A TCP proxy that keeps every flight of bytes for a while before it hands it on, and counts them: how often somebody had to
 * wait for the other end is then plain to see, in flights and in time.
 */
import { connect, createServer } from "node:net"
import type { AddressInfo, Server, Socket } from "node:net"

/** What went through one connection. */
export interface Passed {
  /** Times that the direction changed, the first bytes included: client, server, client, server is four. */
  readonly flights: ReadonlyArray<{ readonly from: "client" | "server"; readonly bytes: number; readonly atMs: number }>
}

export class CountingProxy {
  readonly #server: Server
  readonly passed: Array<Passed> = []

  /** Stands before a port of this machine, and keeps what comes for `delayMs` each way. */
  constructor(port: number, delayMs: number) {
    this.#server = createServer({ noDelay: true }, (client) => {
      const began = performance.now()
      const flights: Array<{ from: "client" | "server"; bytes: number; atMs: number }> = []
      this.passed.push({ flights })
      const server = connect({ port, host: "127.0.0.1", noDelay: true })
      const pass = (from: "client" | "server", source: Socket, target: Socket): void => {
        source.on("data", (chunk: Uint8Array) => {
          const last = flights.at(-1)
          if (last?.from === from) last.bytes += chunk.length
          else flights.push({ from, bytes: chunk.length, atMs: performance.now() - began })
          setTimeout(() => void target.write(chunk), delayMs)
        })
        source.on("error", () => target.destroy())
        source.on("close", () => setTimeout(() => target.end(), delayMs))
      }
      pass("client", client, server)
      pass("server", server, client)
    })
  }

  /** Listens, and gives its port. */
  listen(): Promise<number> {
    return new Promise((resolve) =>
      this.#server.listen(0, "127.0.0.1", () => resolve((this.#server.address() as AddressInfo).port))
    )
  }

  close(): void {
    this.#server.close()
  }
}
