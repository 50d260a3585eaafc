import { describe, expect, test } from "bun:test"
import { Wanted } from "@parley/agent"

describe("Wanted", () => {
  test("names with a dot, a star or a range are capabilities", () => {
    expect(Wanted.parse("csv.describe")).toEqual({ name: "csv.describe" })
    expect(Wanted.parse(" csv.describe@^1 ")).toEqual({ name: "csv.describe", version: "^1" })
    expect(Wanted.parse("csv.describe@>=1 <3")).toEqual({ name: "csv.describe", version: ">=1 <3" })
    expect(Wanted.parse("text.*")).toEqual({ name: "text.*" })
    expect(Wanted.parse("echo@1.0.0")).toEqual({ name: "echo", version: "1.0.0" })
  })

  test("everything else is plain words", () => {
    expect(Wanted.parse("summary statistics of a table")).toEqual({ text: "summary statistics of a table" })
    expect(Wanted.parse("sentiment")).toEqual({ text: "sentiment" })
    expect(Wanted.parse("statistics, e.g. a mean")).toEqual({ text: "statistics, e.g. a mean" })
    expect(Wanted.parse("  ")).toEqual({})
  })
})
