/** A real HTTP server for tests of middleware, and a client that writes whatever bytes it likes. */
import { createServer } from "node:http"
import { connect } from "node:net"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServer from "effect/http/HttpServer"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as HttpBounds from "@parley/registry/HttpBounds"

export interface Served {
  readonly port: number
  readonly url: string
  readonly close: () => Promise<void>
}

/** Serves an app on loopback with the registry's bounds. */
export const serve = async (
  app: Effect.Effect<HttpServerResponse, unknown, HttpServerRequest | Scope.Scope>,
  times: HttpBounds.Times = {},
  maxConnections?: number
): Promise<Served> => {
  const scope = Scope.makeUnsafe()
  const server = HttpBounds.answerRefused(createServer(HttpBounds.serverOptions(times)), maxConnections)
  const layer = HttpServer.serve(app).pipe(
    Layer.provideMerge(NodeHttpServer.layer(() => server, { port: 0, host: "127.0.0.1", gracefulShutdownTimeout: 0 }))
  )
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  void Context.get(context, HttpServer.HttpServer)
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections()
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }
  }
}

/** Sends bytes, then `more` each 100 ms; gives all that came back when it is `enough`, the other side closes, or after `waitMs`. */
export const raw = (
  port: number,
  first: string | Uint8Array,
  options: {
    readonly more?: string | Uint8Array
    readonly waitMs?: number
    readonly enough?: (text: string) => boolean
  } = {}
): Promise<{ readonly text: string; readonly closed: boolean; readonly ms: number }> =>
  new Promise((resolve) => {
    const started = performance.now()
    const socket = connect(port, "127.0.0.1")
    let text = ""
    const end = (closed: boolean): void => {
      clearInterval(trickle)
      clearTimeout(patience)
      socket.destroy()
      resolve({ text, closed, ms: performance.now() - started })
    }
    const trickle = setInterval(() => {
      if (options.more !== undefined && socket.writable) socket.write(options.more)
    }, 100)
    const patience = setTimeout(() => end(false), options.waitMs ?? 8_000)
    socket.on("error", () => undefined)
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1")
      if (options.enough?.(text) === true) end(false)
    })
    socket.on("close", () => end(true))
    socket.write(first)
  })

/** The status line's code of a raw answer; 0 where there is none. */
export const statusOf = (text: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0)
