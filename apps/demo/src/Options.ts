/** The command line of the demo. */
import { parseArgs } from "node:util"
import { MAX_CSV_BYTES } from "./Table.ts"
import { type Role, roles } from "./Cast.ts"

export const help = `A tracker and seven agents, each a process of its own on this machine, describe a table together.

Usage: npm run demo -- [options]

  --csv FILE       A table of yours, up to ${MAX_CSV_BYTES / 1024 / 1024} MiB (default: the chemical elements)
  --json           End with one line of JSON on stdout; the timeline goes to stderr
  --mixed          Half of the agents run on the other runtime: Bun and Deno in one mesh
  --registry       Run a registry beside it, whose page shows all of it: agents, tasks, trust, the verdict with its proof.
                   On a terminal it all stays up until Ctrl-C; with --json, or in a script, it ends by itself
  --keep           With --registry: stay up until Ctrl-C in a script, too
  --seed NUMBER    Deal the roles anew: who lies, who is slow, …
  --without ROLE   Leave out a role (${roles.join(", ")}): the demo then says what did not happen, and exits 1
  --help           This

Exit codes: 0 all of it happened, 1 something did not, 64 wrong usage, 65 the file is no such table, 130 interrupted
`

/** What was asked for. */
export interface Options {
  readonly csv: string | undefined
  readonly json: boolean
  readonly mixed: boolean
  readonly registry: boolean
  /** Stays up at the end, until it is interrupted. */
  readonly keep: boolean
  readonly seed: number
  readonly without: Role | undefined
  readonly help: boolean
}

const isRole = (word: string): word is Role => roles.some((role) => role === word)

/** Reads the command line; or says what is wrong with it. */
export const parse = (args: ReadonlyArray<string>): Options | string => {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        csv: { type: "string" },
        json: { type: "boolean", default: false },
        mixed: { type: "boolean", default: false },
        registry: { type: "boolean", default: false },
        keep: { type: "boolean", default: false },
        seed: { type: "string", default: "0" },
        without: { type: "string" },
        help: { type: "boolean", short: "h", default: false }
      }
    })
    const { csv, help, json, keep, mixed, registry, without } = values
    if (keep && !registry) return "--keep keeps the registry's page up, and there is none: add --registry"
    const seed = Number(values.seed)
    if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 31) {
      return `--seed ${values.seed} is no whole number from 0 to ${2 ** 31 - 1}`
    }
    if (without !== undefined && !isRole(without)) {
      return `--without ${without}: there is no such role; there are ${roles.join(", ")}`
    }
    const stays = registry && (keep || (!json && process.stdout.isTTY === true))
    return { csv, help, json, mixed, registry, keep: stays, seed, without }
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause)
  }
}
