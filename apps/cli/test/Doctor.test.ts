/** Verifies: `parley doctor` says what is wrong and what to do, in words and as JSON, and `status --watch` tells who comes and goes. */
import { afterEach, describe, expect, test } from "bun:test"
import { chmodSync } from "node:fs"
import { createServer } from "node:net"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import * as MeshView from "../src/MeshView.ts"
import type { NodeId } from "@parley/core/NodeId"
import { command, repository } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import { Home } from "./Parley.ts"

const noTerminal =
  spawnSync("script", ["-qec", "true", "/dev/null"]).status === 0
    ? undefined
    : "there is no script(1) of util-linux to make a terminal"

let home = new Home()
afterEach(async () => {
  await home.close()
  home = new Home()
})

interface Finding {
  readonly check: string
  readonly verdict: string
  readonly code: string
  readonly advice?: string
}

const doctor = async (...args: ReadonlyArray<string>) => {
  const { code, stderr, stdout } = await home.run(["doctor", "--host", "127.0.0.1", "--json", ...args])
  expect(stderr).toBe("")
  const { findings, well } = JSON.parse(stdout) as { readonly well: boolean; readonly findings: ReadonlyArray<Finding> }
  return { code, well, codes: findings.map((finding) => `${finding.verdict} ${finding.code}`), findings }
}

describe("parley doctor", () => {
  test("finds nothing wrong with a node by a tracker, and what the tracker sees of it", async () => {
    await home.run(["init"])
    const tracker = home.start(["tracker", "--host", "127.0.0.1", "--port", "0"])
    const [, at] = await tracker.waitFor(/tracker and relay on (tcp:\S+?),? /)
    const { code, codes, well } = await doctor("--tracker", at!, "--port", "0")
    expect([code, well]).toEqual([0, true])
    for (const found of ["ok KeyFile", "ok PortFree", "ok Relay", "ok NoNat", "ok Clock", "ok MulticastOff"]) {
      expect(codes).toContain(found)
    }
  }, 90_000)

  test("says what fails, what to do about it, and ends with 1", async () => {
    await home.run(["init"])
    chmodSync(join(home.path, "home", "identity.json"), 0o640)
    const taken = createServer().listen(0, "127.0.0.1")
    await once(taken, "listening")
    const { port } = taken.address() as { readonly port: number }
    try {
      const { code, codes, findings, well } = await doctor("--port", String(port), "--tracker", "tcp://127.0.0.1:1")
      expect([code, well]).toEqual([1, false])
      for (const found of ["fail KeyFileReadable", "fail PortTaken", "fail RelayNothingListens"]) {
        expect(codes).toContain(found)
      }
      for (const { advice, verdict } of findings) expect(verdict === "ok" || advice !== undefined).toBe(true)
      const told = await home.run(["doctor", "--host", "127.0.0.1", "--port", String(port), "--quiet"])
      expect(told.code).toBe(1)
      expect(told.stdout).toContain("chmod 600")
      expect(told.stdout).not.toContain("ok  ")
    } finally {
      taken.close()
    }
  }, 90_000)

  test("knows a peer by its address, and why another one is none", async () => {
    const serving = home.start([
      "serve",
      "--capability",
      "text.echo@1.0.0",
      "--exec",
      "cat",
      "--host",
      "127.0.0.1",
      "--port",
      "0"
    ])
    const [, at] = await serving.waitFor(/listening on (tcp:\S+?),? /)
    const found = await doctor("--no-listen", at!)
    expect(found.codes).toContain("ok PeerDirect")
    const nobody = await doctor("--no-listen", "tcp://127.0.0.1:1")
    expect([nobody.code, nobody.codes.includes("fail PeerNothingListens")]).toEqual([1, true])
  }, 90_000)
})

