/** Verifies: a network is made, joined by texts carried by hand, and left when the root says so; and no text lets in who found it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { Agent, NetworkFolder } from "@parley/agent"
import { NodeError } from "@parley/core/NodeError"
import { until } from "../../../test-support/Until.ts"

let home = ""
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "parley-network-"))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

const run = Effect.runPromise
const codeOf = (effect: Effect.Effect<unknown, { readonly _tag: string }>) =>
  run(Effect.map(Effect.flip(effect), (error) => ("code" in error ? String(error.code) : error._tag)))

let machines = 0
/** A folder of networks, as on a machine of its own. */
const machine = (): string => join(home, `machine-${machines++}`)

/** Joins by request and invitation. */
const joinBy = async (root: string, name: string, lifetimeMs?: number) => {
  const networks = machine()
  const { request } = await run(NetworkFolder.ask(networks))
  const given = lifetimeMs === undefined ? {} : { lifetimeMs }
  const { invitation } = await run(NetworkFolder.invite(join(root, name), request, given))
  return run(NetworkFolder.accept(networks, invitation))
}

const start = (network: string, peers: ReadonlyArray<string> = []) =>
  Agent.start({ network, peers, host: "127.0.0.1", mdns: false, log: "Error" })

describe("a network's folder", () => {
  test("is made once, and every file of it is its owner's alone", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "ward"))
    expect(made.root === undefined).toBe(false)
    expect(await codeOf(NetworkFolder.init(networks, "ward"))).toBe("Exists")
    for (const file of readdirSync(made.folder)) expect(statSync(join(made.folder, file)).mode & 0o077).toBe(0)
    expect(NetworkFolder.list(networks)).toEqual(["ward"])
    for (const name of ["", "..", "a/b", "Ward", ".x", "x".repeat(70)])
      expect([name, await codeOf(NetworkFolder.init(networks, name))]).toEqual([name, "BadName"])
  })

  test("an invitation opens for whoever asked, once, and for nobody else", async () => {
    const root = machine()
    await run(NetworkFolder.init(root, "ward"))
    const [ada, eve] = [machine(), machine()]
    const asked = await run(NetworkFolder.ask(ada))
    expect(await run(NetworkFolder.ask(ada))).toEqual(asked)
    await run(NetworkFolder.ask(eve))
    const folder = join(root, "ward")
    const { invitation, node } = await run(NetworkFolder.invite(folder, asked.request))
    expect(node).toBe(asked.node)
    const key = JSON.parse(readFileSync(join(folder, "network.json"), "utf8")).key
    expect(invitation).not.toContain(key)
    expect(Buffer.from(invitation.split(".")[1]!, "base64url").includes(Buffer.from(key, "hex"))).toBe(false)
    expect(await codeOf(NetworkFolder.accept(eve, invitation))).toBe("NotForThisNode")
    expect(await codeOf(NetworkFolder.accept(ada, `${invitation.slice(0, -4)}AAAA`))).toBe("NotForThisNode")
    expect(await codeOf(NetworkFolder.accept(ada, "hello"))).toBe("BadInvitation")
    const joined = await run(NetworkFolder.accept(ada, ` ${invitation}\n`))
    expect(joined).toMatchObject({ name: "ward", node })
    expect(readdirSync(joined.folder).includes("opener")).toBe(false)
    expect(await codeOf(NetworkFolder.accept(ada, invitation))).toBe("NotForThisNode")
    // Members invite nobody.
    const more = await run(NetworkFolder.ask(machine()))
    expect(await codeOf(NetworkFolder.invite(joined.folder, more.request))).toBe("NoRoot")
    expect(await codeOf(NetworkFolder.revoke(joined.folder, node))).toBe("NoRoot")
    for (const wrong of ["", "parley-request-1.", more.request.slice(0, -9), more.request.replace(/.$/, "!")])
      expect(await codeOf(NetworkFolder.invite(folder, wrong))).toBe("BadRequest")
    const changed = Buffer.from(more.request.split(".")[1]!, "base64url")
    changed[40] = changed[40]! ^ 1
    expect(await codeOf(NetworkFolder.invite(folder, `parley-request-1.${changed.toString("base64url")}`))).toBe(
      "BadRequest"
    )
  })

  test("without a root, whoever is invited is a member, and nobody can be put out", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "open-house", { root: false }))
    const joined = await joinBy(networks, "open-house")
    expect(joined.root).toBe(undefined)
    const a = await start(made.folder)
    const b = await start(joined.folder, a.addresses)
    try {
      await a.serve("say.hello@1.0.0", () => "hello")
      expect(await b.call("say.hello", {}, { to: a.nodeId })).toBe("hello")
    } finally {
      await b.close()
      await a.close()
    }
    expect(await codeOf(NetworkFolder.revoke(made.folder, joined.node))).toBe("NoRoot")
  })
})

