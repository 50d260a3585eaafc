/** The lab: `npm run lab`, `npm run lab -- NAME [NAME...] [OPTIONS]`. */
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { loadNow, machine, versions } from "../../bench/src/Machine.ts"
import { jsonText } from "../../bench/src/Results.ts"
import { goalsTable, measuredText } from "../../bench/src/Summary.ts"
import { table } from "../../bench/src/Table.ts"
import { rewriteDocuments } from "./Documents.ts"
import { experiments } from "./Experiments.ts"
import { type Results, resultsDirectory, writeResults } from "./Results.ts"

/** A figure is missed, or an experiment failed. */
const FAILED = 1
/** What a command line that cannot be understood ends with. */
const MISUSED = 2
/** The seed of the figures that everybody is shown. */
const SEED = 20_261_121

const runtime = "Deno" in globalThis ? "deno" : "bun"
const say = (text: string): void => void process.stderr.write(`${text}\n`)

const help = async (): Promise<string> => {
  const lines = await Promise.all(
    Object.entries(experiments).map(async ([name, load]) => {
      const { unavailable, what } = await load()
      return [`  ${name}`, unavailable === undefined ? what : `${what} (not here: ${unavailable})`]
    })
  )
  return `Usage: npm run lab                              all experiments, one after the other
       npm run lab -- NAME [NAME...] [OPTIONS]

Experiments:
${table(["", ""], lines).slice(1)}

Options:
  --seed N    repeats a run (default: ${SEED})
  --brief     the small runs that the tests make; writes nothing
  --json      prints the results as JSON
  --out DIR   where results go (default: lab/results, for the default seed)
  --no-write  writes nothing

Networks are made of namespaces and nftables: those experiments need Linux, root, ip(8) and nft(8).
PARLEY_RUNTIME=deno runs the lab on Deno. The exit code is 1 when a figure is missed.`
}

class Misuse extends Error {}

const settingsOf = (args: ReadonlyArray<string>) => {
  try {
    const { positionals, values } = parseArgs({
      args: [...args],
      allowPositionals: true,
      allowNegative: true,
      options: {
        seed: { type: "string", default: String(SEED) },
        brief: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        out: { type: "string" },
        write: { type: "boolean", default: true },
        help: { type: "boolean", short: "h", default: false }
      }
    })
    const seed = Number(values.seed)
    if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff)
      throw new Misuse(`--seed is a whole number of 32 bits, not "${values.seed}"`)
    for (const name of positionals)
      if (!Object.hasOwn(experiments, name)) throw new Misuse(`there is no experiment "${name}"`)
    const names = positionals.length === 0 ? Object.keys(experiments) : positionals
    return { ...values, seed, names, directory: directoryOf(values, seed) }
  } catch (error) {
    if (error instanceof Misuse) throw error
    throw new Misuse(error instanceof Error ? error.message : String(error))
  }
}

/** Where results go. What is measured otherwise than usual does not take the place of what is shown to everybody. */
const directoryOf = (
  { brief, out, write }: { readonly brief: boolean; readonly out?: string | undefined; readonly write: boolean },
  seed: number
): string | undefined => {
  if (!write) return undefined
  if (out !== undefined) return resolve(out)
  return brief || seed !== SEED ? undefined : resultsDirectory
}

const runOne = async (name: string, settings: ReturnType<typeof settingsOf>): Promise<Results | string> => {
  const experiment = await experiments[name]!()
  if (experiment.unavailable !== undefined) {
    say(`${name}: not run: ${experiment.unavailable}`)
    return `${name} could not run here: ${experiment.unavailable}`
  }
  say(`${name}: ${experiment.what} (seed ${settings.seed})`)
  const before = loadNow()
  const began = Date.now()
  const report = await experiment.run({ say, seed: settings.seed, brief: settings.brief })
  const results: Results = {
    experiment: name,
    date: new Date(began).toISOString(),
    machine: machine(),
    versions: versions(),
    runtime,
    seconds: Math.round((Date.now() - began) / 1_000),
    load: [before, loadNow()],
    rows: report.rows,
    text: report.text,
    charts: report.charts.map((chart) => chart.name),
    ...report.data
  }
  say(`${name}: ${results.seconds} s`)
  if (settings.directory !== undefined) {
    writeResults(settings.directory, results, report.charts)
    if (settings.directory === resultsDirectory) rewriteDocuments()
  }
  return results
}

const runAll = async (settings: ReturnType<typeof settingsOf>): Promise<number> => {
  const done: Array<Results> = []
  const failures: Array<string> = []
  for (const name of settings.names) {
    try {
      const results = await runOne(name, settings)
      if (typeof results === "string") failures.push(results)
      else {
        done.push(results)
        if (!settings.json) process.stdout.write(`${results.text}\n\n`)
      }
    } catch (error) {
      failures.push(`${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
      say(failures.at(-1)!)
    }
  }
  const rows = done.flatMap((results) => results.rows)
  if (settings.json)
    process.stdout.write(
      `${jsonText(settings.names.length === 1 ? (done[0] ?? {}) : Object.fromEntries(done.map((one) => [one.experiment, one])))}\n`
    )
  else if (rows.length > 0) process.stdout.write(`${goalsTable(rows)}\n`)
  const missed = rows.filter(({ met }) => !met)
  for (const row of missed) say(`lab: ${row.id} is missed: ${measuredText(row)}, not ${row.goal} (--seed ${row.seed})`)
  for (const failure of failures) say(`lab: ${failure.split("\n")[0]}`)
  return missed.length > 0 || failures.length > 0 ? FAILED : 0
}

const main = async (args: ReadonlyArray<string>): Promise<number> => {
  try {
    const settings = settingsOf(args)
    if (!settings.help) return await runAll(settings)
    console.log(await help())
    return 0
  } catch (error) {
    if (!(error instanceof Misuse)) throw error
    console.error(`lab: ${error.message}\nnpm run lab -- --help says what is understood.`)
    return MISUSED
  }
}

const code = await main(process.argv.slice(2))
// What was printed is on its way first.
process.stdout.write("", () => process.exit(code))
