/** Values of the options that parts have, read from the command line. Each throws `UsageError`. */
import type { Runtime } from "../../scripts/setup.mjs"
import { UsageError } from "./UsageError.ts"

export const numberOf = (name: string, text: string, least: number, isWhole: boolean): number => {
  const value = Number(text)
  if (text.trim() !== "" && value >= least && Number.isFinite(value) && (!isWhole || Number.isInteger(value)))
    return value
  throw new UsageError(`--${name} is ${isWhole ? "a whole number" : "a number"} from ${least}, not "${text}"`)
}

export const oneOf = <A extends string>(name: string, text: string, all: ReadonlyArray<A>): A => {
  const found = all.find((each) => each === text)
  if (found !== undefined) return found
  throw new UsageError(`--${name} knows ${all.join(", ")}, not "${text}"`)
}

/** Words with commas between. */
export const listOf = (text: string): ReadonlyArray<string> => text.split(",").map((word) => word.trim())

const runtimes: ReadonlyArray<Runtime> = ["bun", "deno"]

/** `--runtime bun,deno`. */
export const runtimesOf = (text: string): ReadonlyArray<Runtime> =>
  listOf(text).map((name) => oneOf("runtime", name, runtimes))
