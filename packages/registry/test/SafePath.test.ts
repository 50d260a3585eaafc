import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SafePath from "@parley/registry/SafePath"

let top = ""
let root = ""
beforeAll(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), "parley-path-")))
  root = join(top, "dist")
  mkdirSync(join(root, "assets"), { recursive: true })
  mkdirSync(join(top, "dist-private"))
  writeFileSync(join(root, "index.html"), "page")
  writeFileSync(join(root, "assets", "app-1a_B.js"), "script")
  writeFileSync(join(root, "assets", ".env"), "secret")
  writeFileSync(join(top, "secret.txt"), "secret")
  writeFileSync(join(top, "dist-private", "secret.txt"), "secret")
  symlinkSync(join(top, "secret.txt"), join(root, "link.txt"))
  symlinkSync(top, join(root, "up"))
  symlinkSync(join(root, "index.html"), join(root, "inside.html"))
  symlinkSync(join(root, "loop"), join(root, "loop"))
})
afterAll(() => rmSync(top, { recursive: true, force: true }))

describe("a path below a directory", () => {
  test("names a file there", async () => {
    expect(await SafePath.find(root, "/index.html")).toBe(join(root, "index.html"))
    expect(await SafePath.find(root, "/assets/app-1a_B.js")).toBe(join(root, "assets", "app-1a_B.js"))
    expect(await SafePath.find(root, "/%69ndex.html")).toBe(join(root, "index.html"))
    expect(await SafePath.find(root, "/inside.html")).toBe(join(root, "index.html"))
  })

  test("names nothing else, however it is written", async () => {
    for (const path of [
      "",
      "/",
      "index.html",
      "//index.html",
      "/assets",
      "/assets/",
      "/missing.html",
      "/../secret.txt",
      "/assets/../../secret.txt",
      "/..%2fsecret.txt",
      "/%2e%2e/secret.txt",
      "/%2e%2e%2fsecret.txt",
      "/%252e%252e%252fsecret.txt",
      "/..\\secret.txt",
      "/..%5csecret.txt",
      "/%c0%ae%c0%ae/secret.txt",
      "/....//secret.txt",
      "/./index.html",
      "/.%2e/secret.txt",
      "/index.html%00",
      "/index.html%00.js",
      "/index.html\u0000",
      "/index.html.",
      "/index.html ",
      "/index.html%20",
      "/assets/.env",
      "/link.txt",
      "/up/secret.txt",
      "/loop",
      "/C:/windows",
      "/c:%5cwindows",
      "/etc/passwd",
      "//etc/passwd",
      "/%2fetc/passwd",
      "/nul",
      "/con.html",
      "/index.html::$DATA",
      "/../dist-private/secret.txt",
      "/%",
      "/%zz",
      "/\u202eindex.html",
      `/${"a/".repeat(20)}index.html`,
      `/${"a".repeat(600)}`
    ]) {
      expect([path, await SafePath.find(root, path)]).toEqual([path, undefined])
    }
  })
})
