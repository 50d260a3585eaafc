/** The benches: `npm run bench`, `npm run bench -- PART [PART...] [OPTIONS]`. */
import { resolve } from "node:path"
import { loadNow, machine, versions } from "./Machine.ts"
import type { Part, Report } from "./Part.ts"
import { extraParts, partOf, parts } from "./Parts.ts"
import { jsonText, type PartResults, resultsDirectory, writePart } from "./Results.ts"
import { goalsTable } from "./Summary.ts"
import { table } from "./Table.ts"
import { UsageError } from "./UsageError.ts"

/** A part failed, or a required goal is missed. */
const FAILED = 1
/** What a command line that cannot be understood ends with. */
const MISUSED = 2

interface Settings {
  readonly names: ReadonlyArray<string>
  /** What the parts are given. */
  readonly args: ReadonlyArray<string>
  readonly json: boolean
  readonly write: boolean
  /** Where results go; undefined where that is not said. */
  readonly out: string | undefined
  readonly brief: boolean
  readonly require: boolean
  readonly help: boolean
}

const settingsOf = (words: ReadonlyArray<string>): Settings => {
  const names: Array<string> = []
  const args: Array<string> = []
  const flags = { json: false, write: true, brief: false, require: false, help: false }
  let out: string | undefined
  const rest = [...words]
  // Leading words are parts; those behind a part that is run by name alone are its own.
  while (rest[0] !== undefined && !rest[0].startsWith("-")) {
    const name = rest.shift()!
    if (name === "help") flags.help = true
    else if (partOf(name) === undefined) throw new UsageError(`there is no part "${name}"`)
    else names.push(name)
    if (Object.hasOwn(extraParts, name)) break
  }
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === "--json") flags.json = true
    else if (word === "--no-write") flags.write = false
    else if (word === "--brief") flags.brief = true
    else if (word === "--require") flags.require = true
    else if (word === "--help" || word === "-h") flags.help = true
    else if (word === "--out" || word.startsWith("--out=")) {
      out = word === "--out" ? rest.shift() : word.slice("--out=".length)
      if (out === undefined || out === "") throw new UsageError("--out is a directory")
    } else args.push(word)
  }
  return { names, args, out: out === undefined ? undefined : resolve(out), ...flags }
}

const say = (text: string): void => void process.stderr.write(`${text}\n`)

const help = async (): Promise<string> => {
  const rows = await Promise.all(
    Object.entries({ ...parts, ...extraParts }).map(async ([name, load]) => {
      const note = Object.hasOwn(extraParts, name) ? " (by name alone)" : ""
      try {
        return [`  ${name}`, `${(await load()).what}${note}`]
      } catch (error) {
        return [`  ${name}`, `cannot be loaded: ${String(error)}`]
      }
    })
  )
  return `Usage: npm run bench                                    all parts, one after the other
       npm run bench -- PART [PART...] [OPTIONS]

Parts:
${table(["", ""], rows).slice(1)}

Options of every part:
  --json      prints the results as JSON
  --out DIR   where results go (default: bench/results, or nowhere for what is measured otherwise than usual)
  --no-write  writes nothing
  --brief     a few seconds that only show that everything works
  --require   exits with 1 when a goal is missed

npm run bench -- PART --help says what else a part understands.`
}

interface Outcome {
  readonly part: Part
  readonly name: string
  readonly report: Report
  readonly json: object
}

const runPart = async (
  name: string,
  { args, brief }: Settings,
  about: Pick<PartResults, "machine" | "versions">
): Promise<Outcome> => {
  const part = await partOf(name)!()
  const before = loadNow()
  const began = Date.now()
  const report = await part.run(args, { say, brief })
  const seconds = Math.round((Date.now() - began) / 1_000)
  say(`${name}: ${seconds} s`)
  const json: PartResults = {
    bench: name,
    date: new Date(began).toISOString(),
    ...about,
    seconds,
    load: [before, loadNow()],
    goals: report.goals,
    text: report.text,
    charts: report.charts.map(({ name }) => name),
    ...report.data
  }
  return { name, part, report, json }
}

/** Where results go. What is measured otherwise than usual does not take the place of what is shown to everybody. */
const directoryOf = ({ keepsNothing }: Part, { args, brief, out, write }: Settings): string | undefined => {
  if (!write) return undefined
  if (out !== undefined) return out
  return brief || args.length > 0 || keepsNothing === true ? undefined : resultsDirectory
}

const runAll = async (settings: Settings): Promise<number> => {
  const names = settings.names.length === 0 ? Object.keys(parts) : settings.names
  if (names.length > 1 && settings.args.length > 0)
    throw new UsageError(`${settings.args.join(" ")}: options of a part go with one part alone`)
  const about = { machine: machine(), versions: versions() }
  const began = Date.now()
  const done: Array<Outcome> = []
  const failures: Array<string> = []
  for (const name of names) {
    try {
      const outcome = await runPart(name, settings, about)
      done.push(outcome)
      const out = directoryOf(outcome.part, settings)
      if (out !== undefined) writePart(out, name, outcome.json, outcome.report.charts)
      if (out === resultsDirectory) (await import("./Documents.ts")).rewriteDocuments()
      if (!settings.json) process.stdout.write(`${outcome.report.text}\n\n`)
      if (outcome.report.failed !== undefined) failures.push(`${name}: ${outcome.report.failed}`)
    } catch (error) {
      if (isUsage(error)) throw error
      failures.push(`${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
      say(failures.at(-1)!)
    }
  }
  if (names.length > 1) say(`bench: ${Math.round((Date.now() - began) / 1_000)} s in all`)
  const goals = done.flatMap(({ report }) => report.goals)
  if (settings.json) {
    const [first] = done
    const whole = names.length === 1 ? first?.json : Object.fromEntries(done.map(({ json, name }) => [name, json]))
    if (whole !== undefined) process.stdout.write(`${jsonText(whole)}\n`)
  } else if (goals.length > 0) process.stdout.write(`${goalsTable(goals)}\n`)
  const missed = settings.require ? goals.filter(({ met }) => !met) : []
  for (const { goal, id, measured } of missed) say(`bench: ${id} is missed: ${measured ?? "not measured"}, not ${goal}`)
  for (const failure of failures) say(`bench: ${failure.split("\n")[0]}`)
  return failures.length > 0 || missed.length > 0 ? FAILED : 0
}

/** `parseArgs` throws a TypeError with a code. */
const isUsage = (error: unknown): error is Error =>
  error instanceof UsageError ||
  (error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS"))

const main = async (words: ReadonlyArray<string>): Promise<number> => {
  try {
    const settings = settingsOf(words)
    if (!settings.help) return await runAll(settings)
    const [name] = settings.names
    console.log(name === undefined ? await help() : (await partOf(name)!()).help)
    return 0
  } catch (error) {
    if (!isUsage(error)) throw error
    console.error(`bench: ${error.message}\nnpm run bench -- --help says what is understood.`)
    return MISUSED
  }
}

const code = await main(process.argv.slice(2))
// What was printed is on its way first.
process.stdout.write("", () => process.exit(code))
