/**
 * Runs the fenced code blocks of a Markdown document, so that no example in it is wrong. CONTRIBUTING.md says how a block is
 * written; in short:
 *
 * - `ts` is a program: it is run, and its exit code is 0.
 * - `console` holds commands (lines that begin with `$ `), each followed by what it prints; `…` stands for any text, a line of
 *   `…` alone for any lines. A command that ends with ` &` stays in the background until the document ends.
 * - `sh` is a script, or, when it holds `$ ` lines, a `console` block.
 * - Any block with `file=NAME` is written to that file of the document's directory, and not run.
 * - `text`, `mermaid` and data (`json`, `csv`, `toml`, …) are not run; `json` must parse.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, delimiter, dirname, join, relative } from "node:path"
import * as Namespace from "./Namespace.ts"
import { command, current, repository } from "./Runtime.ts"

/** One fenced block: where it begins, its language, the words after it, and its text. */
export type Block = {
  readonly file: string
  readonly line: number
  readonly language: string
  readonly words: ReadonlyArray<string>
  readonly text: string
}

/** A command of a `console` block and the lines that follow it. */
type Step = { readonly line: number; readonly command: string; readonly output: ReadonlyArray<string> }

/** How long a block may take when it has no `timeout=SECONDS`. */
export const defaultTimeoutMillis = 30_000

const dataLanguages = new Set([
  "text",
  "mermaid",
  "json",
  "jsonc",
  "csv",
  "toml",
  "yaml",
  "diff",
  "html",
  "css",
  "python"
])
const languages = new Set(["ts", "console", "sh", ...dataLanguages])

