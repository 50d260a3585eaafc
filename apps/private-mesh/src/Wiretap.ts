/**
 * A wiretap: passes TCP connections on to a port of this machine, and keeps a copy of every byte in both directions.
 */
import { once } from "node:events"
import { type AddressInfo, connect, createServer } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Most bytes kept: a mesh that talks for seconds stays far below. */
export const MAX_KEPT_BYTES = 64 * 1024 * 1024

/** A tapped line. */
export interface Wiretap {
  /** Dial this in place of the address behind it. */
  readonly address: string
  /** What went to the address behind it, what came from there, and over how many connections. */
  readonly heard: () => { readonly there: Buffer; readonly back: Buffer; readonly connections: number }
}

/** Taps the line to an address `tcp://127.0.0.1:PORT`. */
export const make = (to: string): Effect.Effect<Wiretap, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const port = Number(new URL(to).port)
    const there: Array<Buffer> = []
    const back: Array<Buffer> = []
    let kept = 0
    let connections = 0
    const keep = (into: Array<Buffer>) => (chunk: Buffer) => {
      kept += chunk.length
      if (kept <= MAX_KEPT_BYTES) into.push(Buffer.from(chunk))
    }
    const server = yield* Effect.acquireRelease(
      Effect.sync(() =>
        createServer((near) => {
          connections++
          const far = connect(port, "127.0.0.1")
          near.on("data", keep(there))
          far.on("data", keep(back))
          near.pipe(far)
          far.pipe(near)
          near.on("error", () => far.destroy()).on("close", () => far.destroy())
          far.on("error", () => near.destroy()).on("close", () => near.destroy())
        })
      ),
      (made) => Effect.sync(() => made.close())
    )
    yield* Effect.tryPromise(() => once(server.listen(0, "127.0.0.1"), "listening"))
    const { port: own } = server.address() as AddressInfo
    return {
      address: `tcp://127.0.0.1:${own}`,
      heard: () => ({ there: Buffer.concat(there), back: Buffer.concat(back), connections })
    }
  })
