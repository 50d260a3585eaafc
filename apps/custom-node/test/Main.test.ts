/** Verifies: the custom node runs as a program, and says so when a part does not do its work. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { describe, expect, test } from "bun:test"
import { command, repository } from "../../../test-support/Runtime.ts"

const main = join(repository, "apps/custom-node/src/main.ts")
const run = (...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resolve) => {
    const [file, ...before] = command(main)
    execFile(file, [...before, ...args], { timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
    )
  })

describe("custom-node", () => {
  test("finds, matches, calls and asks through its own parts", async () => {
    const { code, stderr, stdout } = await run("--json")
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    const report = JSON.parse(stdout)
    expect(report.known).toBe(6)
    expect(report.matching.toSorted()).toEqual(["axel", "ivo", "lena", "rich", "sara"])
    expect(report.asked.toSorted()).toEqual(["axel", "ivo", "lena", "sara"])
    expect(report.verdict.status).toBe("reached")
    expect(report.offByMetres < 0.1).toBe(true)
    expect(report.dissent).toEqual(["axel"])
    expect(report.schemes).toEqual(["unix"])
  }, 60_000)

  test("exits 1 and says why when more agents lie than the median can bear", async () => {
    const { code, stderr, stdout } = await run("--json", "--liars", "3")
    expect(code).toBe(1)
    expect(stderr).toContain("GeometricMedian")
    expect(JSON.parse(stdout).failed.length > 0).toBe(true)
  }, 60_000)

  test("explains itself, and a wrong argument", async () => {
    const help = await run("--help")
    expect([help.code, help.stdout.includes("--liars")]).toEqual([0, true])
    for (const args of [["--nonsense"], ["--liars", "9"]]) {
      const { code, stderr } = await run(...args)
      expect([code, stderr.includes("--help")]).toEqual([64, true])
    }
  }, 60_000)
})