describe("members", () => {
  test("talk, act under other keys, and one that the root puts out is cut off by all", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "ward"))
    const [second, third] = [await joinBy(networks, "ward"), await joinBy(networks, "ward")]
    const a = await start(made.folder)
    const b = await start(second.folder, a.addresses)
    const c = await start(third.folder, b.addresses)
    const agents = [a, b, c]
    try {
      expect([a.nodeId, b.nodeId, c.nodeId]).toEqual([made.node, second.node, third.node])
      await a.serve("for.third@1.0.0", () => "yes", { allow: [c.nodeId] })
      await until("all know each other's neighbours", async () => (await b.peers()).length === 2)
      expect(await c.call("for.third", {}, { to: a.nodeId })).toBe("yes")
      // A command under a key of its own acts for its member.
      const command = await Agent.start({
        network: third.folder,
        identity: new Uint8Array(32).fill(9),
        peers: a.addresses,
        host: "127.0.0.1",
        listen: false,
        mdns: false,
        log: "Error"
      })
      agents.push(command)
      expect(command.nodeId === c.nodeId).toBe(false)
      expect(await command.call("for.third", {}, { to: a.nodeId })).toBe("yes")
      const wrong: unknown = await b
        .serve("for.nobody@1.0.0", () => "yes", { deny: ["ada"] as never })
        .catch((error: unknown) => error)
      expect(wrong instanceof NodeError && wrong.message).toContain("no NodeId")
      await b.serve("for.all@1.0.0", () => "yes", { deny: [] })
      const denied = await b.call("for.third", {}, { to: a.nodeId }).catch((error: unknown) => error)
      expect(denied instanceof NodeError && denied.reason).toMatchObject({ _tag: "Rejected", code: "NotAllowed" })

      const list = await run(NetworkFolder.revoke(made.folder, c.nodeId))
      expect([list.number, list.revoked.map(({ node }) => node)]).toEqual([1, [c.nodeId]])
      await until("a and b have no connection to it", async () => {
        const peers = [...(await a.peers()), ...(await b.peers())].map(({ node }) => node)
        return !peers.includes(c.nodeId) && !peers.includes(command.nodeId)
      })
      await until("b has kept the list, and so has the one put out", () =>
        [second, third].every(({ folder }) => readdirSync(folder).includes("revocations.json"))
      )
      const refused: unknown = await c
        .call("for.all", {}, { to: b.nodeId, deadline: "5 seconds" })
        .catch((error: unknown) => error)
      expect(refused instanceof NodeError).toBe(true)
      expect(await a.call("for.all", {}, { to: b.nodeId })).toBe("yes")
    } finally {
      for (const agent of agents.reverse()) await agent.close()
    }
  }, 60_000)

  test("a list carried by hand counts when the root has signed it, and only when it is newer", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "ward"))
    const member = await joinBy(networks, "ward")
    const [x, y] = [await joinBy(networks, "ward"), await joinBy(networks, "ward")]
    const first = JSON.stringify(await run(NetworkFolder.revoke(made.folder, x.node)))
    const second = JSON.stringify(await run(NetworkFolder.revoke(made.folder, y.node)))
    expect(await run(NetworkFolder.takeOver(member.folder, second))).toBe(true)
    expect(await run(NetworkFolder.takeOver(member.folder, first))).toBe(false)
    expect(JSON.parse(readFileSync(join(member.folder, "revocations.json"), "utf8")).number).toBe(2)
    expect(await codeOf(NetworkFolder.takeOver(member.folder, second.replace('"number":2', '"number":3')))).toBe(
      "BadList"
    )
    expect(await codeOf(NetworkFolder.takeOver(member.folder, "[]"))).toBe("BadList")
    // Whoever was put out is not let in again.
    const asked = await run(NetworkFolder.ask(machine()))
    await run(NetworkFolder.revoke(made.folder, asked.node))
    expect(await codeOf(NetworkFolder.invite(made.folder, asked.request))).toBe("Revoked")
  })

  test("a certificate that has ended opens nothing", async () => {
    const networks = machine()
    await run(NetworkFolder.init(networks, "ward"))
    const ada = machine()
    const { request } = await run(NetworkFolder.ask(ada))
    const { invitation } = await run(NetworkFolder.invite(join(networks, "ward"), request, { lifetimeMs: 1 }))
    await until(
      "it has ended",
      () => Date.now() > 0 && codeOf(NetworkFolder.accept(ada, invitation)).then((code) => code === "BadInvitation")
    )
  })

  test("a folder that others can read, or that is damaged, is refused", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "ward"))
    const file = join(made.folder, "network.json")
    writeFileSync(file, "{}")
    expect(await codeOf(NetworkFolder.open(made.folder, undefined))).toBe("Malformed")
    rmSync(file)
    expect(await codeOf(NetworkFolder.open(made.folder, undefined))).toBe("NotFound")
  })

  test("nothing outside of the private ranges is used", async () => {
    const made = await run(NetworkFolder.init(machine(), "ward"))
    const refused: unknown = await Agent.start({
      network: made.folder,
      mdns: false,
      registry: { at: "http://registry.example", ofNetwork: true }
    }).catch((error: unknown) => error)
    expect(String(refused)).toContain("private networks")
    const agent = await start(made.folder)
    try {
      const error: unknown = await agent
        .call("any.thing", {}, { to: { addresses: ["tcp://example.com:7878"] } } as never)
        .catch((cause: unknown) => cause)
      expect(error instanceof Error).toBe(true)
    } finally {
      await agent.close()
    }
  })
})
