import { afterAll, describe, expect, test } from "bun:test"
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Home } from "./Parley.ts"

const home = new Home()
afterAll(() => home.close())
const timeout = 90_000

describe("keys", () => {
  test(
    "init makes a key file once; id, pubkey and fingerprint tell of it",
    async () => {
      const none = await home.run(["id"])
      expect(none.code).toBe(2)
      expect(none.stderr).toContain("parley init")
      const made = JSON.parse((await home.run(["init", "--json"])).stdout)
      expect(made).toMatchObject({ made: true })
      expect(statSync(made.path).mode & 0o777).toBe(0o600)
      expect(JSON.parse((await home.run(["init", "--json"])).stdout)).toMatchObject({
        nodeId: made.nodeId,
        made: false
      })
      expect((await home.run(["id"])).stdout).toBe(`${made.nodeId}\n`)
      expect((await home.run(["pubkey", made.did])).stdout).toMatch(/^[0-9a-f]{64}\n$/)
      expect((await home.run(["fingerprint"])).stdout).toBe(`${made.fingerprint}\n`)
    },
    timeout
  )

  test(
    "a passphrase seals the file, and a wrong one does not open it",
    async () => {
      const file = join(home.path, "sealed.json")
      const key = ["--identity", file]
      const init = await home.run(["init", ...key], { env: { PARLEY_PASSPHRASE: "correct horse" } })
      expect(init.code).toBe(0)
      for (const said of [
        (await home.run(["id", ...key])).stderr,
        (await home.run(["doctor", "--no-listen", ...key])).stdout
      ]) {
        expect(said).toContain("needs a passphrase")
        expect(said).toContain("PARLEY_PASSPHRASE")
      }
      const wrong = await home.run(["id", ...key, "--json"], { env: { PARLEY_PASSPHRASE: "battery staple" } })
      expect(wrong.code).toBe(2)
      expect(JSON.parse(wrong.stderr).error).toMatchObject({ code: "WrongPassphrase", exitCode: 2 })
      writeFileSync(join(home.path, "secret"), "correct horse\n")
      const opened = await home.run(["id", ...key, "--passphrase-file", join(home.path, "secret")])
      expect(opened.stdout).toBe(init.stdout.split("\n")[0] + "\n")
    },
    timeout
  )

  test(
    "a key file that others can read is refused, and what to do is said",
    async () => {
      const file = join(home.path, "open.json")
      await home.run(["init", "--identity", file])
      chmodSync(file, 0o644)
      const refused = await home.run(["id", "--identity", file])
      expect(refused.code).toBe(2)
      expect(refused.stderr).toContain(`chmod 600 ${file}`)
    },
    timeout
  )

  test(
    "a network key is made once",
    async () => {
      const file = join(home.path, "mesh.key")
      expect((await home.run(["init", "--network-key", file])).code).toBe(0)
      expect(statSync(file).mode & 0o777).toBe(0o600)
      const text = readFileSync(file, "utf8")
      expect(text).toMatch(/^[0-9a-f]{64}\n$/)
      expect((await home.run(["init", "--network-key", file])).code).toBe(2)
      expect(readFileSync(file, "utf8")).toBe(text)
    },
    timeout
  )
})

describe("the command line", () => {
  test(
    "help, version and completions go to stdout",
    async () => {
      const help = await home.run(["--help"])
      expect(help.code).toBe(0)
      for (const word of ["Exit codes", "PARLEY_HOME", "discover", "verify"]) expect(help.stdout).toContain(word)
      expect((await home.run(["--version"])).stdout).toContain("0.1.0")
      expect((await home.run(["ask", "--help"])).stdout).toContain("parley ask csv.describe@^1 @table.csv")
      const script = await home.run(["completions", "bash"])
      expect(script.code).toBe(0)
      expect(script.stdout).toContain("fingerprint")
    },
    timeout
  )

  test("mistakes exit with 2, say where to read on, and leave stdout alone", async () => {
    const wrong: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["call"], "capability"],
      [["cal"], "cal"],
      [["call", "a.b", "{}", "--nosuch"], "--nosuch"],
      [["call", "a.b", "{nope"], "not JSON"],
      [["call", "a.b", "@nosuch.json"], "nosuch.json"],
      [["call", "a.b", "{}", "--deadline", "soon"], "500ms"],
      [["call", "a.b", "{}", "--deadline", "0s"], '"0s" is no time'],
      [["call", "a.b", "{}", "--min-trust", "2"], "2 is more than 1"],
      [["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--queue", "-1"], "-1 is less than 0"],
      [
        ["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--advertise", "h:1"],
        '--advertise "h:1" is no address'
      ],
      [["discover", "--where", "language"], "language in en,de"],
      [["discover", "a.*.b"], "at the end"],
      [["call", "a.b", "{}", "--peer", "nowhere"], "tcp://host:port"],
      [["serve"], "nothing to serve"],
      [["serve", "--capability", "a.b@1.0.0"], "--exec"],
      [["serve", "--capability", "a.b", "--exec", "cat"], "a.b@1.0.0"],
      [["serve", "--module", "nosuch.ts"], "there is no module"],
      [["serve", "--module", "nosuch.ts", "--cost", "1"], "--cost would do nothing"],
      [["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--port", "99999"], "99999 is no port"],
      [["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--name", "a\u001b[31mb"], "no control characters"],
      [["tracker", "--port", "-1"], "-1 is no port"],
      [["call", "a.b", "{}", "--to", "ada"], "neither a NodeId"],
      [["status", "127.0.0.1:7878"], '"127.0.0.1:7878" is neither a NodeId'],
      [["doctor", "tcp://127.0.0.1"], '"tcp://127.0.0.1" is neither a NodeId'],
      [["peers", "--tracker", "localhost:7878"], '--tracker "localhost:7878" is no address'],
      [["peers", "--peer", "tcp://127.0.0.1:1/ada"], "tcp://host:port/z6Mk"],
      [["call", "a.b", "{}", "--via", "relay"], '--via "relay" is no address'],
      [
        ["serve", "--capability", "a.b@1.0.0", "--exec", "cat", "--relay", "tcp://h"],
        '--relay "tcp://h" is no address'
      ],
      [["registry", "--host", "0.0.0.0", "--port", "0", "--open"], "--keys in place of --open"],
      [["invite", "@nosuch", "--network", "ward"], 'no network "ward"'],
      [["ask", "a.b", "{}", "--certificate", "nosuch/verdict.json"], "there is no folder"],
      [["status", "--network-key", "nosuch.key"], "nosuch.key"],
      [["verify", "nosuch.json"], "nosuch.json"]
    ]
    for (const [args, said] of wrong) {
      const ended = await home.run(args)
      expect({ args, code: ended.code, stdout: ended.stdout }).toEqual({ args, code: 2, stdout: "" })
      expect(ended.stderr).toContain(said)
    }
    const json = await home.run(["call", "--json"])
    expect(JSON.parse(json.stderr).error).toMatchObject({ code: "MissingArgument", exitCode: 2 })
  }, 120_000)
})
