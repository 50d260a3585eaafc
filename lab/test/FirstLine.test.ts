import { spawn } from "node:child_process"
import { describe, expect, test } from "bun:test"
import { firstLine } from "../src/FirstLine.ts"

const shell = (script: string) => spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "pipe"] })

describe("the first line of a program", () => {
  test("is what it prints first", async () => {
    expect(await firstLine(shell("echo one; echo two"), "a program")).toBe("one")
  })

  test("does not come of one that ends, or does not start, and the error says which", async () => {
    await expect(firstLine(shell("exit 3"), "a program")).rejects.toThrow("a program ended with 3 and said nothing")
    await expect(firstLine(shell("kill -9 $$"), "a program")).rejects.toThrow("ended with SIGKILL")
    const absent = spawn("/nowhere/at-all", [], { stdio: ["ignore", "pipe", "pipe"] })
    await expect(firstLine(absent, "a program")).rejects.toThrow("a program did not start")
  })
})
