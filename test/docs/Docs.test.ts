import { afterAll, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { isRun, parse, Session, timeoutMillis } from "../../test-support/Docs.ts"
import { documents } from "../../test-support/Markdown.ts"
import { repository } from "../../test-support/Runtime.ts"

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
