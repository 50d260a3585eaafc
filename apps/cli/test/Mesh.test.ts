import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { spawnSync } from "node:child_process"
import { createServer } from "node:net"
import { join } from "node:path"
import { current, repository } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import { Home, TOLD } from "./Parley.ts"

const home = new Home()
const timeout = 90_000
const file = (name: string, text: string, mode = 0o644): string => {
  const path = join(home.path, name)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

type Served = Awaited<ReturnType<Home["serve"]>>
let ada: Served
let peer: ReadonlyArray<string> = []

beforeAll(async () => {
  file("fields.sh", '#!/bin/sh\nin=$(cat)\nprintf \'{"bytes":%s,"caller":"%s"}\' ${#in} "$PARLEY_CALLER"\n', 0o755)
  file("fail.sh", "#!/bin/sh\ncat > /dev/null\necho 'first line' >&2\necho 'no such luck' >&2\nexit 3\n", 0o755)
  file("noise.sh", "#!/bin/sh\ncat > /dev/null\necho 'hello there'\n", 0o755)
  // Writes who it is, then hangs with a child of its own.
  file("hang.sh", `#!/bin/sh\nsleep 600 &\necho "$$ $!" > ${join(home.path, "pids")}\nwait\n`, 0o755)
  ada = await home.serve("ada", [
    ...["--capability", "text.fields@1.2.0", "--exec", "./fields.sh"],
    ...["--capability", "text.fail@1.0.0", "--exec", "./fail.sh"],
    ...["--capability", "text.noise@1.0.0", "--exec", "./noise.sh"],
    ...["--capability", "text.hang@1.0.0", "--exec", "./hang.sh"],
    ...[
      "--description",
      "Measures the length of a text",
      "--tag",
      "text",
      "--meta",
      "language=en,de",
      "--meta",
      "size=7"
    ],
    ...["--cost", "0.002"]
  ])
  peer = ["--peer", ada.address]
})
afterAll(() => home.close())

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    // One that nobody has collected yet is over all the same.
    return !existsSync(`/proc/${pid}/stat`) || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

/** Asks again and again, gently: the system tells nobody when a stranger's process ends. */
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10))
}
const gone = (pid: number): Promise<void> => until(() => !isAlive(pid))

