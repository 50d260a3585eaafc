/**
 * A revision in a folder of its own, with the bench of this checkout in it: the packages are the revision's, and what asks, answers
 * and measures them is the same for all. So revisions from before the bench work too, as long as they have the API that the ends
 * use (`Layers.layer`, `Node.serve`, `Node.call`, `AgentRecord.make`, `Matcher.upsert`).
 */
import { execFileSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from "node:fs"
import { join, relative, resolve } from "node:path"
import { root } from "../../scripts/setup.mjs"
import { UsageError } from "./UsageError.ts"

const git = (...args: ReadonlyArray<string>): string =>
  execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim()

/** A checkout to run ends from. */
export interface Revision {
  /** As it was asked for. */
  readonly name: string
  /** Short hash, or "working tree". */
  readonly commit: string
  readonly directory: string
  readonly remove: () => void
}

interface Lock {
  readonly packages: { readonly [path: string]: { readonly version?: string; readonly link?: boolean } }
}

/** Whether what is installed here is what the revision asks for, as far as it is installed. */
const isInstalledHere = (directory: string): boolean => {
  const packagesOf = (at: string) => (JSON.parse(readFileSync(join(at, "package-lock.json"), "utf8")) as Lock).packages
  const here = packagesOf(root)
  return Object.entries(packagesOf(directory)).every(
    ([path, { link, version }]) => !path.startsWith("node_modules/") || link === true || here[path]?.version === version
  )
}

/** Links everything of `from` that is not there yet. */
const linkAll = (from: string, to: string): void => {
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(from)) {
    if (name === "@parley" || name === ".bin") continue
    if (!existsSync(join(to, name))) symlinkSync(join(from, name), join(to, name))
  }
}

/** The packages of the house are those of the revision. */
const linkOwn = (directory: string): void => {
  const [here, there] = [join(root, "node_modules", "@parley"), join(directory, "node_modules", "@parley")]
  mkdirSync(there, { recursive: true })
  for (const name of readdirSync(here)) {
    const target = join(directory, relative(root, resolve(here, readlinkSync(join(here, name)))))
    if (existsSync(target) && !existsSync(join(there, name))) symlinkSync(target, join(there, name))
  }
}

const commitOf = (name: string): string => {
  try {
    return git("rev-parse", "--verify", "--short", `${name}^{commit}`)
  } catch {
    throw new UsageError(`git knows no revision "${name}"`)
  }
}

/** Checks a revision out below `directory`; "." is the working tree as it is, where it is. */
export const checkOut = (name: string, directory: string, say: (text: string) => void): Revision => {
  if (name === ".") return { name, commit: "working tree", directory: root, remove: () => {} }
  const commit = commitOf(name)
  git("worktree", "add", "--detach", "--quiet", directory, commit)
  const remove = (): void => {
    git("worktree", "remove", "--force", directory)
  }
  try {
    if (!isInstalledHere(directory)) {
      say(`compare: installing the dependencies of ${name} (npm ci)`)
      execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: directory, stdio: "pipe" })
    }
    linkAll(join(root, "node_modules"), join(directory, "node_modules"))
    linkOwn(directory)
    for (const part of ["bench", "scripts"]) {
      rmSync(join(directory, part), { recursive: true, force: true })
      cpSync(join(root, part), join(directory, part), {
        recursive: true,
        filter: (path) => !/[\\/](node_modules|results)$/.test(path)
      })
    }
    return { name, commit, directory, remove }
  } catch (error) {
    remove()
    throw error
  }
}
