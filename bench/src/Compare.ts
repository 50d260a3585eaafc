/**
 * `compare BASE HEAD`: two revisions against each other in one run. Fails where HEAD is slower than is given.
 *
 * Both ends of BASE's packages, and both ends of HEAD's, are four processes that take turns. Since how fast a process is depends on
 * how it happened to start, they are started several times. HEAD is slower when the middle of all rounds is beyond the
 * tolerance and three of four rounds say that it is slower at all: one slow moment of the machine does neither.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import { Pair, type Round } from "./End.ts"
import type { Part } from "./Part.ts"
import { checkOut, type Revision } from "./Revision.ts"
import { numberOf } from "./OptionValues.ts"
import { ratioOf, type Spread } from "./Spread.ts"
import { spread, table, whole } from "./Table.ts"
import { takeTurns, valuesOf } from "./Turns.ts"
import { UsageError } from "./UsageError.ts"

/** The part of all rounds that must say that HEAD is slower. */
const AGREED = 0.75

const help = `bench compare BASE HEAD: the whole path of two revisions against each other in one run

  BASE and HEAD are what git knows as revisions; "." is the working tree as it is (default for HEAD).
  Exits with 1 when HEAD does fewer calls a second, or uses more CPU time for each, beyond the tolerance.

  --tolerance PERCENT   what HEAD may be slower (default: 10)
  --runtime bun|deno    default: bun
  --inflight N          requests in flight (default: 64)
  --bytes N             payload as JSON (default: 128)
  --starts N            how often all processes are started anew (default: 3)
  --pairs N             rounds of each start (default: 6)
  --seconds S           length of each measurement (default: 0.5)`

/** What HEAD is beside BASE in one respect. */
export interface Verdict {
  readonly what: string
  /** HEAD ÷ BASE, round by round. */
  readonly ratio: Spread
  /** How much slower HEAD is in the middle, as a part: 0.1 is 10 %; below 0 it is faster. */
  readonly slower: number
  /** The part of all rounds in which it is slower. */
  readonly agreed: number
  readonly failed: boolean
}

/** Judges rounds that were taken in turn. `higherIsBetter` says which way is slower. */
export const judge = (
  what: string,
  base: ReadonlyArray<number>,
  head: ReadonlyArray<number>,
  higherIsBetter: boolean,
  tolerance: number
): Verdict => {
  const ratio = ratioOf(head, base)
  const slower = higherIsBetter ? 1 / ratio.median - 1 : ratio.median - 1
  const worse = head.filter((value, i) => (higherIsBetter ? value < base[i]! : value > base[i]!)).length
  const agreed = worse / head.length
  return { what, ratio, slower, agreed, failed: slower > tolerance && agreed >= AGREED }
}

interface Options {
  readonly runtime: Runtime
  readonly inflight: number
  readonly bytes: number
  readonly starts: number
  readonly pairs: number
  readonly seconds: number
  readonly tolerance: number
}

const measure = async (revisions: readonly [Revision, Revision], options: Options, say: (text: string) => void) => {
  const { bytes, inflight, pairs: rounds, runtime, seconds, starts } = options
  const all: readonly [Array<Round>, Array<Round>] = [[], []]
  for (let start = 0; start < starts; start++) {
    const pairs: Array<Pair> = []
    try {
      for (const { directory } of revisions)
        pairs.push(await Pair.start({ path: "call", asking: runtime, answering: runtime, bytes, root: directory }))
      const contestants = pairs.map((pair, i) => ({
        name: String(i),
        warmUp: () => pair.asking.run(inflight, 6 * seconds),
        round: () => pair.round(inflight, seconds)
      }))
      // Who begins changes from start to start too.
      const taken = await takeTurns<Round>(start % 2 === 0 ? contestants : contestants.reverse(), rounds)
      for (const i of [0, 1] as const) all[i].push(...(taken.get(String(i)) ?? []))
      say(`compare: start ${start + 1} of ${starts}: measured`)
    } finally {
      for (const pair of pairs) pair.close()
    }
  }
  return new Map([
    ["base", all[0]],
    ["head", all[1]]
  ])
}

