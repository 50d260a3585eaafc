import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Table from "../src/Table.ts"

const columns = (csv: string) =>
  Table.read(csv).columns.map(({ missing, name, values }) => [name, missing, ...values] as const)

describe("a table", () => {
  test("of the shipped elements has 118 rows and the columns its README tells of", () => {
    const { columns, rows } = Table.read(readFileSync(join(import.meta.dirname, "../data/elements.csv"), "utf8"))
    expect(rows).toBe(118)
    expect(columns.map(({ missing, name, values }) => [name, values.length, missing])).toEqual([
      ["atomic number", 118, 0],
      ["period", 118, 0],
      ["group", 88, 30],
      ["standard atomic weight", 84, 34]
    ])
  })

  test("is split by whichever separator fits", () => {
    for (const separator of [",", ";", "\t", "|"]) {
      expect(columns(["a", "b"].join(separator) + "\n" + ["1", "2.5"].join(separator))).toEqual([
        ["a", 0, 1],
        ["b", 0, 2.5]
      ])
    }
  })

  test("takes quotes, line ends, a byte order mark, empty lines and short and long rows", () => {
    expect(columns('\uFEFF"a, ""x""\ny";b\r\n"1";2\r\n\r\n3\r\n4;5;6\r\n')).toEqual([
      ['a, "x"\ny', 0, 1, 3, 4],
      ["b", 1, 2, 5]
    ])
    expect(columns('disk,x\r5" disk,1\r3" disk,2\r')).toEqual([["x", 0, 1, 2]])
  })

  test("takes decimal commas between semicolons, and in a table of one column", () => {
    expect(columns("a;b\n3,14;1\n-,5;2")).toEqual([
      ["a", 0, 3.14, -0.5],
      ["b", 0, 1, 2]
    ])
    expect(columns("a\n3,14\n2,5\n")).toEqual([["a", 0, 3.14, 2.5]])
  })

  test("knows what is a number, what is missing and what is text", () => {
    for (const cell of ["1,234", "$5", "7 %", "0x10", "Infinity", "1e101", "1e-101", "1.2.3", "--1", "1e"]) {
      expect(columns(`a\tb\n1\t1\n2\t${cell}\n`)).toEqual([["a", 0, 1, 2]])
    }
    for (const cell of ["", "  ", "NA", "n/a", "NaN", "NULL", "-", "–", "?"]) {
      expect(columns(`a\tb\n1\t1\n2\t${cell}\n`)).toEqual([
        ["a", 0, 1, 2],
        ["b", 1, 1]
      ])
    }
    expect(Object.is(Table.read("a,b\n-0,-0").columns[0]?.values[0], 0)).toBe(true)
  })

  test("names a column without a name by its place", () => {
    expect(columns(",b, \n1,2,3")).toEqual([
      ["column 1", 0, 1],
      ["b", 0, 2],
      ["column 3", 0, 3]
    ])
  })

  test("may have no rows", () => {
    expect(Table.read("a,b\n")).toEqual({ rows: 0, columns: [] })
  })

  test("has the lengths of its texts where it has no number", () => {
    expect(columns("name,city\nÄnne,Rom\n🙂,n/a\n")).toEqual([
      ["length of name", 0, 4, 1],
      ["length of city", 1, 3]
    ])
    expect(columns("name,n\nÄnne,1\n")).toEqual([["n", 0, 1]])
  })

  test("is refused with a reason when it is none, or too large", () => {
    const refused = (csv: string) => {
      try {
        Table.read(csv)
      } catch (error) {
        return error instanceof Table.TableError ? error.message : String(error)
      }
      return "not refused"
    }
    expect(refused("")).toContain("empty")
    expect(refused("a\0b")).toContain("zero bytes")
    expect(refused('a,b\n"1,2\n')).toContain("no CSV")
    expect(refused(`a\n${"1\n".repeat(Table.MAX_CSV_BYTES / 2)}`)).toContain(`at most ${Table.MAX_CSV_BYTES}`)
    expect(refused(`${"a,".repeat(Table.MAX_COLUMNS)}a\n`)).toContain("1001 columns")
  })
})
