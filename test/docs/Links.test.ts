import { expect, test } from "bun:test"
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { documents, headings, links } from "../../test-support/Markdown.ts"
import { repository } from "../../test-support/Runtime.ts"

const read = (path: string): string => readFileSync(join(repository, path), "utf8")

test("reads links and headings, and none within code", () => {
  const text = "# A `b`, c\n## A b, c\n[x](y.md#z) `[no](no)` ![p](p.png)\n```text\n[no](no.md)\n# no\n```\n"
  expect(links(text)).toEqual([
    { line: 3, target: "y.md#z" },
    { line: 3, target: "p.png" }
  ])
  expect([...headings(text)]).toEqual(["a-b-c", "a-b-c-1"])
})

for (const document of documents) {
  test(`the relative links of ${document} lead somewhere`, () => {
    const dead = links(read(document)).flatMap(({ line, target }) => {
      if (/^[a-z][a-z0-9+.-]*:/.test(target)) return []
      const [path = "", anchor] = target.split("#")
      const file = path === "" ? document : join(dirname(document), decodeURI(path))
      if (!existsSync(join(repository, file))) return [`${document}:${line} ${target}: there is no ${file}`]
      if (anchor === undefined || !file.endsWith(".md") || headings(read(file)).has(anchor)) return []
      return [`${document}:${line} ${target}: ${file} has no such heading`]
    })
    expect(dead).toEqual([])
  })
}
