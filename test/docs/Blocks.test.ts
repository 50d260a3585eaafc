/** The mechanism that runs the documents is itself seen to fail where a document is wrong. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { matches, parse, Session } from "../../test-support/Docs.ts"

let session: Session
beforeEach(() => {
  session = new Session()
})
afterEach(() => session.close())

const page = (...lines: ReadonlyArray<string>) => parse("page.md", lines.join("\n"))
const run = async (...lines: ReadonlyArray<string>) => {
  for (const block of page(...lines)) await session.run(block)
}

describe("parse", () => {
  test("finds each block with its line, language, words and text", () => {
    expect(
      page("# Title", "", "```ts", "const a = 1", "```", "words", "- item", "  ```console exit=3", "  $ false", "  ```")
    ).toEqual([
      { file: "page.md", line: 3, language: "ts", words: [], text: "const a = 1\n" },
      { file: "page.md", line: 8, language: "console", words: ["exit=3"], text: "$ false\n" }
    ])
  })
  test("keeps a shorter fence inside a longer one", () => {
    expect(page("````text", "```ts", "```", "````")).toEqual([
      { file: "page.md", line: 1, language: "text", words: [], text: "```ts\n```\n" }
    ])
  })
  test("refuses a block without an end", () => {
    expect(() => page("one", "```ts", "const a = 1")).toThrow("page.md:2: this code block has no end")
  })
})

describe("matches", () => {
  test("compares line by line, with … for what differs", () => {
    expect(matches(["a 1", "b … c"], "a 1\nb anything c\n")).toBe(true)
    expect(matches(["a 1"], "a 2")).toBe(false)
    expect(matches(["a"], "a\nb")).toBe(false)
    expect(matches(["a.c"], "abc")).toBe(false)
    expect(matches(["first", "…", "last"], "first\nx\ny\nlast")).toBe(true)
    expect(matches(["first", "…", "last"], "first\nx\ny")).toBe(false)
  })
})

describe("a program", () => {
  test("passes when it ends with 0, and resolves the project's imports", () =>
    run(
      "```ts",
      'import * as Effect from "effect/Effect"',
      'if (Effect.runSync(Effect.succeed(1)) !== 1) throw new Error("no")',
      "```"
    ))
  test("that throws is reported with file and line, and what it printed", () =>
    expect(run("words", "", "```ts", 'throw new Error("as a reader would see")', "```")).rejects.toThrow(
      /^page\.md:3: the program ended with exit code 1 instead of 0; it printed\n[^]*as a reader would see/
    ))
  test("whose import does not exist is reported", () =>
    expect(run("```ts", 'import "@parley/nowhere"', "```")).rejects.toThrow(
      /^page\.md:1: the program ended[^]*@parley\/nowhere/
    ))
})

describe("a command", () => {
  test("runs in a directory of the document, after the files it wrote", () =>
    run(
      "```sh file=say.sh",
      "#!/bin/sh",
      'echo "said $1 at $HOME"',
      "```",
      "```console",
      "$ ./say.sh this",
      "said this at …",
      "```"
    ))
  test("that fails is reported with file, line and command", () =>
    expect(run("one", "```console", "$ true", "$ echo why; exit 4", "```")).rejects.toThrow(
      /^page\.md:2: line 4, "echo why; exit 4" ended with exit code 4 instead of 0; it printed\nwhy/
    ))
  test("may fail as the document says", () => run("```console exit=4", "$ exit 4", "```"))
  test("that prints something else is reported", () =>
    expect(run("```console", "$ echo one", "two", "```")).rejects.toThrow(
      /^page\.md:1: line 2[^]*printed\none[^]*instead of\ntwo/
    ))
  test("that prints something else passes where the output is ignored", () =>
    run("```console ignore-output", "$ echo one", "two", "```"))
  test("that does not end is stopped", () =>
    expect(run("```console timeout=0.2", "$ kill -STOP $$", "```")).rejects.toThrow("did not end within 0.2 s"))
  test("in the background stays until the document ends", () =>
    run("```console", "$ sh -c 'echo up; kill -STOP $$' &", "$ echo on", "on", "```"))
  test("in the background that ends at once is reported", () =>
    expect(run("```console", "$ sh -c 'exit 5' &", "```")).rejects.toThrow("ended at once with exit code 5"))
})

describe("any other block", () => {
  test("without a language is refused", () =>
    expect(run("```", "x", "```")).rejects.toThrow("page.md:1: this code block names no language"))
  test("in an unknown language is refused", () =>
    expect(run("```cobol", "x", "```")).rejects.toThrow('do not know how to run "cobol"'))
  test("of JSON must parse", () => expect(run("```json", "{]", "```")).rejects.toThrow(/^page\.md:1: /))
  test("of text is left alone", () => run("```text", "$ exit 1", "```"))
  test("cannot write outside the document's directory", () =>
    expect(run("```text file=../x", "x", "```")).rejects.toThrow("lies outside"))
  test("leaves nothing behind", async () => {
    const own = new Session()
    await own.run(page("```text file=a/b.txt", "x", "```")[0]!)
    expect(existsSync(join(own.directory, "a/b.txt"))).toBe(true)
    await own.close()
    expect(existsSync(own.directory)).toBe(false)
  })
})
