/** Verifies: a private mesh works among its members, without any way out, and shows nothing to anyone else. */
import { execFile } from "node:child_process"
import { once } from "node:events"
import { type AddressInfo, connect, createServer } from "node:net"
import { join } from "node:path"
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Namespace from "../../../test-support/Namespace.ts"
import { command, repository } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Cohort from "../src/Cohort.ts"
import * as Wiretap from "../src/Wiretap.ts"

const main = join(repository, "apps/private-mesh/src/main.ts")
const run = (before: ReadonlyArray<string>, ...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resolve) => {
    const [file, ...rest] = [...before, ...command(main), ...args]
    execFile(file!, rest, { timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
    )
  })

const expectPrivate = ({ code, stderr, stdout }: Awaited<ReturnType<typeof run>>): void => {
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
  const report = JSON.parse(stdout)
  expect(report.totals).toEqual([report.truth, report.truth, report.truth])
  expect(report.truth > 0).toBe(true)
  const [without, wrong] = report.outsiders
  expect(without.tries.map(({ code }: { code: string }) => code)).toEqual(Array(3).fill("NetworkKeyMissing"))
  expect(wrong.tries.map(({ code }: { code: string }) => code)).toEqual(Array(3).fill("NetworkKeyMismatch"))
  for (const { call, matches, records } of report.outsiders) {
    expect({ call, matches, records }).toEqual({ call: "NoPeer", matches: [], records: 0 })
  }
  // Besides these there may be dials that a stranger gave up half-way, as it ended.
  for (const code of ["NetworkKeyMismatch", "NetworkKeyMissing"]) expect(report.refusals).toContain(code)
  expect(report.wire.inTheClear).toEqual([])
  expect(report.wire.bytes > 10_000).toBe(true)
}

describe("private-mesh", () => {
  test("members count together; who has no key, or another one, learns nothing and is told why", async () => {
    expectPrivate(await run([], "--json"))
  }, 60_000)

  test("without a network key the same checks fail, each by name", async () => {
    const { code, stderr, stdout } = await run([], "--json", "--open")
    expect(code).toBe(1)
    for (const problem of [
      "was told Connected",
      "learned 3 records",
      "found cohort.count",
      "got answered",
      "bytes in"
    ]) {
      expect(stderr).toContain(problem)
    }
    expect(JSON.parse(stdout).failed.length > 0).toBe(true)
  }, 60_000)

  skipTest(Namespace.unavailable)(
    "needs no other machine: it runs where there is only loopback",
    async () => {
      const alone = Namespace.alone()
      try {
        expectPrivate(await run(["ip", "netns", "exec", alone.name], "--json"))
      } finally {
        alone.remove()
      }
    },
    60_000
  )

  test("explains itself, and a wrong argument", async () => {
    const help = await run([], "--help")
    expect([help.code, help.stdout.includes("--open")]).toEqual([0, true])
    const wrong = await run([], "--nonsense")
    expect([wrong.code, wrong.stderr.includes("--help")]).toEqual([64, true])
  }, 60_000)
})

describe("Wiretap", () => {
  test("hears what is sent in the clear, in both directions", () =>
    Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const server = createServer((socket) => void socket.on("data", () => socket.end("cohort.count is 7")))
          yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
          yield* Effect.promise(() => once(server.listen(0, "127.0.0.1"), "listening"))
          const tap = yield* Wiretap.make(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`)
          const socket = connect(Number(new URL(tap.address).port), "127.0.0.1")
          socket.write("what is cohort.count?")
          socket.resume()
          yield* Effect.promise(() => once(socket, "close"))
          const { back, connections, there } = tap.heard()
          expect([there.includes(Cohort.Count.name), back.includes(Cohort.Count.name)]).toEqual([true, true])
          expect(connections).toBe(1)
        })
      )
    ))
})

describe("Cohort", () => {
  test("does not tell a count that could point at a person", () => {
    const patients = Array.from({ length: Cohort.SMALLEST_TOLD }, () => ({ diagnosis: "J45.9", age: 40 }))
    const question = { diagnosis: "J45.9", minAge: 40 }
    expect(Cohort.count(patients, question)).toBe(Cohort.SMALLEST_TOLD)
    expect(Cohort.count(patients.slice(1), question)).toBe(null)
    expect(Cohort.count(patients, { ...question, minAge: 41 })).toBe(null)
  })
})
