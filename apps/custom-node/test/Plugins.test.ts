/**
 * Verifies: the plugins need nothing but `@parley/core`. They are type-checked in a folder of their own, where `effect`,
 * `@parley/core` and the types of Node are all that can be resolved.
 */
import { execFile } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, test } from "bun:test"
import { repository } from "../../../test-support/Runtime.ts"
import { toolCommand } from "../../../scripts/setup.mjs"

const plugins = join(repository, "apps/custom-node/src/plugins")
const files = readdirSync(plugins)

/** Type-checks a copy of the plugins, and one more file, where only the given packages are installed. */
const check = async (extra: string): Promise<{ readonly code: number; readonly output: string }> => {
  const home = mkdtempSync(join(tmpdir(), "parley-plugins-"))
  try {
    cpSync(plugins, join(home, "src"), { recursive: true })
    writeFileSync(join(home, "src/Extra.ts"), extra)
    const manifest = { type: "module", dependencies: { "@parley/core": "*", effect: "*" } }
    writeFileSync(join(home, "package.json"), JSON.stringify(manifest))
    const { compilerOptions } = JSON.parse(readFileSync(join(repository, "tsconfig.json"), "utf8"))
    const options = { ...compilerOptions, types: ["node"], plugins: [] }
    writeFileSync(join(home, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: ["src"] }))
    for (const name of ["@parley/core", "effect", "@types/node"]) {
      mkdirSync(join(home, "node_modules", name, ".."), { recursive: true })
      symlinkSync(join(repository, "node_modules", name), join(home, "node_modules", name))
    }
    const [command, ...args] = toolCommand("typescript/bin/tsc")
    return await new Promise((resolve) => {
      execFile(command, [...args, "--noEmit", "-p", home], (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : 1, output: stdout + stderr })
      )
    })
  } finally {
    rmSync(home, { recursive: true })
  }
}

describe("plugins", () => {
  test("import core, effect, what Node has built in, and each other: nothing else", () => {
    expect(files.length > 0).toBe(true)
    const strangers = files.flatMap((file) => {
      const source = readFileSync(join(plugins, file), "utf8")
      const imports = [...source.matchAll(/(?:from|import\()\s*"([^"]+)"/g)].map((match) => match[1]!)
      expect(imports.length > 0).toBe(true)
      return imports.filter(
        (name) =>
          !/^(?:@parley\/core|effect)(?:\/|$)/.test(name) &&
          !(name.startsWith("node:") && isBuiltin(name)) &&
          !files.includes(name.slice("./".length))
      )
    })
    expect(strangers).toEqual([])
  })

  test("compile where only @parley/core and effect are installed", async () => {
    expect(await check("export {}\n")).toEqual({ code: 0, output: "" })
  }, 60_000)

  test("and that place really has no other part of Parley, nor core's private files", async () => {
    for (const name of [
      "@parley/consensus/Selection",
      "@parley/transport-tcp/Noise",
      "@parley/core/internal/Matching"
    ]) {
      const { code, output } = await check(`export * from "${name}"\n`)
      expect(code).toBe(1)
      expect(output).toContain("Cannot find module")
    }
  }, 60_000)
})