/** The blocks of a document, in order. `file` is only used to say where a block is. */
export const parse = (file: string, markdown: string): ReadonlyArray<Block> => {
  const blocks: Array<Block> = []
  let open:
    | { fence: string; indent: number; line: number; info: ReadonlyArray<string>; text: Array<string> }
    | undefined
  markdown.split("\n").forEach((source, index) => {
    const fence = /^(\s*)(`{3,}|~{3,})\s*(.*)$/.exec(source)
    if (open === undefined) {
      if (fence === null) return
      const info = (fence[3] ?? "").split(/\s+/).filter((word) => word !== "")
      open = { fence: fence[2] ?? "", indent: (fence[1] ?? "").length, line: index + 1, info, text: [] }
    } else if (fence !== null && fence[3] === "" && (fence[2] ?? "").startsWith(open.fence)) {
      const [language = "", ...words] = open.info
      blocks.push({ file, line: open.line, language, words, text: open.text.map((line) => `${line}\n`).join("") })
      open = undefined
    } else {
      open.text.push(source.slice(Math.min(open.indent, source.length - source.trimStart().length)))
    }
  })
  if (open !== undefined) throw new Error(`${file}:${open.line}: this code block has no end`)
  return blocks
}

/** The value of `name=value` among a block's words. */
const option = (block: Block, name: string): string | undefined =>
  block.words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1)

/** How long a block may take. */
export const timeoutMillis = (block: Block): number =>
  option(block, "timeout") === undefined ? defaultTimeoutMillis : Number(option(block, "timeout")) * 1_000

/** Whether running the block means more than reading it. */
export const isRun = (block: Block): boolean =>
  option(block, "file") === undefined && !dataLanguages.has(block.language)

const steps = (block: Block): ReadonlyArray<Step> => {
  const found: Array<{ line: number; command: string; output: Array<string> }> = []
  block.text.split("\n").forEach((text, index) => {
    const last = found.at(-1)
    const continued = last !== undefined && last.output.length === 0 && last.command.endsWith("\\")
    if (text.startsWith("$ "))
      found.push({ line: block.line + 1 + index, command: text.slice(2).trimEnd(), output: [] })
    else if (continued) last.command = `${last.command.slice(0, -1)}${text.replace(/^> /, "")}`
    else if (last !== undefined) last.output.push(text)
    else if (text.trim() !== "") throw new Error(`the block prints "${text}" before its first command ("$ …")`)
  })
  return found
}

const trimEnds = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const text = lines.map((line) => line.trimEnd()).join("\n")
  return text.replace(/^\n+|\n+$/g, "").split("\n")
}

/** Whether what was printed is what the document shows: `…` is any text within a line, a line of `…` alone any lines. */
export const matches = (shown: ReadonlyArray<string>, printed: string): boolean => {
  const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
  const pattern = trimEnds(shown)
    .map((line) => (line.trim() === "…" ? "(?:.*\\n)*?" : `${line.split("…").map(literal).join(".*")}\\n`))
    .join("")
  return new RegExp(`^${pattern}$`).test(`${trimEnds(printed.split("\n")).join("\n")}\n`)
}

type Ended = { readonly code: number; readonly output: string }

/**
 * A document being run: its own directory (also `HOME`), with `parley` on `PATH`, and what it left in the background. Where
 * there are network namespaces it runs in one of its own, so that its multicast meets nobody else's.
 */
export class Session {
  readonly directory: string
  readonly #programs: string
  readonly #environment: NodeJS.ProcessEnv
  readonly #background: Array<ChildProcess> = []
  readonly #network: Namespace.Namespace | undefined

  constructor() {
    this.#network = Namespace.unavailable === undefined ? Namespace.alone("multicast") : undefined
    this.directory = mkdtempSync(join(tmpdir(), "parley-docs-"))
    const bin = join(this.directory, ".bin")
    mkdirSync(bin)
    const parley = command(join(repository, "apps/cli/src/main.ts"))
    writeFileSync(join(bin, "parley"), `#!/bin/sh\nexec ${parley.map((word) => `'${word}'`).join(" ")} "$@"\n`)
    chmodSync(join(bin, "parley"), 0o755)
    // Programs lie inside the repository, so that their imports resolve as a reader's would.
    this.#programs = mkdtempSync(join(repository, "test", ".docs-"))
    this.#environment = {
      ...process.env,
      HOME: this.directory,
      NO_COLOR: "1",
      PARLEY_RUNTIME: current,
      PATH: [bin, process.env["PATH"]].join(delimiter)
    }
  }

  /** Runs one block; rejects with an error that begins with `file:line` when it does not do what the document says. */
  async run(block: Block): Promise<void> {
    try {
      await this.#run(block)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      throw new Error(`${block.file}:${block.line}: ${message}`, { cause: error })
    }
  }

  async #run(block: Block): Promise<void> {
    if (!languages.has(block.language)) {
      throw new Error(
        block.language === ""
          ? "this code block names no language; write ```text when it is not to be run"
          : `do not know how to run "${block.language}"; the languages are ${[...languages].join(", ")}`
      )
    }
    const file = option(block, "file")
    if (file !== undefined) return this.#write(file, block.text)
    if (block.language === "json") return void JSON.parse(block.text)
    if (block.language === "ts") return this.#program(block)
    if (block.language === "sh" && !/^\$ /m.test(block.text))
      return this.#step(block, { line: block.line, command: block.text, output: [] })
    if (block.language === "sh" || block.language === "console") {
      const found = steps(block)
      if (found.length === 0) throw new Error('this block holds no command; a command begins with "$ "')
      for (const step of found) await this.#step(block, step)
    }
  }

  #write(file: string, text: string): void {
    const path = join(this.directory, file)
    if (relative(this.directory, path).startsWith(".."))
      throw new Error(`file=${file} lies outside the document's directory`)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    if (text.startsWith("#!")) chmodSync(path, 0o755)
  }

  async #program(block: Block): Promise<void> {
    const path = join(this.#programs, `${basename(block.file, ".md")}-${block.line}.ts`)
    writeFileSync(path, block.text)
    const [program, ...args] = command(path)
    this.#mustEnd(block, await this.#spawn(program, args, this.directory, timeoutMillis(block)), "the program")
  }

  async #step(block: Block, step: Step): Promise<void> {
    const directory = block.words.includes("in-repository") ? repository : this.directory
    const where = `line ${step.line}, "${step.command.trim()}"`
    // The suite cannot run itself; that it exists under this name is what the document says.
    if (/^(npm test|npm run test|npm run check|deno task test|bun run test)$/.test(step.command.trim())) {
      const scripts = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")).scripts
      if (scripts.test === undefined || scripts.check === undefined)
        throw new Error(`${where}: package.json has no such script`)
      return
    }
    const background = /^(.*\S)\s+&$/s.exec(step.command.trim())
    if (background !== null) return this.#start(where, background[1] ?? "", directory, timeoutMillis(block))
    const ended = await this.#spawn("/bin/sh", ["-e", "-c", step.command], directory, timeoutMillis(block))
    this.#mustEnd(block, ended, where)
    const silent = step.output.every((line) => line.trim() === "")
    if (silent || block.words.includes("ignore-output") || matches(step.output, ended.output)) return
    throw new Error(`${where} printed\n${ended.output}\ninstead of\n${step.output.join("\n")}`)
  }

  #mustEnd(block: Block, ended: Ended, what: string): void {
    const expected = Number(option(block, "exit") ?? "0")
    if (ended.code === expected) return
    throw new Error(`${what} ended with exit code ${ended.code} instead of ${expected}; it printed\n${ended.output}`)
  }

  #command(program: string, args: ReadonlyArray<string>): readonly [string, ...Array<string>] {
    const network = this.#network
    return network === undefined ? [program, ...args] : ["ip", "netns", "exec", network.name, program, ...args]
  }

  #spawn(program: string, args: ReadonlyArray<string>, cwd: string, limitMillis: number): Promise<Ended> {
    return new Promise((resolve, reject) => {
      const [inside, ...rest] = this.#command(program, args)
      const child = spawn(inside, rest, {
        cwd,
        env: this.#environment,
        stdio: ["ignore", "pipe", "pipe"],
        detached: true
      })
      const output: Array<Buffer> = []
      child.stdout.on("data", (chunk: Buffer) => output.push(chunk))
      child.stderr.on("data", (chunk: Buffer) => output.push(chunk))
      const text = () => Buffer.concat(output).toString("utf8")
      const limit = setTimeout(() => {
        stop(child)
        reject(new Error(`it did not end within ${limitMillis / 1_000} s; it printed\n${text()}`))
      }, limitMillis)
      child.on("error", reject)
      child.on("close", (code) => {
        clearTimeout(limit)
        resolve({ code: code ?? -1, output: text() })
      })
    })
  }

  /** Starts a command that stays; it counts as started with its first line of output. */
  #start(where: string, text: string, cwd: string, limitMillis: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const [inside, ...rest] = this.#command("/bin/sh", ["-c", `exec ${text}`])
      const child = spawn(inside, rest, {
        cwd,
        env: this.#environment,
        stdio: ["ignore", "pipe", "pipe"],
        detached: true
      })
      this.#background.push(child)
      let output = ""
      const limit = setTimeout(
        () => reject(new Error(`${where} printed no line within ${limitMillis / 1_000} s`)),
        limitMillis
      )
      const onData = (chunk: Buffer) => {
        output += chunk.toString("utf8")
        if (!output.includes("\n")) return
        clearTimeout(limit)
        resolve()
      }
      child.stdout.on("data", onData)
      child.stderr.on("data", onData)
      child.on("error", reject)
      child.on("close", (code) => {
        clearTimeout(limit)
        reject(new Error(`${where} ended at once with exit code ${code}; it printed\n${output}`))
      })
    })
  }

  /** Ends what still runs and removes the document's files. */
  async close(): Promise<void> {
    await Promise.all(
      this.#background.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const ended = new Promise((resolve) => child.once("close", resolve))
        stop(child)
        await ended
      })
    )
    this.#network?.remove()
    rmSync(this.directory, { recursive: true, force: true })
    rmSync(this.#programs, { recursive: true, force: true })
  }
}

/** Ends a command and all it started: each is the head of a process group of its own. */
const stop = (child: ChildProcess): void => {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch {
    // It has ended in the meantime.
  }
}
