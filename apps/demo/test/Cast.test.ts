import { describe, expect, test } from "bun:test"
import * as Cast from "../src/Cast.ts"
import * as Options from "../src/Options.ts"

const conditions: Cast.Conditions = { awk: true, python: true, seed: 0, without: undefined, runtimes: ["bun"] }
const rolesOf = (changed: Partial<Cast.Conditions>) =>
  Cast.members({ ...conditions, ...changed }).map(({ role }) => role)

describe("the cast", () => {
  test("has seven agents, of whom five describe tables and have a role each", () => {
    const members = Cast.members(conditions)
    expect(members.length).toBe(7)
    expect(new Set(members.map(({ name }) => name)).size).toBe(7)
    expect(members.filter(({ way }) => way._tag !== "Other").map(({ role }) => role)).toEqual([...Cast.roles])
    const ways = members.map(({ way }) => JSON.stringify(way))
    expect(new Set(ways).size).toBe(7)
  })

  test("is dealt anew by a seed, and the same for the same one", () => {
    const deals = new Set<string>()
    for (let seed = 1; seed <= 200; seed++) {
      const roles = rolesOf({ seed })
      expect(rolesOf({ seed })).toEqual(roles)
      expect([...roles.slice(0, 5)].sort()).toEqual([...Cast.roles].sort())
      deals.add(roles.join())
    }
    expect(deals.size).toBeGreaterThan(60)
  })

  test("can do without a role, without awk and without Python", () => {
    for (const without of Cast.roles) expect(rolesOf({ without })).not.toContain(without)
    const programs = Cast.members({ ...conditions, awk: false, python: false }).flatMap(({ way }) =>
      way._tag === "Exec" ? [way.program] : []
    )
    expect(programs).toEqual(["pairwise", "compensated"])
  })

  test("takes turns on the runtimes", () => {
    const members = Cast.members({ ...conditions, runtimes: ["bun", "deno"] })
    expect(members.map(({ runtime }) => runtime)).toEqual(["bun", "deno", "bun", "deno", "bun", "deno", "bun"])
  })
})

describe("the command line", () => {
  test("says what is wrong with it", () => {
    expect(Options.parse(["--seed", "x"])).toContain("--seed x is no whole number")
    expect(Options.parse(["--without", "nobody"])).toContain("there are relayed, killed, liar, full, slow")
    expect(Options.parse(["--nosuch"])).toContain("--nosuch")
    expect(Options.parse(["a.csv"])).toContain("a.csv")
    expect(Options.parse(["--csv"])).toContain("--csv")
    expect(Options.parse(["--keep"])).toContain("add --registry")
  })
  test("has defaults", () => {
    expect(Options.parse([])).toEqual({
      csv: undefined,
      help: false,
      json: false,
      keep: false,
      mixed: false,
      registry: false,
      seed: 0,
      without: undefined
    })
  })
})
