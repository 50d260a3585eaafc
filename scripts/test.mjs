// The whole suite on Bun, then the same files on Deno:
//   node scripts/test.mjs [--runtime bun|deno] [--jobs N] [part of a path…]
// A process per file: a crash costs one file, and is a failure. Every file sees the same small environment on every machine.
// The last line is "N passed, N failed[, N skipped]".
import { spawn } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { availableParallelism, homedir, tmpdir } from "node:os"
import { join, relative, sep } from "node:path"
import { parseArgs } from "node:util"
import { ensureInstalled, root, runtimePath, whenOrphaned } from "./setup.mjs"

/** A file that takes longer hangs; the slowest of ours takes a tenth of it on a machine with two cores. */
const fileLimitMillis = 900_000
const testRoots = ["packages", "apps", "bench", "lab", "test"]

/** Experiments judge what a machine does that has nothing else to do: they run one at a time, after all others. */
const runsAlone = (file) => file.startsWith("lab/")

/** Where a machine has its programs, caches and temporary files, whose repositories git trusts, and what a test can be told. */
const passedOn = new RegExp(
  `^(${[
    ...["PATH", "HOME", "TMPDIR", "DENO_DIR", "XDG_CACHE_HOME", "CHROMIUM_PATH", "GIT_CONFIG_.*"],
    ...["SYSTEMROOT", "TEMP", "TMP", "USERPROFILE"],
    ...["PARLEY_SEED", "PARLEY_LONG", "PARLEY_CRASH_ROUNDS"],
    ...["PARLEY_AGENTMESH_REGISTRY", "PARLEY_AGENTMESH_SDK", "PARLEY_PYTHON"]
  ].join("|")})$`,
  "i"
)

/** A user that the system does not know has no home: temporary files do instead. */
const home = () => {
  try {
    return homedir()
  } catch {
    return tmpdir()
  }
}

/** Nothing else: no language, terminal, shell, time zone or settings of whoever runs the tests, which another machine has not. */
const environmentFor = (runtime) => ({
  HOME: process.env.HOME ?? home(),
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => passedOn.test(name))),
  NO_COLOR: "1",
  PARLEY_RUNTIME: runtime
})

const fail = (message) => {
  console.error(`test: ${message}`)
  process.exit(64)
}

const readOptions = () => {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        runtime: { type: "string", multiple: true },
        jobs: { type: "string", default: String(Math.min(2, availableParallelism())) }
      }
    })
    const runtimes = values.runtime ?? ["bun", "deno"]
    for (const runtime of runtimes) {
      if (runtime !== "bun" && runtime !== "deno") fail(`--runtime is bun or deno, not "${runtime}"`)
    }
    const jobs = Number(values.jobs)
    if (!Number.isInteger(jobs) || jobs < 1) fail(`--jobs is a whole number from 1, not "${values.jobs}"`)
    return { runtimes, jobs, filters: positionals.map((filter) => filter.replace(/^\.\//, "")) }
  } catch (error) {
    return fail(error.message)
  }
}

const findFiles = (filters) =>
  testRoots
    .flatMap((directory) => listTests(join(root, directory)))
    .map((path) => relative(root, path).split(sep).join("/"))
    .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter)))
    .sort()

const listTests = (directory) => {
  let entries
  try {
    entries = readdirSync(directory, { withFileTypes: true })
  } catch {
    return []
  }
  return entries.flatMap((entry) => {
    if (entry.isDirectory()) {
      return entry.name === "node_modules" || entry.name.startsWith(".") ? [] : listTests(join(directory, entry.name))
    }
    return entry.name.endsWith(".test.ts") ? [join(directory, entry.name)] : []
  })
}

const unescape = (text) =>
  text
    .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replaceAll("&amp;", "&")
const attribute = (text, name) => unescape(new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(text)?.[1] ?? "")

