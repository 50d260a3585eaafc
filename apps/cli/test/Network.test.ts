/** Verifies: a private network on the command line, from init to revoke, between processes with homes of their own. */
import { afterAll, describe, expect, test } from "bun:test"
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { until } from "../../../test-support/Until.ts"
import { Home, TOLD } from "./Parley.ts"

const [root, ada, bob, eve, sam] = [new Home(), new Home(), new Home(), new Home(), new Home()]
afterAll(async () => {
  for (const home of [root, ada, bob, eve, sam]) await home.close()
})
const timeout = 120_000
const json = async (home: Home, args: ReadonlyArray<string>) => {
  const ended = await home.run([...args, "--json"])
  expect({ args, code: ended.code, stderr: ended.stderr }).toEqual({ args, code: 0, stderr: "" })
  return JSON.parse(ended.stdout)
}
/** Serves in the network, and gives the address and the NodeId. */
const serve = async (home: Home, args: ReadonlyArray<string>) => {
  const running = home.start([
    ...["serve", "--network", "ward", "--host", "127.0.0.1", "--port", "0", "--json"],
    ...["--capability", "say.back@1.0.0", "--exec", "cat", ...args]
  ])
  const [line] = await running.waitFor(TOLD)
  const { addresses, node } = JSON.parse(line)
  return { ...running, address: String(addresses[0]), node: String(node) }
}