describe("call", () => {
  test(
    "any program answers",
    async () => {
      const plain = await home.run(["call", "text.fields@^1", '{"text":"abc"}', ...peer])
      expect(plain.stderr).toBe("")
      expect(plain.code).toBe(0)
      expect(JSON.parse(plain.stdout)).toMatchObject({ bytes: 14 })
      const json = await home.run(["call", "text.fields", "-", "--to", ada.address, "--json", "--receipt"], {
        stdin: '{"text":"abc"}'
      })
      const answered = JSON.parse(json.stdout)
      expect(answered).toMatchObject({ peer: ada.node, capability: "text.fields@1.2.0", relayed: false })
      expect(answered.receipt.executor).toBe(ada.node)
      expect(answered.output.caller).toBe(answered.receipt.caller)
    },
    timeout
  )

  test(
    "a file is sent under its extension",
    async () => {
      file("table.csv", "a,b\n1,2\n")
      file("input.json", '{"x":1}')
      const bytes = async (...args: ReadonlyArray<string>) =>
        JSON.parse((await home.run(["call", "text.fields", ...args, ...peer])).stdout).bytes
      expect(await bytes("@table.csv")).toBe('{"csv":"a,b\\n1,2\\n"}'.length)
      expect(await bytes("@input.json")).toBe('{"x":1}'.length)
      expect(await bytes("@table.csv", "--field", "text")).toBe('{"text":"a,b\\n1,2\\n"}'.length)
    },
    timeout
  )

  test(
    "a program that fails is an error with the end of its stderr",
    async () => {
      const failed = await home.run(["call", "text.fail", "{}", ...peer])
      expect(failed.code).toBe(1)
      expect(failed.stdout).toBe("")
      expect(failed.stderr).toContain("exit code 3: first line\nno such luck")
      const noise = await home.run(["call", "text.noise", "{}", ...peer, "--json"])
      expect(noise.code).toBe(1)
      expect(JSON.parse(noise.stderr).error.reason).toMatchObject({ _tag: "HandlerFailed", code: "BadOutput" })
    },
    timeout
  )

  test(
    "at the deadline the program's whole process group is ended",
    async () => {
      const late = await home.run(["call", "text.hang", "{}", ...peer, "--deadline", "1s", "--json"])
      expect(late.code).toBe(4)
      expect(JSON.parse(late.stderr).error.code).toBe("DeadlineExceeded")
      const pids = readFileSync(join(home.path, "pids"), "utf8").trim().split(" ").map(Number)
      expect(pids).toHaveLength(2)
      await Promise.all(pids.map(gone))
    },
    timeout
  )

  test(
    "Ctrl-C cancels on the wire",
    async () => {
      writeFileSync(join(home.path, "pids"), "")
      const calling = home.start(["call", "text.hang", "{}", ...peer])
      const read = () => readFileSync(join(home.path, "pids"), "utf8").trim()
      await until(() => read() !== "")
      calling.signal("SIGINT")
      expect((await calling.ended).code).toBe(130)
      await Promise.all(read().split(" ").map(Number).map(gone))
    },
    timeout
  )

  test(
    "nobody serves it: exit code 3, and what was tried",
    async () => {
      const none = await home.run(["call", "nosuch.thing", "{}", ...peer])
      expect(none.code).toBe(3)
      expect(none.stderr).toMatch(/^no peer serves nosuch\.thing\n {2}tried: known records/)
      const json = await home.run(["call", "nosuch.thing", "{}", ...peer, "--json"])
      expect(JSON.parse(json.stderr).error).toMatchObject({ code: "NoPeer", exitCode: 3 })
    },
    timeout
  )
})

describe("discover", () => {
  test(
    "plain words find it, and the table says why",
    async () => {
      const found = await home.run(["discover", "length of a text", ...peer])
      expect(found.code).toBe(0)
      const [head, ...rows] = found.stdout.trim().split("\n")
      expect(head).toMatch(/^AGENT +CAPABILITY +SCORE +WHY +TRUST +COST +VIA$/)
      expect(rows.join("\n")).toMatch(/ada +text\.fields@1\.2\.0 +0\.\d\d +words .* +\$0\.002 +/)
    },
    timeout
  )

  test(
    "constraints filter",
    async () => {
      const ids = async (...args: ReadonlyArray<string>) =>
        JSON.parse((await home.run(["discover", "text.fields", "--json", ...args, ...peer])).stdout).map(
          ({ capability }: { readonly capability: string }) => capability
        )
      expect(await ids("--where", "language in de,fr", "--where", "size >= 7")).toEqual(["text.fields@1.2.0"])
      expect(await ids("--where", "size >= 8")).toEqual([])
      expect(await ids("--max-cost", "0.001")).toEqual([])
      const none = await home.run(["discover", "text.fields@^2", ...peer])
      expect(none.code).toBe(3)
      expect(none.stderr).toContain("tried:")
    },
    timeout
  )

  test(
    "peers and status know who is there",
    async () => {
      const peers = JSON.parse((await home.run(["peers", "--json", ...peer])).stdout)
      expect(peers).toHaveLength(1)
      expect(peers[0]).toMatchObject({ node: ada.node, name: "ada", connected: "direct" })
      expect(peers[0].capabilities).toContain("text.fields@1.2.0")
      const status = JSON.parse((await home.run(["status", "--json", ...peer])).stdout)
      expect(status).toMatchObject({ mdns: false, peers: [ada.address] })
      expect(status.found[0].node).toBe(ada.node)
      const one = await home.run(["status", ada.address])
      expect(one.stdout).toContain(`ada  ${ada.node}`)
      expect(one.stdout).toContain("serves text.fields@1.2.0")
    },
    timeout
  )
})