/** The tests of a JUnit report. Deno lists each `describe` beside its tests: those are left out, unless a hook of theirs failed. */
const readReport = (xml, runtime) => {
  const cases = [...xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(
    ([, attributes, body = ""]) => {
      const group = runtime === "bun" ? attribute(attributes, "classname") : ""
      const failure = /<(?:failure|error)\b([^>]*)>/.exec(body)
      return {
        name: group === "" ? attribute(attributes, "name") : `${group} > ${attribute(attributes, "name")}`,
        failure: failure === null ? undefined : attribute(failure[1], "message") || "failed",
        skipped: /<skipped\b/.test(body)
      }
    }
  )
  if (runtime === "bun") return cases
  return cases.filter(({ failure, name }) => {
    if (failure !== undefined) return !/^\d+ test steps? failed/.test(failure)
    return !cases.some((other) => other.name.startsWith(`${name} > `))
  })
}

const running = new Set()

const runFile = (runtime, file, reportPath) =>
  new Promise((done) => {
    const args =
      runtime === "bun"
        ? ["test", "--reporter=junit", `--reporter-outfile=${reportPath}`, `./${file}`]
        : ["test", "-A", "--no-check", "--config", "deno.json", `--junit-path=${reportPath}`, `./${file}`]
    const began = Date.now()
    const child = spawn(runtimePath(runtime), args, {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: environmentFor(runtime)
    })
    running.add(child)
    const output = []
    child.stdout.on("data", (chunk) => output.push(chunk))
    child.stderr.on("data", (chunk) => output.push(chunk))
    let hung = false
    const limit = setTimeout(() => {
      hung = true
      child.kill("SIGKILL")
    }, fileLimitMillis)
    child.on("error", (error) => output.push(Buffer.from(`${error.message}\n`)))
    child.on("close", (code, signal) => {
      clearTimeout(limit)
      running.delete(child)
      done({
        output: Buffer.concat(output).toString("utf8"),
        seconds: (Date.now() - began) / 1000,
        ended: hung
          ? `it did not end within ${fileLimitMillis / 1000} s`
          : signal
            ? `killed by ${signal}`
            : `exit code ${code}`,
        ok: code === 0
      })
    })
  })

const testFile = async (runtime, file, directory) => {
  const reportPath = join(directory, `${runtime}-${file.replaceAll("/", "-")}.xml`)
  const { ended, ok, output, seconds } = await runFile(runtime, file, reportPath)
  let tests = []
  try {
    tests = readReport(readFileSync(reportPath, "utf8"), runtime)
  } catch {
    // No report: the runtime ended before it wrote one, which is counted below.
  }
  const failures = tests.filter((test) => test.failure !== undefined).map((test) => test.name)
  if (!ok && failures.length === 0) failures.push(`(the file itself: ${ended})`)
  if (ok && tests.length === 0) failures.push("(the file itself: it holds no test)")
  return {
    runtime,
    file,
    output,
    seconds,
    failures,
    tests: tests.length,
    passed: tests.filter((test) => test.failure === undefined && !test.skipped).length,
    skips: tests.filter((test) => test.skipped).map((test) => test.name)
  }
}

const counts = ({ failed, passed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`

const sum = (results) => ({
  passed: results.reduce((n, result) => n + result.passed, 0),
  failed: results.reduce((n, result) => n + result.failures.length, 0),
  skipped: results.reduce((n, result) => n + result.skips.length, 0)
})

const report = (result) => {
  const own = sum([result])
  const mark = own.failed === 0 ? "ok  " : "FAIL"
  console.log(`${mark} ${result.runtime.padEnd(4)} ${result.file}  ${counts(own)}  (${result.seconds.toFixed(1)} s)`)
  if (own.failed > 0) console.log(result.output.trimEnd().replace(/^/gm, "     | "))
}

/** The same file holds the same tests on both runtimes; else one of them has silently left some out. */
const compare = (results) =>
  results.flatMap((first) => {
    const second = results.find((result) => result.file === first.file && result.runtime === "deno")
    if (first.runtime !== "bun" || second === undefined || first.tests === second.tests) return []
    if (first.failures.length > 0 || second.failures.length > 0) return []
    return [`${first.file}: Bun ran ${first.tests} tests and Deno ${second.tests}`]
  })

const main = async () => {
  const { filters, jobs, runtimes } = readOptions()
  ensureInstalled()
  const files = findFiles(filters)
  if (files.length === 0) fail(`no test file's path contains ${filters.map((filter) => `"${filter}"`).join(" or ")}`)
  const directory = mkdtempSync(join(tmpdir(), "parley-test-"))
  const stop = (code) => {
    for (const child of running) child.kill("SIGKILL")
    rmSync(directory, { recursive: true, force: true })
    process.exit(code)
  }
  process.on("SIGINT", () => stop(130))
  process.on("SIGTERM", () => stop(143))
  whenOrphaned(() => stop(143))

  const results = []
  for (const runtime of runtimes) {
    console.log(`== ${runtime}: ${files.length} files`)
    const run = async (queue) => {
      for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
        const result = await testFile(runtime, file, directory)
        results.push(result)
        report(result)
      }
    }
    const together = files.filter((file) => !runsAlone(file))
    await Promise.all(Array.from({ length: jobs }, () => run(together)))
    await run(files.filter(runsAlone))
  }
  rmSync(directory, { recursive: true, force: true })

  console.log("")
  const differences = compare(results)
  const failed = results.filter((result) => result.failures.length > 0)
  for (const { failures, file, runtime } of failed)
    for (const name of failures) console.log(`FAILED  ${runtime} ${file}: ${name}`)
  for (const difference of differences) console.log(`FAILED  ${difference}`)
  for (const { file, runtime, skips } of results)
    for (const name of skips) console.log(`skipped ${runtime} ${file}: ${name}`)
  for (const runtime of runtimes) {
    const own = results.filter((result) => result.runtime === runtime)
    const seconds = own.reduce((total, result) => total + result.seconds, 0)
    console.log(`${runtime}: ${counts(sum(own))} in ${files.length} files, ${seconds.toFixed(0)} s`)
  }
  const total = sum(results)
  total.failed += differences.length
  console.log(counts(total))
  process.exitCode = total.failed === 0 ? 0 : 1
}

await main()
