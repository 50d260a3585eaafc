/** Verifies: a network is made, joined by texts carried by hand, and left when the root says so; and no text lets in who found it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import { Agent, Invitation, NetworkFolder } from "@parley/agent"
import * as Identity from "@parley/core/Identity"
import * as MemberCertificate from "@parley/core/MemberCertificate"
import { NodeError } from "@parley/core/NodeError"
import * as Revocations from "@parley/core/Revocations"
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

  test("a certificate counts for a time that certificates have, and a revocation for as long as that", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "ward"))
    const { node, request } = await run(NetworkFolder.ask(machine()))
    for (const lifetimeMs of [0, -1, Number.NaN, MemberCertificate.MAX_LIFETIME_MS + 1])
      expect(await codeOf(NetworkFolder.invite(made.folder, request, { lifetimeMs }))).toBe("BadTime")
    const untils: Array<number> = []
    for (const lifetimeMs of [3_600_000, 60_000]) {
      const { expiresAt = 0 } = await run(NetworkFolder.invite(made.folder, request, { lifetimeMs }))
      untils.push(expiresAt)
    }
    expect((await run(NetworkFolder.revoke(made.folder, node))).revoked).toEqual([{ node, until: Math.max(...untils) }])
    // Of one whose certificate is not remembered, as long as any could count.
    const stranger = Identity.generate().nodeId
    const { revoked } = await run(NetworkFolder.revoke(made.folder, stranger))
    const { until: last = 0 } = revoked.find((one) => one.node === stranger) ?? {}
    expect(last > Date.now() + MemberCertificate.MAX_LIFETIME_MS - 60_000).toBe(true)
  })

  test("the root remembers so many certificates, and can still read what it has written then", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "ward"))
    const { node, request } = await run(NetworkFolder.ask(machine()))
    const issued = join(made.folder, "issued.json")
    const full = Array.from({ length: NetworkFolder.MAX_ISSUED }, () => ({ node: made.node, until: 9_999_999_999_999 }))
    writeFileSync(issued, JSON.stringify(full), { mode: 0o600 })
    await run(NetworkFolder.invite(made.folder, request))
    const kept = JSON.parse(readFileSync(issued, "utf8"))
    expect([kept.length, kept.at(-1).node]).toEqual([NetworkFolder.MAX_ISSUED, node])
    await run(NetworkFolder.invite(made.folder, request))
  })

  test("an invitation with a certificate or a list of another root is none", async () => {
    const [root, other] = [Identity.generate(), Identity.generate()]
    const network = MemberCertificate.networkId(root.nodeId, "ward")
    const issuedAt = Date.now()
    const ada = machine()
    const { node, request } = await run(NetworkFolder.ask(ada))
    const asked = Invitation.readRequest(request)
    if (asked instanceof Invitation.NetworkError) throw asked
    const invitation = (signer: typeof root, lister: typeof root) => {
      const certificate = MemberCertificate.issue(signer, network, {
        member: node,
        issuedAt,
        expiresAt: issuedAt + 60_000
      })
      return Invitation.seal(asked, {
        v: 1,
        name: "ward",
        key: "00".repeat(32),
        root: root.nodeId,
        certificate: Buffer.from(certificate).toString("base64url"),
        revocations: Revocations.revoke(lister, network, undefined, other.nodeId, issuedAt + 60_000, issuedAt)
      })
    }
    expect(await codeOf(NetworkFolder.accept(ada, invitation(other, root)))).toBe("BadInvitation")
    expect(await codeOf(NetworkFolder.accept(ada, invitation(root, other)))).toBe("BadInvitation")
    expect(NetworkFolder.list(ada)).toEqual([])
    expect((await run(NetworkFolder.accept(ada, invitation(root, root)))).node).toBe(node)
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

  test("a folder that others can read, or that is damaged, is refused, and it is said which file", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "ward"))
    const other = await run(NetworkFolder.init(networks, "other"))
    const away = await joinBy(networks, "ward")
    await run(NetworkFolder.revoke(made.folder, away.node))
    await run(NetworkFolder.revoke(other.folder, away.node))
    expect((await run(NetworkFolder.open(made.folder, undefined))).identity.nodeId).toBe(made.node)

    const whyNot = (folder: string) =>
      run(
        Effect.map(Effect.flip(NetworkFolder.open(folder, undefined)), (error) => {
          if (error._tag === "KeyStoreError") return error.reason._tag
          return `${error.code} ${error._tag === "FileError" ? error.what : ""}`
        })
      )
    const damaged = async (file: string, damage: (path: string) => void) => {
      const [path, kept] = [join(made.folder, file), join(home, "kept")]
      copyFileSync(path, kept)
      damage(path)
      const code = await whyNot(made.folder)
      rmSync(path, { force: true })
      copyFileSync(kept, path)
      chmodSync(path, 0o600)
      return code
    }
    const what = {
      "network.json": "network",
      certificate: "member certificate",
      "revocations.json": "revocations"
    }
    for (const [file, name] of Object.entries(what)) {
      expect([file, await damaged(file, (path) => truncateSync(path, 70_000))]).toEqual([file, `TooLarge ${name}`])
      for (const text of ["", "{}", "[", `\u0000${"[".repeat(1_000)}`, "\ud800"])
        expect([file, await damaged(file, (path) => writeFileSync(path, text))]).toEqual([file, `Malformed ${name}`])
      expect([file, await damaged(file, (path) => chmodSync(path, 0o640))]).toEqual([file, `NotPrivate ${name}`])
      if (file === "revocations.json") continue
      expect([file, await damaged(file, (path) => rmSync(path))]).toEqual([file, `NotFound ${name}`])
    }
    // What another network's root has signed, or nobody, is not this network's.
    const foreign = await damaged("revocations.json", (path) =>
      copyFileSync(join(other.folder, "revocations.json"), path)
    )
    expect(foreign).toBe("Malformed revocations")
    const ahead = await damaged("revocations.json", (path) =>
      writeFileSync(path, readFileSync(path, "utf8").replace('"number":1', '"number":9'))
    )
    expect(ahead).toBe("Malformed revocations")
    expect(await damaged("certificate", (path) => copyFileSync(join(other.folder, "certificate"), path))).toBe(
      "Malformed member certificate"
    )
    expect(await damaged("identity.json", (path) => writeFileSync(path, "{}"))).toBe("Malformed")
    expect(await damaged("identity.json", (path) => truncateSync(path, 70_000))).toBe("TooLarge")
    // A network that is no folder.
    expect(await whyNot(join(made.folder, "network.json"))).toMatch(/^(?:NotFound|Io) network$/)
    expect((await run(NetworkFolder.open(made.folder, undefined))).identity.nodeId).toBe(made.node)
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

describe("the watch over a network's folder", () => {
  /** A folder's watch by a clock of the test's: `after` lets looks pass, `jump` lets the time pass in which nobody looks. */
  interface Watched {
    readonly opened: NetworkFolder.Opened
    readonly after: (ms: number) => Effect.Effect<void>
    readonly jump: (ms: number) => Effect.Effect<void>
    /** Its warnings. */
    readonly said: ReadonlyArray<string>
  }
  const watched = (
    folder: string,
    own: Identity.Identity["Service"] | undefined,
    body: (watched: Watched) => Effect.Effect<void>
  ): Promise<void> => {
    const began = Date.now()
    const said: Array<string> = []
    const logger = Logger.make(({ message }) => void said.push(String(message)))
    return run(
      Effect.gen(function* () {
        yield* TestClock.setTime(began)
        const opened = yield* NetworkFolder.open(folder, own)
        const start = Effect.tap(Effect.forkChild(opened.watch), () => TestClock.adjust(0))
        let watch = yield* start
        const jump = (ms: number) =>
          Effect.gen(function* () {
            yield* Fiber.interrupt(watch)
            yield* TestClock.adjust(ms)
            watch = yield* start
          })
        yield* body({ opened, after: TestClock.adjust, jump, said })
        expect(watch.pollUnsafe()).toBe(undefined)
        yield* Fiber.interrupt(watch)
      }).pipe(Effect.provide([TestClock.layer(), Logger.layer([logger])]))
    )
  }
  const numberOf = ({ members }: NetworkFolder.Opened): number => members?.revocations?.number ?? 0

  test("goes on where the folder is away for a while, or replaced, or its list cannot be read", async () => {
    const networks = machine()
    const made = await run(NetworkFolder.init(networks, "ward"))
    const member = await joinBy(networks, "ward")
    const copy = join(machine(), "..", "copy")
    const listOf = async () =>
      JSON.stringify(await run(NetworkFolder.revoke(made.folder, (await joinBy(networks, "ward")).node)))
    const lists = [await listOf(), await listOf(), await listOf(), await listOf()]
    const path = join(member.folder, "revocations.json")
    await watched(member.folder, undefined, ({ after, opened, said }) =>
      Effect.gen(function* () {
        const put = (at: number) => writeFileSync(path, lists[at]!, { mode: 0o600 })
        const { LOOK_MS } = NetworkFolder
        put(0)
        yield* after(LOOK_MS)
        expect(numberOf(opened)).toBe(1)
        // The folder is away, and comes back with a newer list.
        renameSync(member.folder, copy)
        yield* after(3 * LOOK_MS)
        renameSync(copy, member.folder)
        put(1)
        yield* after(LOOK_MS)
        expect(numberOf(opened)).toBe(2)
        // Something else is in its place, and a link that leads to itself.
        renameSync(member.folder, copy)
        writeFileSync(member.folder, "no folder")
        yield* after(LOOK_MS)
        rmSync(member.folder)
        symlinkSync(member.folder, member.folder)
        yield* after(2 * LOOK_MS)
        rmSync(member.folder)
        expect(said.filter((line) => line.includes("revocations")).length).toBeLessThanOrEqual(2)
        renameSync(copy, member.folder)
        // A list that others can read is not taken, that is said once, and it counts as soon as it is its owner's alone.
        // As whoever copies lists with their times may have it.
        utimesSync(path, 1_000, 1_000)
        yield* after(LOOK_MS)
        put(2)
        utimesSync(path, 1_000, 1_000)
        chmodSync(path, 0o644)
        const before = said.length
        yield* after(3 * LOOK_MS)
        expect([numberOf(opened), said.length - before]).toEqual([2, 1])
        expect(said.at(-1)).toContain("chmod 600")
        chmodSync(path, 0o600)
        yield* after(LOOK_MS)
        expect(numberOf(opened)).toBe(3)
        // What members tell while the folder is away is kept when it is back, and no other folder is made for it.
        renameSync(member.folder, copy)
        expect(opened.members?.learn(lists[3]!)).toBe(true)
        yield* after(2 * LOOK_MS)
        expect(readdirSync(join(member.folder, "..")).includes("ward")).toBe(false)
        renameSync(copy, member.folder)
        yield* after(LOOK_MS)
        expect(JSON.parse(readFileSync(path, "utf8")).number).toBe(4)
      })
    )
  })

  test("renews what a key of its own shows, for as long as the member's certificate counts", async () => {
    const networks = machine()
    await run(NetworkFolder.init(networks, "ward"))
    const day = NetworkFolder.DELEGATION_MS
    const member = await joinBy(networks, "ward", 1.25 * day)
    const own = Identity.generate()
    await watched(member.folder, own, ({ jump, opened: { members }, said }) =>
      Effect.gen(function* () {
        const until = (at: number): number => {
          const read = MemberCertificate.verify(members!.certificate, members!.of, own.publicKey, at)
          return "code" in read ? 0 : (read.delegate?.expiresAt ?? 0)
        }
        const began = yield* Clock.currentTimeMillis
        expect(until(began)).toBe(began + day)
        yield* jump(day / 2 - 1)
        expect(until(began + day / 2 - 1)).toBe(began + day)
        yield* jump(1)
        expect(until(began + day / 2)).toBe(began + 1.5 * day)
        yield* jump(day / 2)
        expect([until(began + day), said]).toEqual([began + 2 * day, []])
        // The member's own certificate has ended: that is said.
        yield* jump(day / 2)
        expect([said.length, said[0]?.includes("ask for a new invitation")]).toEqual([1, true])
      })
    )
  })
})
