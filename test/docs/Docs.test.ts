import { afterAll, describe, expect, test } from "bun:test"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"
import { isRun, parse, Session, timeoutMillis } from "../../test-support/Docs.ts"
import { repository } from "../../test-support/Runtime.ts"

/** README.md, those of the packages and apps, and every page below docs/. */
const documents = ["README.md", "CONTRIBUTING.md", "docs", "packages", "apps", "bench"]
  .map((path) => join(repository, path))
  .filter((path) => existsSync(path))
  .flatMap((path) =>
    path.endsWith(".md")
      ? [path]
      : readdirSync(path, { recursive: true, encoding: "utf8" })
          .filter((name) => name.endsWith(".md") && !name.includes("node_modules"))
          .map((name) => join(path, name))
  )
  .map((path) => relative(repository, path))
  .toSorted()

test("finds the documents", () => {
  expect(documents).toContain("CONTRIBUTING.md")
  expect(documents).toContain("docs/dependencies.md")
})

for (const document of documents) {
  const blocks = parse(document, readFileSync(join(repository, document), "utf8"))
  if (blocks.length === 0) continue
  describe(document, () => {
    let session: Session | undefined
    afterAll(() => session?.close())
    for (const block of blocks) {
      const what = isRun(block) ? "runs" : "is well-formed"
      test(
        `${document}:${block.line} ${block.language} ${what}`,
        () => (session ??= new Session()).run(block),
        timeoutMillis(block) + 5_000
      )
    }
  })
}
