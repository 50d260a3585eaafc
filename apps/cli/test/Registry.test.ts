/** Verifies: `parley registry`, and what `--registry` does for the other commands. */
import { afterAll, describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { freePort } from "../../../test-support/Throwaway.ts"
import { Home, type Running, TOLD } from "./Parley.ts"

const home = new Home()
afterAll(() => home.close())
const timeout = 90_000

const own = { DATABASE_URL: "", REDIS_URL: "", AGENT_SECRET: "" }

/** A registry on loopback, with its data in the home folder. */
const registry = async (args: ReadonlyArray<string> = [], data = "registry.db", port = "0") => {
  const running = home.start(["registry", "--json", "--port", port, "--data", join(home.path, data), ...args], own)
  const [line] = await running.waitFor(TOLD)
  type Said = { readonly [what in "url" | "node" | "mode" | "page"]: string }
  return { ...running, ...(JSON.parse(line) as Said) }
}

// oxlint-disable-next-line typescript/no-explicit-any
const get = async (url: string): Promise<any> => {
  const response = await fetch(url)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${text}`)
  return JSON.parse(text)
}

/** Asks again and again, gently, until it holds: a registry is told in the background. */
const until = async <A>(what: string, look: () => Promise<A | undefined>, withinMs = 20_000): Promise<A> => {
  const began = performance.now()
  for (;;) {
    const found = await look().catch(() => undefined)
    if (found !== undefined) return found
    if (performance.now() - began > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const echo = ["--capability", "text.echo@1.0.0", "--exec", "cat"]

const end = async (...all: ReadonlyArray<Running>): Promise<void> => {
  for (const each of all) each.signal("SIGTERM")
  for (const each of all) expect((await each.ended).code).toBe(0)
}

describe("registry", () => {
  test(
    "finds agents, keeps what was told of them, and is left out when it is gone",
    async () => {
      const at = await registry()
      expect(at.mode).toBe("open")
      expect(at.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
      const ada = await home.serve("ada", [...echo, "--registry", at.url])
      const bob = await home.serve("bob", [...echo, "--registry", at.url])

      const found = await home.run(["discover", "text.echo", "--registry", at.url, "--json"])
      expect(found.stderr).toBe("")
      expect(
        JSON.parse(found.stdout)
          .map(({ name, via }: { name: string; via: string }) => [name, via])
          .sort()
      ).toEqual([
        ["ada", "registry"],
        ["bob", "registry"]
      ])
      const peers = await home.run(["peers", "--registry", at.url, "--json"])
      expect(
        JSON.parse(peers.stdout)
          .map(({ node }: { node: string }) => node)
          .sort()
      ).toEqual([ada.node, bob.node].sort())

      const called = await home.run(["call", "text.echo", '{"n":1}', "--to", ada.node, "--registry", at.url, "--json"])
      expect(called.stderr).toBe("")
      const { task } = JSON.parse(called.stdout)
      const traces = await get(`${at.url}/traces?task_id=${task}`)
      expect(traces.map(({ event_type }: { event_type: string }) => event_type)).toEqual(
        expect.arrayContaining(["request_sent", "completed"])
      )
      const trust = await get(`${at.url}/agents/${ada.node}/trust`)
      expect(trust.standings[0]).toMatchObject({ capability: null, reports: 1, attested: 1 })
      expect(trust.standings[0].score).toBeGreaterThan(0.5)
      const [link] = await get(`${at.url}/chain`)
      expect(link.report).toMatchObject({ agent: ada.node, task, success: true, receipt: { executor: ada.node } })
      // Whoever asks once is nobody to be found.
      expect((await get(`${at.url}/agents`)).length).toBe(2)

      await end(at)
      const lost = await home.run(["discover", "text.echo", "--registry", at.url, "--json"])
      expect(lost.code).toBe(3)
      const still = await home.run(["call", "text.echo", '{"n":2}', "--registry", at.url, "--peer", ada.address])
      expect(still).toMatchObject({ code: 0, stdout: '{\n  "n": 2\n}\n' })
      await end(ada, bob)
    },
    timeout
  )

  test(
    "publishes a verdict where that is asked for, and its history can be audited",
    async () => {
      const at = await registry(["--keys", "--public-url", "https://registry.example"], "verdicts.db")
      expect([at.mode, at.page]).toEqual(["keys", "https://registry.example/"])
      const agents = [
        await home.serve("carol", [...echo, "--registry", at.url]),
        await home.serve("dave", [...echo, "--registry", at.url])
      ]
      const ask = ["ask", "text.echo", '{"n":7}', "--select", "all", "--registry", at.url, "--json"]
      const quiet = await home.run(ask)
      expect(JSON.parse(quiet.stdout).status).toBe("reached")
      expect(await get(`${at.url}/verdicts`)).toEqual([])
      const told = await home.run([...ask, "--publish"])
      expect(told.stderr).toBe("")
      const [verdict] = await get(`${at.url}/verdicts`)
      expect(verdict).toMatchObject({ task: JSON.parse(told.stdout).task, question: { n: 7 } })
      writeFileSync(join(home.path, "verdict.json"), JSON.stringify(verdict.certificate))
      expect((await home.run(["verify", "verdict.json"])).stdout).toContain("2 receipts of 2 distinct agents")

      const head = join(home.path, "head.json")
      const copy = join(home.path, "chain.jsonl")
      const audited = await home.run(["registry", "audit", at.url, "--head", head, "--save", copy])
      expect(audited).toMatchObject({ code: 0, stderr: "" })
      expect(audited.stdout).toMatch(/^valid: 4 reports of 2 reviewers about 2 agents, 4 with a receipt that holds\n/)
      const statement = await get(`${at.url}/agents/${agents[0]?.node}/statement`)
      writeFileSync(join(home.path, "statement.json"), JSON.stringify(statement))
      const again = await home.run([
        ...["registry", "audit", at.url, "--head", head, "--statement", "statement.json", "--json"]
      ])
      expect(JSON.parse(again.stdout)).toMatchObject({ ok: true, reports: 4, attested: 4, statements: 1 })

      // A registry that had one report changed, and every later hash with it, does not come through.
      const links = readFileSync(copy, "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line))
      let hash = ""
      const rewritten = links.map((link, i) => {
        const report = i === 1 ? { ...link.report, quality: 0.1 } : link.report
        const canonical = JSON.stringify(report, (_key, value: unknown) =>
          typeof value === "object" && value !== null && !Array.isArray(value)
            ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
            : value
        )
        hash = createHash("sha256").update(`${link.seq}\n${hash}\n${canonical}`).digest("hex")
        return JSON.stringify({ ...link, hash, report })
      })
      writeFileSync(copy, rewritten.join("\n"))
      const caught = await home.run(["registry", "audit", copy, "--head", head])
      expect(caught.code).toBe(1)
      expect(caught.stdout).toContain("history was rewritten: link 4")
      const broken = await home.run(["registry", "audit", "verdict.json"])
      expect(broken).toMatchObject({ code: 2, stdout: "" })
      await end(at, ...agents.toReversed())
    },
    timeout
  )

  test(
    "has its agents back within 5 s of a restart, with what they have earned",
    async () => {
      const port = String(await freePort())
      const first = await registry(["--keys"], "restart.db", port)
      const agents = await Promise.all(
        ["erin", "frank", "grace"].map((name) => home.serve(name, [...echo, "--registry", first.url]))
      )
      for (const { node } of agents) {
        await home.run(["call", "text.echo", "{}", "--to", node, "--registry", first.url])
      }
      const before = await get(`${first.url}/agents`)
      expect(before.map(({ trust_score: score }: { trust_score: number }) => score > 0.5)).toEqual([true, true, true])
      first.signal("SIGKILL")
      await first.ended
      const second = await registry(["--keys"], "restart.db", port)
      const began = performance.now()
      const after = await until(
        "three agents are back",
        async () => {
          const all = await get(`${second.url}/agents?status=healthy`)
          return all.length === 3 ? all : undefined
        },
        5_000
      )
      expect(performance.now() - began).toBeLessThan(5_000)
      const scores = (all: ReadonlyArray<{ manifest: { agent_id: string }; trust_score: number }>) =>
        all.map(({ manifest, trust_score: score }) => [manifest.agent_id, score.toFixed(4)])
      expect(scores(after)).toEqual(scores(before))
      const found = await home.run(["discover", "text.echo", "--registry", second.url, "--json"])
      expect(JSON.parse(found.stdout).length).toBe(3)
      await end(second, ...agents)
    },
    timeout
  )

  test(
    "says what keeps it from starting",
    async () => {
      const at = await registry([], "taken.db")
      const port = new URL(at.url).port
      const data = join(home.path, "taken.db")
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
        [["--port", port], `port ${port} of 127.0.0.1 is in use`],
        [["--port", "0", "--data", data], `is in use by process ${at.pid}`],
        [["--port", "0", "--host", "0.0.0.0", "--open"], "listen on 127.0.0.1"],
        [["--port", "0", "--seed", "ada"], "is no NodeId"],
        [["--port", "0", "--open", "--keys"], "leave one out"]
      ]
      for (const [args, what] of cases) {
        const refused = await home.run(["registry", ...args], { env: own })
        expect({ args, code: refused.code, stdout: refused.stdout }).toEqual({ args, code: 2, stdout: "" })
        expect(refused.stderr).toContain(what)
      }
      await end(at)
    },
    timeout
  )

  test(
    "is kept out of a private network, unless it is the network's own",
    async () => {
      await home.run(["init", "--network-key", "mesh.key"])
      const call = ["call", "a.b", "{}", "--network-key", "mesh.key", "--registry", "http://127.0.0.1:1"]
      const refused = await home.run(call)
      expect(refused.code).toBe(2)
      expect(refused.stderr).toContain("--registry-of-network")
      const taken = await home.run([...call, "--registry-of-network"])
      expect(taken.code).toBe(3)
      expect(taken.stderr).toContain("registry http://127.0.0.1:1")
      for (const [args, what] of [
        [["call", "a.b", "--registry", "127.0.0.1:8000"], "is no URL of a registry"],
        [["call", "a.b", "--registry-of-network"], "gives none"],
        [["ask", "a.b", "--publish"], "gives no registry"]
      ] as const) {
        const wrong = await home.run(args)
        expect({ args, code: wrong.code }).toEqual({ args, code: 2 })
        expect(wrong.stderr).toContain(what)
      }
    },
    timeout
  )
})
