import { describe, expect, test } from "bun:test"
import { fromSeed } from "@parley/core/testing/Seeded"
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import * as Equivalence from "@parley/consensus/Equivalence"
import { Description } from "../src/Describe.ts"
import * as OnePass from "../src/methods/OnePass.ts"
import * as Sql from "../src/methods/Sql.ts"
import * as TwoPasses from "../src/methods/TwoPasses.ts"
import * as Programs from "../src/Programs.ts"
import * as Table from "../src/Table.ts"
import { current } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"

const methods = {
  "one pass": OnePass.describe,
  "two passes": TwoPasses.describe,
  pairwise: TwoPasses.describePairwise,
  compensated: TwoPasses.describeCompensated,
  sql: Sql.describe
}

const seed = Number(process.env["PARLEY_SEED"] ?? 20260511)

/** A column of a kind that is hard for some method: equal numbers, far from zero, cancelling out, huge, tiny, an outlier first. */
const kinds: ReadonlyArray<(random: () => number, i: number) => string> = [
  (random) => String(random() * 100 - 50),
  () => "0.1",
  (random) => (1_700_000_000_000 + random() * 1000).toFixed(3),
  (_, i) => (i % 2 === 0 ? "0.3" : "-0.3"),
  (random) => `${(random() * 9 + 1).toFixed(6)}e90`,
  (random) => `-${(random() * 9 + 1).toFixed(6)}E-95`,
  (random, i) => (i === 0 ? "1e9" : random().toFixed(4)),
  (random) => String(Math.floor(random() * 3)),
  (random) => (random() < 0.5 ? "" : ["NA", "-", " 7 ", "+.5", "1.", "null"][Math.floor(random() * 6)]!),
  (random) => `"text, ""${Math.floor(random() * 9)}"" é\n日本"`,
  () => "0"
]

const randomCsv = (random: () => number): string => {
  const rows = 1 + Math.floor(random() * random() * 400)
  const columns = Array.from(
    { length: 1 + Math.floor(random() * 6) },
    () => kinds[Math.floor(random() * kinds.length)]!
  )
  const end = ["\n", "\r\n"][Math.floor(random() * 2)]!
  const separator = [",", ";", "\t"][Math.floor(random() * 3)]!
  const lines = [columns.map((_, i) => `"c ${i} \\ ""ü"`).join(separator)]
  for (let i = 0; i < rows; i++) lines.push(columns.map((kind) => kind(random, i)).join(separator))
  return (random() < 0.3 ? "\uFEFF" : "") + lines.join(end) + (random() < 0.5 ? end : "")
}

const distance = (a: Description, b: Description): number => {
  const comparison = Equivalence.numeric().begin()
  for (const value of [a, b]) {
    comparison.add({ node: "z" as never, capability: "csv.describe@1.0.0", value: value as never, latencyMs: 0 })
  }
  return comparison.distance(0, 1)
}

const isDescription = Schema.is(Description)
const program = (name: Programs.Program) => (csv: string) => {
  const line = Programs.command(name, { delayMs: 0, doctored: false }, current)
  const { status, stderr, stdout } = spawnSync(line, { shell: true, input: JSON.stringify({ csv }), encoding: "utf8" })
  if (status !== 0) throw new Error(`${line}: ${status} ${stderr}`)
  return JSON.parse(stdout) as Description
}

const missing = {
  awk: (await Programs.works("awk")) ? undefined : "there is no awk",
  python: (await Programs.works("python")) ? undefined : "there is no python3"
}

describe("the methods", () => {
  test("agree on 400 random tables, in any pair", () => {
    const random = fromSeed(seed).next
    for (let run = 0; run < 400; run++) {
      const csv = randomCsv(random)
      const table = Table.read(csv)
      const reference = OnePass.describe(table)
      expect(isDescription(reference)).toBe(true)
      for (const [name, method] of Object.entries(methods)) {
        const apart = distance(reference, method(table))
        if (!(apart <= 0.1)) {
          throw new Error(
            `seed ${seed}, run ${run}: ${name} is ${apart} tolerances from one pass over ${csv.slice(0, 300)}`
          )
        }
      }
    }
  }, 60_000)

  for (const name of ["awk", "python", "pairwise", "compensated"] as const) {
    const reason = name === "awk" || name === "python" ? missing[name] : undefined
    skipTest(reason)(
      `as a program: ${name}`,
      () => {
        const random = fromSeed(seed + 1).next
        for (let run = 0; run < 12; run++) {
          const csv = randomCsv(random)
          const apart = distance(OnePass.describe(Table.read(csv)), program(name)(csv))
          if (!(apart <= 0.1)) throw new Error(`seed ${seed}, run ${run}: ${name} is ${apart} tolerances apart: ${csv}`)
        }
      },
      60_000
    )
  }

  test("give what is known of a small table", () => {
    const table = Table.read("a,b,c\n1,x,\n2,y,NA\n3,z,5\n6,,\n")
    for (const method of Object.values(methods)) {
      const found = method(table)
      expect(found.rows).toBe(4)
      expect(found.columns.map(({ name, n, missing }) => [name, n, missing])).toEqual([
        ["a", 4, 0],
        ["c", 1, 3]
      ])
      const [a, c] = found.columns
      expect(a).toMatchObject({ mean: 3, min: 1, median: 2.5, max: 6 })
      expect(a?.sd).toBeCloseTo(2.160246899469287, 12)
      expect(c).toMatchObject({ mean: 5, sd: null, min: 5, median: 5, max: 5 })
    }
  })

  test("tell a doctored table from a true one", () => {
    const table = Table.read(readFileSync(join(import.meta.dirname, "../data/elements.csv"), "utf8"))
    const lie = OnePass.describe(Table.doctored(table))
    expect(distance(OnePass.describe(table), lie)).toBeGreaterThan(1)
    for (const csv of ["x\n0\n0\n", "x\n-1\n1\n", "x\n5\n"]) {
      const small = Table.read(csv)
      expect(distance(OnePass.describe(small), OnePass.describe(Table.doctored(small)))).toBeGreaterThan(1)
    }
  })
})