describe("a private network", () => {
  test(
    "is made, joined by files, used, and left by force",
    async () => {
      const made = await json(root, ["init", "--network", "ward"])
      expect(statSync(made.folder).mode & 0o077).toBe(0)
      let out = ""
      for (const home of [ada, bob]) {
        const asked = await home.run(["join"])
        expect(asked.stderr).toContain("fingerprint")
        writeFileSync(join(root.path, "request"), asked.stdout)
        const invited = await root.run(["invite", "@request", "--expires", "30d"])
        expect([invited.code, invited.stderr.includes("nobody else, until 20")]).toEqual([0, true])
        writeFileSync(join(home.path, "invitation"), invited.stdout)
        const { expiresAt } = await json(root, ["invite", "@request", "--expires", "30d"])
        expect(Math.round((expiresAt - Date.now()) / 86_400_000)).toBe(30)
        const joined = await json(home, ["join", "@invitation"])
        expect(joined).toMatchObject({ network: "ward", root: made.root })
        out = joined.node
      }
      const stolen = await eve.run(["join", await ada.run(["join"]).then(({ stdout }) => stdout)])
      expect([stolen.code, stolen.stdout]).toEqual([2, ""])

      const first = await serve(root, [])
      expect(first.node).toBe(made.node)
      const second = await serve(ada, ["--peer", first.address])
      // Each command acts under a key of its own, for its member.
      const call = (home: Home, ...args: ReadonlyArray<string>) =>
        home.run(["call", "say.back", '{"n":1}', "--network", "ward", "--json", ...args])
      const peers = ["--peer", first.address, "--peer", second.address]
      expect(await call(bob, ...peers, "--to", second.node)).toMatchObject({ code: 0 })
      expect(await call(bob, ...peers, "--to", first.node)).toMatchObject({ code: 0 })

      expect(await json(root, ["revoke", out])).toMatchObject({ number: 1, revoked: [out] })
      await until("the second member turns it away, too", async () => {
        const { code } = await call(bob, "--peer", second.address, "--deadline", "5s")
        return code !== 0 || "still served"
      })
      const told = await bob.run(["status", second.address, "--network", "ward", "--json"])
      expect(told.code).toBe(3)
      expect(told.stderr).toContain("MemberRevoked")
      expect(await call(ada, ...peers, "--to", first.node)).toMatchObject({ code: 0 })

      const status = await json(root, ["status", "--network", "ward"])
      expect(status).toMatchObject({ identity: made.node, network: made.folder, networkKey: null, revoked: false })
      await root
        .run(["status", "--network", "ward"])
        .then(({ stdout }) => expect(stdout).not.toContain("put this member out"))
      // Whom no member talks to is told by hand.
      await bob.run(["revoke", "-"], { stdin: readFileSync(join(made.folder, "revocations.json"), "utf8") })
      expect((await json(bob, ["status", "--network", "ward"])).revoked).toBe(true)
      expect((await root.run(["status", "--network", "ward"])).stdout).toContain(`network private, in ${made.folder}`)

      // Its node may go on running there. The doctor knows it for what it is, and strangers for what they are.
      const left = await serve(bob, [])
      const doctor = async (home: Home, of: string, ...args: ReadonlyArray<string>) => {
        const port = ["--host", "127.0.0.1", "--port", String(new URL(of).port)]
        const { findings } = JSON.parse((await home.run(["doctor", ...port, ...args, "--json"])).stdout)
        return findings.find(({ check }: { readonly check: string }) => check === "port")
      }
      expect(await doctor(bob, left.address, "--network", "ward")).toMatchObject({ verdict: "ok", code: "OwnNodeRuns" })
      const taken = [
        await doctor(ada, left.address, "--network", "ward"),
        await doctor(ada, first.address, "--network", "ward"),
        await doctor(ada, first.address)
      ]
      expect(taken.map(({ code, found }) => `${code}: ${found.replace(/^.*taken by /, "")}`)).toEqual([
        `PortTaken: another node, ${left.node}`,
        `PortTaken: another node, ${first.node}`,
        "PortTaken: a node of another network"
      ])
    },
    timeout
  )

  test(
    "a serving node takes and turns away whom its lists name",
    async () => {
      const { nodeId: member, path } = await json(ada, ["id", "--network", "ward"])
      expect(path).toBe(join(ada.path, "home/networks/ward/identity.json"))
      const choosy = await serve(root, ["--deny", `say.back=${member}`, "--identity", join(root.path, "choosy.json")])
      const ended = await ada.run([
        ...["call", "say.back", "{}", "--network", "ward", "--peer", choosy.address, "--to", choosy.node, "--json"]
      ])
      expect([ended.code, JSON.parse(ended.stderr).error.reason]).toMatchObject([1, { code: "NotAllowed" }])
      const idle = ["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--port", "0", "--deny", `b.a=${member}`]
      expect(await root.run(idle)).toMatchObject({ code: 2, stdout: "" })
    },
    timeout
  )

  test(
    "keeps its keys sealed, its DHT to itself, and can do without a root",
    async () => {
      const [env, other] = [{ PARLEY_PASSPHRASE: "one" }, { PARLEY_PASSPHRASE: "two" }]
      const made = await sam.run(["init", "--network", "sealed", "--no-root"], { env })
      expect(made.stdout).toContain("without a root")
      const status = ["status", "--network", "sealed", "--json"]
      expect((await sam.run(status, { env: other })).code).toBe(2)
      const { identity, revoked } = JSON.parse((await sam.run(status, { env })).stdout)
      expect(revoked).toBe(false)
      const refused = await sam.run(["revoke", identity], { env })
      expect([refused.code, refused.stderr.includes("has no root")]).toEqual([2, true])

      // Beside a node of the same member, under a key of its own.
      const serving = sam.start(
        ["serve", "--network", "sealed", "--capability", "a.b@1.0.0", "--exec", "cat", "--port", "0"],
        env
      )
      await serving.waitFor(/serving a\.b/)
      const dht = sam.start(
        ["dht", "--identity", "dht.json", "--network", "sealed", "--host", "127.0.0.1", "--port", "0", "--json"],
        env
      )
      const [line] = await dht.waitFor(TOLD)
      const { addresses, udp } = JSON.parse(line)
      expect(addresses).toEqual([`tcp://127.0.0.1:${udp}`])
      const asked = ["doctor", "--no-listen", "--json", "--network", "sealed", "--dht", `127.0.0.1:${udp}`]
      const { findings } = JSON.parse((await sam.run(asked, { env })).stdout)
      expect(findings.map(({ code }: { readonly code: string }) => code)).toContain("Dht")
    },
    timeout
  )

  test("mistakes exit with 2 and say what to do", async () => {
    const request = (await eve.run(["join"])).stdout.trim()
    const wrong: ReadonlyArray<readonly [Home, ReadonlyArray<string>, string]> = [
      [eve, ["init", "--network", "Not A Name"], "such as ward-7"],
      [eve, ["init", "--no-root"], "--network NAME"],
      [root, ["init", "--network", "ward"], "choose another name"],
      [eve, ["invite", request], "say --network NAME"],
      [eve, ["serve", "--network", "ward", "--capability", "a.b@1.0.0", "--exec", "cat"], "parley join"],
      [eve, ["join", "parley-invitation-1.AAAA"], "does not open here"],
      [eve, ["join", "@nosuch"], "nosuch (ENOENT)"],
      [root, ["invite", "request"], "write @request"],
      [root, ["invite", "hello"], "parley join"],
      [root, ["invite", request, "--expires", "soon"], "500ms"],
      [ada, ["invite", request], "only the root"],
      [ada, ["revoke", "ada"], "no NodeId"],
      [
        eve,
        ["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--map-port", "--no-listen"],
        "--map-port would do"
      ],
      [eve, ["status", "tcp://127.0.0.1:1", "--watch"], "leave out the node"],
      [
        root,
        [
          "dht",
          "--network",
          "ward",
          "--host",
          "127.0.0.1",
          "--port",
          "0",
          "--dht",
          "203.0.113.1:1",
          "--identity",
          "dht"
        ],
        "outside of the perimeter"
      ],
      [eve, ["peers", "--dht", "nowhere"], '--dht "nowhere" is no DHT node'],
      [ada, ["peers", "--network", "ward", "--registry", "http://127.0.0.1:1"], "this network is private"],
      [ada, ["peers", "--network", "ward", "--network-key", "x"], "leave out one"],
      [ada, ["peers", "--network", "ward", "--public-dht"], "private"],
      [root, ["dht", "--network", "ward", "--network-key", "x"], "leave out one"],
      [eve, ["revoke", "-"], "say --network NAME"],
      [root, ["revoke", "-"], "no list of revocations"],
      [root, ["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--allow", "ada"], "names no node"]
    ]
    for (const [home, args, said] of wrong) {
      const ended = await home.run(args)
      expect({
        args,
        code: ended.code,
        stdout: ended.stdout,
        said: ended.stderr.includes(said) || ended.stderr
      }).toEqual({
        args,
        code: 2,
        stdout: "",
        said: true
      })
    }
    const file = join(root.path, "home/networks/ward/network.json")
    chmodSync(file, 0o644)
    expect((await root.run(["peers", "--network", "ward"])).stderr).toContain(`chmod 600 ${file}`)
  }, 120_000)
})
