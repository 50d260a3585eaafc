// Checks that our lock files serve every machine and every mirror; with --fix, fills what npm left out:
//   node scripts/lock.mjs [--fix]
// npm leaves the packages of another platform out of the lock file when the registry it asks does not carry them, and `npm ci`
// then refuses the file. Their version is known (their parent pins it) and their platform is in their name.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./setup.mjs"

const files = ["package-lock.json", "bench/rivals/package-lock.json", "apps/dashboard/package-lock.json"]
const fixes = process.argv.includes("--fix")

const systems = { darwin: "darwin", linux: "linux", linuxmusl: "linux", win32: "win32", windows: "win32" }
const processors = { aarch64: "arm64", x86: "ia32" }
const known = {
  os: ["darwin", "linux", "win32", "freebsd", "netbsd", "openbsd", "sunos", "aix", "android", "openharmony"],
  cpu: ["arm64", "x64", "arm", "ia32", "ppc64", "riscv64", "s390x", "loong64", "mips64el"]
}

/** The platform in a name such as `@scope/binding-linux-x64-musl`. */
const platformOf = (name) => {
  const words = name.split("/").at(-1).split("-")
  const os = words.map((word) => systems[word] ?? word).find((word) => known.os.includes(word))
  const cpu = words.map((word) => processors[word] ?? word).find((word) => known.cpu.includes(word))
  const libc = words.some((word) => word.startsWith("musl"))
    ? "musl"
    : words.some((word) => /^(gnu|glibc)/.test(word))
      ? "glibc"
      : undefined
  return {
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(os === "linux" && libc !== undefined ? { libc: [libc] } : {}),
    ...(os === undefined ? {} : { os: [os] })
  }
}

/** Gives what is wrong with a lock file, after repairing what can be repaired where that is asked for. */
const problemsOf = (file) => {
  const path = join(root, file)
  const lock = JSON.parse(readFileSync(path, "utf8"))
  const { packages } = lock
  const missing = Object.entries(packages).flatMap(([parent, entry]) =>
    Object.entries(entry.optionalDependencies ?? {})
      .filter(
        ([name]) =>
          packages[`node_modules/${name}`] === undefined && packages[`${parent}/node_modules/${name}`] === undefined
      )
      .map(([name, version]) => ({ name, version, parent, dev: entry.dev === true }))
  )
  const problems = Object.entries(packages).flatMap(([name, entry]) => {
    if (!name.includes("node_modules/") || entry.link) return []
    if (entry.resolved !== undefined) return [`${name} names where it was downloaded (${entry.resolved})`]
    return entry.version === undefined ? [`${name} has no version`] : []
  })
  if (!fixes) {
    for (const { name, parent } of missing) problems.push(`${name}, an optional dependency of ${parent}, is missing`)
    return problems
  }
  for (const { dev, name, version } of missing) {
    if (!/^\d+\.\d+\.\d+/.test(version)) {
      problems.push(`${name} is not pinned by its parent (${version})`)
      continue
    }
    const { cpu, libc, os } = platformOf(name)
    packages[`node_modules/${name}`] = {
      version,
      ...(cpu && { cpu }),
      ...(dev && { dev }),
      ...(libc && { libc }),
      optional: true,
      ...(os && { os })
    }
  }
  const sorted = Object.entries(packages).sort(([a], [b]) => (a === "" ? -1 : b === "" ? 1 : a.localeCompare(b, "en")))
  if (missing.length > 0)
    writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`)
  return problems
}

const problems = files.flatMap((file) => problemsOf(file).map((problem) => `${file}: ${problem}`))
for (const problem of problems) console.log(problem)
process.exit(problems.length === 0 ? 0 : 1)