describe("ask and verify", () => {
  test("three are asked, one dissents, the certificate counts, and a forged one does not", async () => {
    const sum = (value: number) => `printf '{"sum":${value}}'`
    const others = await Promise.all(
      (
        [
          ["bob", 3],
          ["carol", 3],
          ["dave", 4]
        ] as const
      ).map(([name, value]) => home.serve(name, ["--capability", "math.sum@1.0.0", "--exec", sum(value)]))
    )
    const dave = others[2]?.node ?? ""
    const peers = others.flatMap(({ address }) => ["--peer", address])
    const file = join(home.path, "verdict.json")
    const asked = await home.run([
      ...["ask", "math.sum@^1", "[1,2]", "--select", "all", "--aggregate", "consensus-threshold:0.6"],
      ...["--certificate", file, ...peers]
    ])
    expect(asked.code).toBe(0)
    expect(asked.stdout).toMatch(/^reached 2 of 3 {3}sum 3\n/)
    const verified = await home.run(["verify", file])
    expect(verified.code).toBe(0)
    expect(verified.stdout).toMatch(/^valid: \d receipts of \d distinct agents over the same input/)
    expect(JSON.parse((await home.run(["verify", file, "--json"])).stdout)).toMatchObject({
      valid: true,
      value: { sum: 3 }
    })

    const forged = readFileSync(file, "utf8").replaceAll('"sum": 3', '"sum": 5')
    writeFileSync(file, forged)
    const refused = await home.run(["verify", file])
    expect(refused.code).toBe(5)
    expect(refused.stderr).toContain("forged")
    const json = await home.run(["verify", "-", "--json"], { stdin: forged })
    expect(json.code).toBe(5)
    expect(JSON.parse(json.stderr).error).toMatchObject({ code: "WrongReceipt", exitCode: 5 })

    // All are waited for, so that the dissenter is heard, and believed less.
    const all = await home.run(["ask", "math.sum@^1", "[3]", "--select", "all", "--aggregate", "longest", ...peers])
    expect(all.code).toBe(0)
    const majority = await home.run(["ask", "math.sum@^1", "[4]", "--aggregate", "cluster-vote", "--json", ...peers])
    const verdict = JSON.parse(majority.stdout)
    expect(verdict).toMatchObject({ status: "reached", value: { sum: 3 } })
    for (const dissent of verdict.dissent) expect(dissent.node).toBe(dave)

    // People read names.
    const split = await home.run(["ask", "math.sum@^1", "[5]", "--aggregate", "consensus-threshold:1", ...peers])
    expect(split.code).toBe(1)
    expect(split.stdout).toMatch(/^said sum 4: dave \(z6Mk\w{8}…\)$/m)
    const misspelt = await home.run(["call", "math.sun", "{}", ...peers])
    expect(misspelt.stderr).toMatch(/closest by name: math\.sum@1\.0\.0 at (bob|carol|dave) \(z6Mk\w{8}…\)/)
    const streamed = await home.run(["stream", "math.sum", "{}", ...peers])
    expect(streamed.code).toBe(3)
    expect(streamed.stderr).toContain("math.sum@1.0.0 answers at once: try parley call")
  }, 120_000)

  test(
    "no agreement is exit code 1, an unknown strategy 2",
    async () => {
      const two = await Promise.all(
        [1, 2].map((value) =>
          home.serve(`half${value}`, ["--capability", "math.half@1.0.0", "--exec", `printf ${value}`])
        )
      )
      const peers = two.flatMap(({ address }) => ["--peer", address])
      const tied = await home.run(["ask", "math.half", "{}", "--aggregate", "majority-vote", ...peers])
      expect(tied.code).toBe(1)
      expect(tied.stdout).toMatch(/^(tied|undecided): 2 of 2 answered, the rule is /)
      expect(tied.stdout).toContain("said 1")
      expect(tied.stdout).toContain("said 2")
      const unknown = await home.run(["ask", "text.fields", "{}", "--aggregate", "nosuch-vote", ...peer])
      expect(unknown.code).toBe(2)
      expect(unknown.stderr).toContain("majority-vote")
    },
    timeout
  )
})

