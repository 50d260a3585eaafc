// What every script needs first: the dependencies installed as package-lock.json says, and the two runtimes found.
// Plain JavaScript without dependencies, for Node 20, Bun and Deno: it runs before anything is installed.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"

export const root = resolve(import.meta.dirname, "..")

/** The runtime this very process is: "node", "bun" or "deno". */
export const host = process.versions.bun ? "bun" : process.versions.deno ? "deno" : "node"

/** What the bench runs beside Parley is installed apart, so that nobody else has to load it. */
const rivals = join(root, "bench", "rivals")
/** What the dashboard is built from is installed apart as well: whoever runs a registry serves what is already built. */
const dashboard = join(root, "apps", "dashboard")

const lockFileOf = (directory) => join(directory, "package-lock.json")
// npm leaves node_modules/.package-lock.json. Bun leaves nothing that names our lock file, so we leave this.
const stampFileOf = (directory) => join(directory, "node_modules", ".parley-installed")
const lockHash = (directory) =>
  createHash("sha256")
    .update(readFileSync(lockFileOf(directory)))
    .digest("hex")

/** Compares contents, not times: a fresh clone, a `git pull` and a `touch` must all be judged rightly. */
const isInstalled = (directory) => {
  const stampFile = stampFileOf(directory)
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === lockHash(directory)) return true
  const installedFile = join(directory, "node_modules", ".package-lock.json")
  if (!existsSync(installedFile)) return false
  const installed = JSON.parse(readFileSync(installedFile, "utf8")).packages
  const wanted = Object.entries(JSON.parse(readFileSync(lockFileOf(directory), "utf8")).packages)
  return wanted.every(([path, entry]) => {
    if (!path.startsWith("node_modules/")) return true
    const found = installed[path]
    return found === undefined ? entry.optional === true : found.version === entry.version && found.link === entry.link
  })
}

const onPath = (command) =>
  spawnSync(command, ["--version"], { stdio: "ignore", shell: process.platform === "win32" }).status === 0

/** The npm that Deno runs where there is none on PATH: unlike `deno install`, it follows package-lock.json. */
const npmForDeno = "npm:npm@11.19.1"
const clean = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"]

const installer = () => {
  if (onPath("npm") && onPath("node")) return { name: "npm ci", command: "npm", args: clean }
  if (host === "bun")
    return { name: "bun install", command: process.execPath, args: ["install", "--no-save", "--silent"] }
  if (host === "deno") {
    // The install scripts want Node; the runtimes' binaries are found without them.
    const deno = ["run", "-A", "--quiet", "--no-config", "--no-lock", "--node-modules-dir=none", npmForDeno]
    return { name: "npm ci, by Deno", command: process.execPath, args: [...deno, ...clean, "--ignore-scripts"] }
  }
  throw new Error("cannot install the dependencies: there is no npm on PATH. Install npm 10 or newer and try again.")
}

/** Installs when node_modules is missing or does not agree with package-lock.json; says so in one line on stderr. */
const install = (directory, what, time, extra) => {
  if (isInstalled(directory)) return
  const { args, command, name } = installer()
  console.error(`parley: installing ${what} (${name}), about ${time}…`)
  const began = Date.now()
  const { error, status, stderr, stdout } = spawnSync(command, [...args, ...extra], {
    cwd: directory,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32"
  })
  if (status !== 0) {
    process.stderr.write(`${stdout ?? ""}${stderr ?? ""}`)
    const ended = error?.message ?? `exit code ${status}`
    throw new Error(`"${[command, ...args].join(" ")}" failed in ${directory} (${ended}); the lines above say why.`)
  }
  if (name === "bun install") writeFileSync(stampFileOf(directory), lockHash(directory))
  console.error(`parley: installed in ${((Date.now() - began) / 1000).toFixed(0)} s`)
}

/** Installs what Parley needs, or ends the process. */
export const ensureInstalled = () => {
  try {
    install(root, "the dependencies", "half a minute", [])
  } catch (error) {
    console.error(`parley: ${error.message}`)
    process.exit(1)
  }
}

/** Whether what the bench runs beside Parley is installed. */
export const areRivalsInstalled = () => isInstalled(rivals)

/** Installs what the bench runs beside Parley; throws where that fails. None of it needs its install scripts. */
export const ensureRivalsInstalled = () =>
  install(rivals, "what the bench compares with", "fifteen seconds", ["--ignore-scripts"])

/** Installs what the dashboard is built from; throws where that fails. None of it needs its install scripts. */
export const ensureDashboardInstalled = () =>
  install(dashboard, "what the dashboard is built from", "five seconds", ["--ignore-scripts"])

// The wrapper packages copy their binary in an install script. Where scripts are switched off a small text file stands in
// its place, and the binary lies in the package of the platform.
const { platform, arch } = process
const os = platform === "win32" ? "windows" : platform
const cpu = arch === "arm64" ? "aarch64" : arch
const exe = platform === "win32" ? ".exe" : ""
const binaries = {
  bun: ["bun/bin/bun.exe", `@oven/bun-${os}-${cpu}/bin/bun${exe}`, `@oven/bun-${os}-${cpu}-musl/bin/bun${exe}`],
  deno: [`deno/deno${exe}`, ...["", "-glibc", "-msvc"].map((suffix) => `@deno/${platform}-${arch}${suffix}/deno${exe}`)]
}

/** Where the runtime's binary is: this process itself, or the one of node_modules. */
export const runtimePath = (runtime) => {
  if (runtime === host) return process.execPath
  const found = binaries[runtime]
    ?.map((path) => join(root, "node_modules", path))
    .find((path) => existsSync(path) && statSync(path).size > 1_000_000)
  if (found) return found
  throw new Error(
    binaries[runtime]
      ? `There is no ${runtime} binary in ${join(root, "node_modules")} for ${platform} ${arch}; run "npm ci" there.`
      : `Unknown runtime "${runtime}"; the runtimes are bun and deno.`
  )
}

/** The command that runs a TypeScript file on a runtime: the binary and its first arguments. */
export const runCommand = (runtime, file) =>
  runtime === "deno"
    ? [runtimePath("deno"), "run", "-A", "--quiet", "--config", join(root, "deno.json"), file]
    : [runtimePath(runtime), file]

/** The command that runs a tool of node_modules on the runtime this process is. */
export const toolCommand = (path) => {
  const file = join(root, "node_modules", path)
  return host === "deno" ? [process.execPath, "run", "-A", "--quiet", file] : [process.execPath, file]
}

/** PARLEY_RUNTIME if set, else the runtime of this process; Bun under Node. */
export const chosenRuntime = () => process.env.PARLEY_RUNTIME || (host === "node" ? "bun" : host)

/**
 * Calls back once when the process that started this one is gone. `npm run` puts a shell between itself and a script, and that
 * shell dies of a signal without passing it on.
 */
export const whenOrphaned = (callback) => {
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    callback()
  }, 500)
  watch.unref()
}
