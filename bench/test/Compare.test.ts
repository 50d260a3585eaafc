import { describe, expect } from "bun:test"
import { spawnSync } from "node:child_process"
import { current, repository } from "../../test-support/Runtime.ts"
import { skipTest } from "../../test-support/Skip.ts"
import type { Verdict } from "../src/Compare.ts"
import { bench } from "./Bench.ts"

const git = (...args: ReadonlyArray<string>) => spawnSync("git", args, { cwd: repository, encoding: "utf8" })
const noGit = git("rev-parse", "HEAD").status === 0 ? undefined : "this is no git checkout"

describe("bench compare", () => {
  skipTest(noGit)(
    "runs a revision against the working tree, and leaves no worktree behind",
    async () => {
      // Rounds this short say nothing, so anything passes.
      const args = ["compare", "HEAD", ".", "--brief", "--runtime", current, "--tolerance", "100000"]
      const { code, err, out } = await bench(...args, "--json")
      expect(err).toContain("compare: start 1 of 1: measured")
      expect(code).toBe(0)
      const { base, head, rounds, verdicts } = JSON.parse(out) as {
        readonly base: string
        readonly head: string
        readonly verdicts: ReadonlyArray<Verdict>
        readonly rounds: { readonly [name: string]: ReadonlyArray<{ readonly calls: number }> }
      }
      expect([base, head]).toEqual([expect.stringMatching(/^[0-9a-f]{7,}$/), "working tree"])
      expect(verdicts.map(({ failed, what }) => [what, failed])).toEqual([
        ["calls/s", false],
        ["CPU µs/call", false]
      ])
      for (const name of ["base", "head"]) {
        expect(rounds[name]?.length).toBe(2)
        for (const { calls } of rounds[name] ?? []) expect(calls).toBeGreaterThan(0)
      }
      expect(git("worktree", "list").stdout).not.toContain("parley-compare-")
    },
    120_000
  )
})