describe("serve", () => {
  test(
    "a tracker that is not there is told once, by whoever would be found through it",
    async () => {
      const nowhere = ["--tracker", "tcp://127.0.0.1:1"]
      const twice = ["--capability", "text.a@1.0.0", "--exec", "cat", "--capability", "text.b@1.0.0", "--exec", "cat"]
      const alone = home.start([
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--name",
        "alone",
        "--identity",
        join(home.path, "alone.json"),
        ...twice,
        ...nowhere
      ])
      await alone.waitFor(/serving text/)
      await alone.waitFor(/WARN.*tracker tcp:\/\/127\.0\.0\.1:1: could not reach/)
      alone.signal("SIGTERM")
      expect((await alone.ended).stderr.match(/WARN/g)).toHaveLength(1)
      const scripted = await home.serve("scripted", ["--capability", "text.c@1.0.0", "--exec", "cat", ...nowhere])
      const [line] = await scripted.waitFor(/^\{"log":.*$/m)
      expect(JSON.parse(line).log).toMatchObject({ level: "Warn", message: expect.stringContaining("could not reach") })
      scripted.signal("SIGTERM")
      for (const said of (await scripted.ended).stderr.trim().split("\n")) JSON.parse(said)
      const { stderr } = await home.run(["call", "text.none", "{}", ...nowhere])
      expect(stderr).toContain("tracker tcp://127.0.0.1:1 (could not reach")
      expect(stderr).not.toContain("WARN")
      const seen = await home.run(["peers", ...nowhere])
      expect(seen.code).toBe(0)
      expect(seen.stdout).toContain("no agent was found\n  tried: tracker tcp://127.0.0.1:1 (could not reach")
      expect((await home.run(["discover", ...nowhere])).stderr).toContain("nobody serves anything\n  tried: tracker")
    },
    timeout
  )

  test(
    "a module's exports are served, also with a function that takes the agent",
    async () => {
      file(
        "caps.ts",
        [
          "export const upper = {",
          '  capability: "text.upper@1.0.0",',
          "  handler: async ({ text }: { text: string }) => ({ text: text.toUpperCase() })",
          "}",
          "export default (agent: { serve: (id: string, handler: (input: { n: number }) => unknown) => unknown }) =>",
          '  agent.serve("count.up@1.0.0", async function* ({ n }) {',
          "    for (let i = 1; i <= n; i++) yield { i }",
          "  })"
        ].join("\n")
      )
      const served = await home.serve("erin", ["--module", "caps.ts"])
      const upper = await home.run(["call", "text.upper", '{"text":"abc"}', "--peer", served.address])
      expect(JSON.parse(upper.stdout)).toEqual({ text: "ABC" })
      const chunks = await home.run(["stream", "count.up", '{"n":3}', "--peer", served.address, "--json"])
      expect(chunks.stdout).toBe('{"i":1}\n{"i":2}\n{"i":3}\n')
    },
    timeout
  )

  test(
    "a port in use is exit code 2, and the port is named",
    async () => {
      const taken = createServer()
      const port = await new Promise<number>((resolve) =>
        taken.listen(0, "127.0.0.1", () => {
          const address = taken.address()
          resolve(typeof address === "object" && address !== null ? address.port : 0)
        })
      )
      try {
        const refused = await home.run([
          ...["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--host", "127.0.0.1", "--port", String(port)]
        ])
        expect(refused.code).toBe(2)
        expect(refused.stderr).toContain(`port ${port} is in use`)
      } finally {
        taken.close()
      }
    },
    timeout
  )

  test(
    "one key serves once at a time; SIGTERM drains and exits with 0, also where it comes to the whole process group",
    async () => {
      const first = await home.serve("frank", [
        "--capability",
        "a.b@1.0.0",
        "--exec",
        "touch begun; sleep 0.5; printf 1"
      ])
      const key = join(home.path, "frank.json")
      const second = await home.run(["serve", "--identity", key, "--capability", "a.b@1.0.0", "--exec", "cat"])
      expect(second.code).toBe(2)
      expect(second.stderr).toContain(`in use by process ${first.pid}`)
      const calling = home.run(["call", "a.b", "{}", "--peer", first.address])
      await until(() => existsSync(join(home.path, "begun")))
      // Both, so that the second one does not merge with the first: what started this process passes on what it has heard as well.
      first.signal("SIGTERM")
      first.signal("SIGHUP")
      expect((await calling).stdout).toBe("1\n")
      expect((await first.ended).code).toBe(0)
      expect(existsSync(`${key}.lock`)).toBe(false)
    },
    timeout
  )
})

const noNode = spawnSync("node", ["--version"]).status === 0 ? undefined : "there is no node, which starts parley"

describe("in the background", () => {
  skipTest(noNode)(
    "it goes on when the shell that started it has ended",
    async () => {
      const log = join(home.path, "background.log")
      const program = `'${join(repository, "apps/cli/bin/parley.mjs")}'`
      const serve = "serve --capability a.b@1.0.0 --exec cat --host 127.0.0.1 --port 0 --no-mdns --no-gossip"
      // npm's own shells are another matter: they do not pass signals on.
      const line = `unset npm_lifecycle_event
        ${program} ${serve} > '${log}' 2>&1 &
        while kill -0 $! && ! grep -q serving '${log}'; do sleep 0.05; done
        printf %s $!`
      const env = { ...process.env, PARLEY_RUNTIME: current, PARLEY_HOME: join(home.path, "background") }
      const { stdout: pid } = spawnSync("sh", ["-c", line], { env, encoding: "utf8" })
      try {
        const [, at = ""] = /listening on (tcp:\S+)/.exec(readFileSync(log, "utf8")) ?? []
        // Longer than it takes to notice that the shell is gone: a command starts, asks, and ends.
        for (let asked = 0; asked < 3; asked++) {
          expect((await home.run(["call", "a.b", '{"n":1}', "--peer", at, "--json"])).code).toBe(0)
        }
      } finally {
        process.kill(Number(pid), "SIGTERM")
        await gone(Number(pid))
      }
      expect(readFileSync(log, "utf8")).toContain("stopping")
    },
    timeout
  )
})

describe("tracker", () => {
  test(
    "introduces agents, and relays to one that accepts no connections",
    async () => {
      const tracker = home.start(["tracker", "--host", "127.0.0.1", "--port", "0", "--json"])
      const [line] = await tracker.waitFor(TOLD)
      const [at] = JSON.parse(line).addresses
      const hidden = home.start([
        ...["serve", "--name", "grace", "--identity", join(home.path, "grace.json"), "--no-listen", "--json"],
        ...["--tracker", at, "--capability", "text.hidden@1.0.0", "--exec", "printf '\"found\"'"]
      ])
      await hidden.waitFor(TOLD)
      const answered = await home.run(["call", "text.hidden", "{}", "--tracker", at, "--json"])
      expect(answered.stderr).toBe("")
      expect(JSON.parse(answered.stdout)).toMatchObject({ output: "found", relayed: true })
      const via = await home.run(["call", "text.hidden", "{}", "--via", at])
      expect(via.stdout).toBe("found\n")
      tracker.signal("SIGINT")
      expect((await tracker.ended).code).toBe(0)
    },
    timeout
  )
})
