import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { repository } from "../../../test-support/Runtime.ts"

const dist = join(repository, "apps/dashboard/dist")
const hashOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex")

describe("what is built of the dashboard", () => {
  test("is what its sources make: else `npm run build` in apps/dashboard", () => {
    const recorded = JSON.parse(readFileSync(join(dist, "sources.json"), "utf8")) as { readonly [path: string]: string }
    const paths = Object.keys(recorded)
    expect(paths.length).toBeGreaterThan(60)
    expect(paths).toContain("packages/consensus/src/Certificate.ts")
    const changed = paths.filter((path) => {
      try {
        return hashOf(join(repository, path)) !== recorded[path]
      } catch {
        return true
      }
    })
    expect(changed).toEqual([])
    // A file that is new is not in the record yet, and nothing that is recorded need have changed.
    const all = readdirSync(join(repository, "apps/dashboard/src"), { recursive: true, withFileTypes: true })
    const unknown = all
      .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name).slice(repository.length + 1))
      .filter((path) => recorded[path] === undefined)
    // Modules of types alone leave nothing in what is built.
    expect(unknown).toEqual(["apps/dashboard/src/api/Types.ts"])
  })

  test("is small, whole and the page's own: no script in the page, nothing from elsewhere", () => {
    const page = readFileSync(join(dist, "index.html"), "utf8")
    expect(page).not.toMatch(/<script(?![^>]*\bsrc=)/)
    expect(page).not.toMatch(/\b(src|href)="(https?:)?\/\//)
    for (const [, path] of page.matchAll(/\b(?:src|href)="([^"]+)"/g))
      expect(statSync(join(dist, path!)).size).toBeGreaterThan(0)
    const bytes = readdirSync(join(dist, "assets")).map((name) => statSync(join(dist, "assets", name)).size)
    expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThan(800_000)
  })
})