describe("parley status --watch", () => {
  test("tells who is there, comes and goes: a line for each, of JSON with --json", async () => {
    const serve = (name: string, ...more: ReadonlyArray<string>) =>
      home.start([
        ...["serve", "--capability", `text.${name}@1.0.0`, "--exec", "cat", "--name", name, "--host", "127.0.0.1"],
        ...["--port", "0", "--identity", join(home.path, `${name}.json`), ...more]
      ])
    const ada = serve("ada")
    const [, at] = await ada.waitFor(/listening on (tcp:\S+?),? /)
    const lines = home.start(["status", "--watch", "--peer", at!])
    const json = home.start(["status", "--watch", "--json", "--peer", at!])
    // Its record may come a moment after its connection, and is a change of what was told then.
    await lines.waitFor(/connected +(?:ada|z6Mk)/)
    await lines.waitFor(/(?:connected|changed) +ada \(z6Mk\w+…\) +direct, tcp:\S+ +serves text\.ada@1\.0\.0/)
    const first = await json.waitFor(/\{.*"event":.*\}/)
    expect(JSON.parse(first[0])).toMatchObject({ event: "connected", standing: "direct" })
    const named = await json.waitFor(/\{.*"event":"(?:connected|changed)".*"name":"ada".*\}/)
    expect(JSON.parse(named[0])).toMatchObject({ standing: "direct", capabilities: ["text.ada@1.0.0"] })
    ada.signal("SIGTERM")
    await lines.waitFor(/(?:gone|disconnected) +ada/)
    await json.waitFor(/"event":"(?:gone|disconnected)"/)
    for (const each of [lines, json]) each.signal("SIGINT")
    expect((await lines.ended).code).toBe(0)
    expect(
      (await json.ended).stdout
        .trim()
        .split("\n")
        .every((line) => JSON.parse(line).event !== undefined)
    ).toBe(true)
  }, 120_000)

  const member = (node: string, standing: MeshView.Standing, name = ""): MeshView.Member => ({
    node: node as NodeId,
    name,
    standing,
    address: "tcp://192.0.2.1:7878",
    capabilities: ["text.count@1.0.0"]
  })
  const view = (...members: ReadonlyArray<MeshView.Member>): MeshView.View =>
    new Map(members.map((each) => [each.node, each]))

  test("calls each change by its name", () => {
    const told = (before: MeshView.View, after: MeshView.View) =>
      MeshView.changes(before, after).map(({ event, member: { node } }) => `${event} ${node}`)
    const known = view(member("a", "known"), member("b", "relayed"), member("c", "direct"))
    expect(told(view(), known)).toEqual(["found a", "connected b", "connected c"])
    expect(told(known, known)).toEqual([])
    expect(told(known, view(member("a", "direct"), member("b", "direct"), member("c", "known")))).toEqual([
      "connected a",
      "rerouted b",
      "disconnected c"
    ])
    expect(told(known, view(member("a", "known", "ada"), member("b", "relayed")))).toEqual(["changed a", "gone c"])
  })

  test("draws into the rows and columns that there are, whatever strangers call themselves", () => {
    const hostile = `\u001b[2J${"x".repeat(500)}\n\n`
    const crowd = view(...Array.from({ length: 500 }, (_, i) => member(`z6Mk${i}`, "known", hostile)))
    const events = Array.from({ length: 50 }, (_, i) => `event ${i}`)
    const drawn = MeshView.draw("● me", crowd, events, 60, 20)
    expect(drawn.length <= 20).toBe(true)
    expect(drawn.every((line) => line.length <= 60 && !line.includes("\u001b") && !line.includes("\n"))).toBe(true)
    expect([drawn[0], drawn.at(-1)]).toEqual(["● me  0 direct, 0 relayed, 500 known", "event 49"])
    expect(MeshView.draw("● me", view(), [], 80, 24)[1]).toBe("nobody is seen yet")
    // The last row is where the cursor stands, also on a screen that is hardly one.
    for (let rows = 1; rows <= 12; rows++)
      expect(MeshView.draw("● me", crowd, events, 60, rows).length).toBeLessThan(Math.max(2, rows))
  })

  skipTest(noTerminal)(
    "draws on a terminal's other screen, and leaves it however it ends",
    async () => {
      const program = command(join(repository, "apps/cli/src/main.ts")).map((word) => `'${word}'`)
      const watch = `${program.join(" ")} status --watch --no-mdns`
      // A terminal that has no size says 0 columns. Signals that come together are one.
      const twice = `stty rows 0 cols 0; ${watch} & read line; for signal in STOP TERM HUP CONT; do kill -$signal $!; done; wait $!`
      for (const [run, ending] of [
        [`exec ${watch}`, "\u0003"],
        [twice, "\n"]
      ] as const) {
        // The same shell everywhere: what one does with a Ctrl-C that its child has heard as well is its own affair.
        const env = { ...process.env, SHELL: "/bin/sh", PARLEY_HOME: home.path }
        const child = spawn("script", ["-qec", run, "/dev/null"], { stdio: ["pipe", "pipe", "inherit"], env })
        let seen = ""
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
          const before = seen
          seen += text
          if (seen.includes("nobody is seen yet") && !before.includes("nobody is seen yet")) child.stdin.write(ending)
        })
        const [code] = await once(child, "close")
        expect(code).toBe(0)
        expect(seen).toMatch(
          // oxlint-disable-next-line no-control-regex
          /\u001b\[\?1049h\u001b\[\?25l[^]*● z6Mk\w+…  0 direct, 0 relayed, 0 known\r\nnobody is seen yet[^]*\u001b\[\?25h\u001b\[\?1049l/
        )
      }
    },
    90_000
  )
})