const optionsOf = (args: ReadonlyArray<string>, brief: boolean) => {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      tolerance: { type: "string", default: "10" },
      runtime: { type: "string", default: "bun" },
      inflight: { type: "string", default: "64" },
      bytes: { type: "string", default: "128" },
      starts: { type: "string", default: brief ? "1" : "3" },
      pairs: { type: "string", default: brief ? "2" : "6" },
      seconds: { type: "string", default: brief ? "0.05" : "0.5" }
    }
  })
  const [base, head = ".", ...more] = positionals
  if (base === undefined || more.length > 0) throw new UsageError("compare takes two revisions: BASE HEAD")
  const { runtime } = values
  if (runtime !== "bun" && runtime !== "deno") throw new UsageError(`--runtime is bun or deno, not "${runtime}"`)
  const options: Options = {
    runtime,
    inflight: numberOf("inflight", values.inflight, 1, true),
    bytes: numberOf("bytes", values.bytes, 32, true),
    starts: numberOf("starts", values.starts, 1, true),
    pairs: numberOf("pairs", values.pairs, 1, true),
    seconds: numberOf("seconds", values.seconds, 0.01, false),
    tolerance: numberOf("tolerance", values.tolerance, 0, false) / 100
  }
  return { base, head, options }
}

const percent = (part: number): string => `${(part * 100).toFixed(1)} %`

const run: Part["run"] = async (args, { brief, say }) => {
  const { base, head, options } = optionsOf(args, brief)
  const directory = mkdtempSync(join(tmpdir(), "parley-compare-"))
  const revisions: Array<Revision> = []
  try {
    revisions.push(checkOut(base, join(directory, "base"), say))
    revisions.push(checkOut(head, join(directory, "head"), say))
    const [a, b] = [revisions[0]!, revisions[1]!]
    const rounds = await measure([a, b], options, say)
    const respects = [
      ["calls/s", (round: Round) => round.callsPerSecond, true],
      ["CPU µs/call", (round: Round) => round.askingMicros + round.answeringMicros, false]
    ] as const
    const verdicts = respects.map(([what, value, higherIsBetter]) =>
      judge(what, valuesOf(rounds, "base", value), valuesOf(rounds, "head", value), higherIsBetter, options.tolerance)
    )
    const count = options.starts * options.pairs
    const text = [
      `compare: ${base} (${a.commit}) and ${head} (${b.commit}) on ${options.runtime}, ${options.inflight} in flight, ${whole(options.bytes)} B`,
      `${count} rounds of ${options.seconds} s taken in turn, all processes started ${options.starts} times`,
      "",
      table(
        ["what", "HEAD ÷ BASE", "HEAD is slower by", "in rounds", "verdict"],
        verdicts.map(({ agreed, failed, ratio, slower, what }) => [
          what,
          spread(ratio),
          percent(slower),
          `${Math.round(agreed * count)} of ${count}`,
          failed ? `SLOWER than ${percent(options.tolerance)} allow` : "ok"
        ])
      )
    ].join("\n")
    const slow = verdicts.filter(({ failed }) => failed)
    return {
      text,
      goals: [],
      charts: [],
      data: { base: a.commit, head: b.commit, options, verdicts, rounds: Object.fromEntries(rounds) },
      ...(slow.length === 0
        ? {}
        : { failed: slow.map(({ slower, what }) => `${what}: ${head} is slower by ${percent(slower)}`).join("; ") })
    }
  } finally {
    for (const revision of revisions) revision.remove()
    rmSync(directory, { recursive: true, force: true })
  }
}

export const compare: Part = {
  what: "two revisions against each other: compare BASE HEAD",
  help,
  keepsNothing: true,
  run
}
