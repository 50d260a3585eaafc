/** Where and with what was measured. */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os"
import { join } from "node:path"
import { root, runtimePath } from "../../scripts/setup.mjs"

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly system: string
}

export const machine = (): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  system: `${platform()} ${release()} ${arch()}`
})

/** The load average of one minute: what else is going on. */
export const loadNow = (): number => Math.round((loadavg()[0] ?? 0) * 100) / 100

/** What a program prints, or undefined where it cannot be run. */
const printed = (command: string, args: ReadonlyArray<string>): string | undefined => {
  try {
    return execFileSync(command, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()
  } catch {
    return undefined
  }
}

interface Manifest {
  readonly version: string
  readonly dependencies?: { readonly [name: string]: string }
}

const manifestOf = (path: string): Manifest | undefined => {
  try {
    return JSON.parse(readFileSync(join(root, path, "package.json"), "utf8")) as Manifest
  } catch {
    return undefined
  }
}

/** Versions of Parley, the runtimes, what the bench depends on and the programs that it starts; what is missing is left out. */
export const versions = (): { readonly [name: string]: string } => {
  const dependencies = Object.keys(manifestOf("bench")?.dependencies ?? {}).filter(
    (name) => !name.startsWith("@parley/")
  )
  const found: ReadonlyArray<readonly [string, string | undefined]> = [
    ["parley", manifestOf(".")?.version],
    ["revision", printed("git", ["rev-parse", "--short", "HEAD"])],
    ["bun", printed(runtimePath("bun"), ["--version"])],
    ["deno", printed(runtimePath("deno"), ["--version"])?.replace(/^deno (\S+)[\s\S]*$/, "$1")],
    ["nats-server", printed("nats-server", ["--version"])?.replace(/^.*v(?=\d)/, "")],
    ...dependencies.map((name) => [name, manifestOf(`node_modules/${name}`)?.version] as const)
  ]
  return Object.fromEntries(found.filter((entry): entry is [string, string] => entry[1] !== undefined))
}
