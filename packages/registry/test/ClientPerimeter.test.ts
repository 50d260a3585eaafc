/** Verifies: a client that keeps to the private networks follows no registry out of them. */
import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Identity from "@parley/core/Identity"
import * as Perimeter from "@parley/core/Perimeter"
import * as Client from "../src/Client.ts"

const servers: Array<Server> = []
afterAll(() => {
  for (const server of servers) server.close()
})
const serve = async (answer: (url: string) => string | undefined) => {
  let hits = 0
  const server = createServer((request, response) => {
    hits++
    const to = answer(request.url ?? "/")
    if (to === undefined) response.writeHead(404).end()
    else response.writeHead(307, { location: to }).end()
  })
  servers.push(server)
  await once(server.listen(0, "127.0.0.1"), "listening")
  return { at: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, hits: () => hits }
}

test("redirects are followed in the open, and never from within a closed perimeter", async () => {
  for (const [perimeter, follows] of [
    [Perimeter.open, true],
    [Perimeter.closed, false]
  ] as const) {
    const beyond = await serve(() => undefined)
    const registry = await serve((url) => `${beyond.at}${url}`)
    const asked = Effect.gen(function* () {
      const client = yield* Client.Client
      return yield* Effect.exit(client.use("health", (api) => api.service.health()))
    }).pipe(
      Effect.provide(
        Client.layer({ at: registry.at }).pipe(
          Layer.provide([Identity.layerEphemeral, Layer.succeed(Perimeter.Perimeter, perimeter)])
        )
      )
    )
    expect((await Effect.runPromise(asked))._tag).toBe("Failure")
    expect([registry.hits() > 0, beyond.hits() > 0]).toEqual([true, follows])
  }
})
