import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Agent } from "@parley/agent"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import * as Server from "@parley/registry/Server"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import { untilValue } from "../../../test-support/Until.ts"

const scope = Scope.makeUnsafe()
let url = ""
beforeAll(async () => {
  const layer = Server.layer({ port: 0, mode: "keys" }).pipe(
    Layer.provide([StoreSqlite.layer(":memory:"), PresenceMemory.layer, LimitsMemory.layer])
  )
  const context = await Effect.runPromise(Scope.provide(Layer.build(layer), scope))
  url = Context.get(context, Server.RegistryServer).url
})
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const start = (options: Agent.Options) => Agent.start({ mdns: false, host: "127.0.0.1", log: "None", ...options })

describe("an agent with a registry", () => {
  test("is found by it, and tells it how a peer did", async () => {
    const ada = await start({ name: "ada", registry: url })
    const bob = await start({ name: "bob", registry: { at: url, trust: 1 } })
    await ada.serve("text.echo@1.0.0", ({ text }) => ({ text }))
    // A record travels by itself.
    while ((await bob.discover("text.echo", { within: "500 millis" })).length === 0) await bob.status()
    expect(await bob.call("text.echo@^1", { text: "hello" })).toEqual({ text: "hello" })
    await bob.close()
    const { standings } = await (await fetch(`${url}/agents/${ada.nodeId}/trust`)).json()
    expect(standings[0]).toMatchObject({ reports: 1, attested: 1 })

    // Somebody who has never met ada begins with what the registry signed of it.
    const carol = await start({ name: "carol", registry: { at: url, trust: 1, register: false } })
    const trust = await untilValue(
      "carol's trust in ada",
      async () => (await carol.discover("text.echo"))[0]?.parts.trust.value ?? 0.5,
      (value) => value !== 0.5
    )
    expect(trust).toBeCloseTo(standings[0].score, 2)
    await Promise.all([ada.close(), carol.close()])
    const left: ReadonlyArray<{ readonly name: string }> = await (await fetch(`${url}/nodes?active=true`)).json()
    expect(left.map(({ name }) => name)).toEqual([])
  }, 30_000)

  test("goes on without one that is not there", async () => {
    const ada = await start({ registry: "http://127.0.0.1:1" })
    const bob = await start({ registry: "http://127.0.0.1:1", peers: ada.addresses })
    await ada.serve("text.echo@1.0.0", ({ text }) => ({ text }))
    expect(await bob.call("text.echo", { text: "hello" })).toEqual({ text: "hello" })
    await Promise.all([ada.close(), bob.close()])
  }, 30_000)
})
