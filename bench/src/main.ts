/** The benches: `npm run bench -- routing`. */
import { help as routingHelp, routing } from "./Routing.ts"
import { UsageError } from "./UsageError.ts"

const help = `Usage: npm run bench -- PART [OPTIONS]

Parts:
  routing   calls between two processes, beside a bare TCP echo in the same run

npm run bench -- PART --help says what its options are.`

/** What a command line that cannot be understood ends with. */
const MISUSED = 2

const parts: { readonly [name: string]: { readonly run: typeof routing; readonly help: string } } = {
  routing: { run: routing, help: routingHelp }
}

const isHelp = (text: string | undefined): boolean => text === "--help" || text === "-h" || text === "help"

const main = async ([name, ...args]: ReadonlyArray<string>): Promise<number> => {
  const part = name === undefined || !Object.hasOwn(parts, name) ? undefined : parts[name]
  if (part === undefined) {
    if (isHelp(name)) {
      console.log(help)
      return 0
    }
    console.error(name === undefined ? help : `bench: there is no part "${name}"\n\n${help}`)
    return MISUSED
  }
  if (args.some(isHelp)) {
    console.log(part.help)
    return 0
  }
  try {
    return await part.run(args)
  } catch (error) {
    const isUsage = error instanceof UsageError || (error instanceof TypeError && "code" in error)
    if (!isUsage) throw error
    console.error(`bench ${name}: ${error.message}`)
    return MISUSED
  }
}

process.exitCode = await main(process.argv.slice(2))
