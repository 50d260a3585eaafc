/** The documents of the repository, and what in them leads elsewhere. */
import { existsSync, readdirSync } from "node:fs"
import { join, relative } from "node:path"
import { repository } from "./Runtime.ts"

/** README.md and its neighbours, those of the packages and apps, and every page below docs/. */
export const documents: ReadonlyArray<string> = [
  "README.md",
  "CHANGELOG.md",
  "CONTRIBUTING.md",
  "docs",
  "packages",
  "apps",
  "bench"
]
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

const prose = (markdown: string): ReadonlyArray<string> => {
  let isCode = false
  return markdown.split("\n").map((line) => {
    const isFence = /^\s*(?:`{3,}|~{3,})/.test(line)
    if (isFence) isCode = !isCode
    return isCode || isFence ? "" : line
  })
}

/** The targets of the links and pictures outside of code, with their lines. */
export const links = (markdown: string): ReadonlyArray<{ readonly line: number; readonly target: string }> =>
  prose(markdown).flatMap((text, index) =>
    [
      ...text.replaceAll(/(`+)(?!`).*?[^`]\1(?!`)/g, (code) => " ".repeat(code.length)).matchAll(/\]\(\s*<?([^)\s>]+)/g)
    ].map(([, target = ""]) => ({ line: index + 1, target }))
  )

/** The anchors that headings have on a forge: lower case, without punctuation, spaces as hyphens; the second of a name ends in -1. */
export const headings = (markdown: string): ReadonlySet<string> => {
  const seen = new Map<string, number>()
  const anchors = new Set<string>()
  for (const line of prose(markdown)) {
    const [, title] = /^#{1,6}\s+(.*?)\s*#*$/.exec(line) ?? []
    if (title === undefined) continue
    const name = title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, "")
      .replaceAll(" ", "-")
    const count = seen.get(name) ?? 0
    seen.set(name, count + 1)
    anchors.add(count === 0 ? name : `${name}-${count}`)
  }
  return anchors
}
