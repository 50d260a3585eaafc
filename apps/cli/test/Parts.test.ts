import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { Choosing, ExecProgram, Failure, Input, Names, Output } from "@parley/cli"
import * as Lists from "../src/Lists.ts"
import * as Settings from "../src/Settings.ts"
import * as Identity from "@parley/core/Identity"
import type { Task } from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import { NodeError } from "@parley/core/NodeError"

let folder = ""
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "parley-parts-"))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("what people read", () => {
  const ada = "z6MkwQ1bB36NJxzFw8VVAnUzLz13sRsbACvpGhkLerG52kCx"
  const bob = "z6Mkj64HSzCk4DUr9bfdeFZUGNFh2vh2voXH111FZGkv7kye"
  const nameOf = (node: NodeId) => (node === ada ? "ada" : node === bob ? "FZGkv7kye" : undefined)

  test("names stand for NodeIds, but not within addresses", () => {
    expect(Names.put(`${ada} said no, ${bob}: yes`, nameOf)).toBe("ada (z6MkwQ1bB36N…) said no, z6Mkj64HSzCk…: yes")
    const relayed = `relay://a.example:1/${bob}/${ada} does not answer`
    expect(Names.put(relayed, nameOf)).toBe(relayed)
  })

  test("what strangers wrote cannot rewrite the terminal", () => {
    expect(Output.harmless("a\u001b[31mb\r\n\tc\u009b\u202e")).toBe("a\\u001b[31mb\\u000d\n\tc\\u009b\\u202e")
    expect(Output.plain("one\ntwo\u0007")).toBe("one\ntwo\\u0007")
    expect(Output.plain({ "a\u001b": "x\u001b[2J", csv: "1\n2", n: 1 })).toBe('a\\u001b x\\u001b[2J  csv "1\\n2"  n 1')
  })

  test("columns are as wide as a terminal shows them", () => {
    expect(["ada", "grüße", "gru\u0308ße", "東京", "한국", "👩‍🚀", "e\u0301"].map(Output.wide)).toEqual([
      3, 5, 5, 4, 4, 2, 1
    ])
    expect(
      Output.table([
        ["A", "B"],
        ["東京", "x"],
        ["ada", "y"]
      ])
    ).toBe("A     B\n東京  x\nada   y")
  })

  test("on a terminal too narrow for them one column is shortened first, then the widest", () => {
    const rows = [
      ["AGENT", "WHY", "NODE"],
      ["ada", "words 0.88, trust 0.97, idle", "z6MkwQ1bB36NJxzFw8VVAnUzLz13sRsbACvpGhkLerG52kCx"],
      ["東京", "東京東京東京東京東京東京", "z6Mk"]
    ]
    const whole = Output.table(rows, 1, Number.POSITIVE_INFINITY)
    expect(whole.split("\n")[1]).toBe(
      "ada    words 0.88, trust 0.97, idle  z6MkwQ1bB36NJxzFw8VVAnUzLz13sRsbACvpGhkLerG52kCx"
    )
    expect(Output.table(rows, 1, 85)).toBe(whole)
    expect(Output.table(rows, 1, 70).split("\n")).toEqual([
      "AGENT  WHY            NODE",
      "ada    words 0.88, …  z6MkwQ1bB36NJxzFw8VVAnUzLz13sRsbACvpGhkLerG52kCx",
      "東京   東京東京東京…  z6Mk"
    ])
    expect(Output.table(rows, 1, 40).split("\n")[1]).toBe("ada    words 0.8…  z6MkwQ1bB36NJxzFw8VV…")
    // Where nothing would be left to read, the terminal may fold the lines.
    expect(Output.table(rows, 1, 1).split("\n")[1]).toBe("ada    words 0.8…  z6MkwQ1bB…")
    expect([Output.cut("東京", 3), Output.cut("東京", 4), Output.cut("e\u0301e\u0301e", 2)]).toEqual([
      "東…",
      "東京",
      "e\u0301…"
    ])
  })
})

describe("Choosing", () => {
  test("tests of metadata", () => {
    const read = (text: string) => Choosing.constraint(text)
    expect(read("language in en, de")).toEqual({ key: "language", test: { in: ["en", "de"] } })
    expect(read("size >= 7")).toEqual({ key: "size", test: { gte: 7 } })
    expect(read("size<=7.5")).toEqual({ key: "size", test: { lte: 7.5 } })
    expect(read("model != gpt-x")).toEqual({ key: "model", test: { ne: "gpt-x" } })
    expect(read("fast = true")).toEqual({ key: "fast", test: { eq: true } })
    expect(read('code eq "7"')).toEqual({ key: "code", test: { eq: "7" } })
    expect(read("gpu exists")).toEqual({ key: "gpu", test: { exists: true } })
    expect(read("gpu absent")).toEqual({ key: "gpu", test: { exists: false } })
    for (const none of ["", "language", "size >=", "= 7", "fast >= true", "size ~ 7"])
      expect(read(none)).toBeUndefined()
  })
})

describe("Lists", () => {
  const [ada, bob] = [Identity.generate().nodeId, Identity.generate().nodeId]
  const read = (allow: ReadonlyArray<string>, deny: ReadonlyArray<string>) =>
    Effect.runPromise(Lists.read({ allow, deny }))

  test("are about everything, one capability, or one version of it", async () => {
    const lists = await read([ada, `a.b@2.0.0=${bob}`], [`a.b=${bob}`])
    expect(lists.of("a.b@1.0.0")).toEqual({ allow: [ada], deny: [bob] })
    expect(lists.of("a.b@2.0.0")).toEqual({ allow: [ada, bob], deny: [bob] })
    expect(lists.of("a.bc@1.0.0")).toEqual({ allow: [ada] })
    // Nobody named is everybody, and not nobody.
    expect((await read([], [])).of("a.b@1.0.0")).toEqual({})
  })

  test("that are about nothing served are mistakes, and so are words that name nobody", async () => {
    const lists = await read([ada], [`a.b=${bob}`])
    expect(lists.unused(["a.b@1.0.0"])).toBeUndefined()
    expect(lists.unused(["b.a@1.0.0"])?.message).toContain("a.b, which is not served here: b.a@1.0.0 is")
    const error = await Effect.runPromise(Effect.flip(Lists.read({ allow: ["a.b=ada"], deny: [] })))
    expect(error.message).toContain('--allow "a.b=ada" names no node')
  })
})

describe("Settings", () => {
  const joining: Parameters<typeof Settings.node>[0] = {
    ...{ identity: undefined, passphraseFile: undefined, name: undefined, registry: undefined, networkKey: undefined },
    ...{ network: undefined, trust: undefined, peer: [], tracker: [], dht: [], relay: [] },
    ...{ publicDht: false, registryOfNetwork: false, noMdns: true, noGossip: false }
  }
  const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromise(effect)

  test("a node gossips unless told not to, and who asks once never does, nor listens", async () => {
    const { PARLEY_NO_GOSSIP: before } = process.env
    delete process.env["PARLEY_NO_GOSSIP"]
    const gossips = async (more: object) => (await run(Settings.node({ ...joining, ...more }))).gossip
    expect([await gossips({}), await gossips({ noGossip: true })]).toEqual([true, false])
    process.env["PARLEY_NO_GOSSIP"] = "1"
    expect(await gossips({})).toBe(false)
    if (before === undefined) delete process.env["PARLEY_NO_GOSSIP"]
    else process.env["PARLEY_NO_GOSSIP"] = before
    expect(await run(Settings.asker(joining))).toMatchObject({ gossip: false, listen: false })
  })

  test("take addresses that can be dialled, and nothing else", async () => {
    const node = Identity.generate().nodeId
    const good = ["tcp://h:1", "tcp://[::1]:7878", `tcp://a.example:7878/${node}`, `relay://h:1/${node}/${node}`]
    expect((await run(Settings.node({ ...joining, peer: good }))).peers).toEqual(good)
    expect(await run(Settings.target(node))).toBe(node)
    for (const bad of [
      "h:1",
      "tcp://h",
      "tcp://h:1/ada",
      "http://h:1",
      "tcp://h:1 ",
      "",
      "tcp://:1",
      `relay://h/${node}`
    ]) {
      const error = await run(Effect.flip(Settings.node({ ...joining, relay: [bad] })))
      expect(error).toMatchObject({ code: "Malformed", detail: expect.stringContaining(JSON.stringify(bad)) })
      expect(await run(Effect.flip(Settings.target(bad)))).toMatchObject({ code: "BadNode" })
    }
  })
})

describe("Input", () => {
  test("is JSON, or a file under its extension", async () => {
    const read = (word?: string, field?: string) => Effect.runPromise(Input.read(word, field))
    expect(await read()).toEqual({})
    expect(await read("[1]")).toEqual([1])
    const table = join(folder, "t.csv")
    writeFileSync(table, "a\n1\n")
    expect(await read(`@${table}`)).toEqual({ csv: "a\n1\n" })
    expect(await read(`@${table}`, "table")).toEqual({ table: "a\n1\n" })
    expect(["x.JSON", "x.md", "x", "x.tar.gz"].map(Input.fieldOf)).toEqual([undefined, "text", "text", "gz"])
  })

  test("is bounded before it is read", async () => {
    const large = join(folder, "large.txt")
    writeFileSync(large, "")
    truncateSync(large, Input.MAX_BYTES + 1)
    const error = await Effect.runPromise(Effect.flip(Input.read(`@${large}`, undefined)))
    expect(error.message).toContain(String(Input.MAX_BYTES))
  })
})

describe("ExecProgram", () => {
  const task: Task = {
    id: "00".repeat(16),
    caller: Identity.generate().nodeId,
    deadline: 0,
    hops: 0,
    maxCostUsd: undefined
  }
  const run = (command: string, input: string = "") => ExecProgram.handler("a.b@1.0.0", command)(input, task)
  const codeOf = (command: string) => Effect.runPromise(Effect.map(Effect.flip(run(command)), ({ _tag }) => _tag))

  test("JSON goes in and comes out, and the task stands in the environment", async () => {
    expect(await Effect.runPromise(run("cat", "ünïcode"))).toBe("ünïcode")
    expect(await Effect.runPromise(run(`printf '["%s","%s"]' "$PARLEY_CAPABILITY" "$PARLEY_TASK"`))).toEqual([
      "a.b@1.0.0",
      task.id
    ])
  })

  test("a program need not read its input", async () => {
    expect(await Effect.runPromise(run("echo 1", "x".repeat(1_000_000)))).toBe(1)
  })

  test("what goes wrong has a name", async () => {
    expect(await codeOf("exit 7")).toBe("ExitCode")
    expect(await codeOf("kill -9 $$")).toBe("ExitCode")
    expect(await codeOf("true")).toBe("BadOutput")
    expect(await codeOf("echo nope")).toBe("BadOutput")
    expect(await codeOf("/nosuch/program")).toBe("ExitCode")
  })

  test("output without an end is cut, and the program ended", async () => {
    const error = await Effect.runPromise(Effect.flip(run("yes")))
    expect(error.message).toContain(String(ExecProgram.MAX_OUTPUT_BYTES))
  })

  test("stderr is told from its end", async () => {
    const error = await Effect.runPromise(Effect.flip(run("seq 10000 >&2; exit 1")))
    expect(error.message).toMatch(/9999\n10000$/)
    expect(error.message.length).toBeLessThan(ExecProgram.STDERR_TAIL_BYTES + 100)
  })

  test("an interrupted program that ignores SIGTERM is ended all the same", async () => {
    const mark = join(folder, "begun")
    const running = Effect.runFork(run(`trap '' TERM; touch ${mark}; while :; do sleep 1; done`))
    while (!existsSync(mark)) await new Promise((resolve) => setTimeout(resolve, 10))
    const asked = performance.now()
    running.interruptUnsafe()
    await new Promise<void>((resolve) => running.addObserver(() => resolve()))
    expect(performance.now() - asked).toBeLessThan(4_000)
  })
})

describe("Failure", () => {
  test("errors have exit codes, and mistakes of the program another one", () => {
    const node = (reason: NodeError["reason"]) => Failure.tell(new NodeError({ reason })).exitCode
    expect(node({ _tag: "NoPeer", wanted: "a.b", tried: [], closest: [] })).toBe(3)
    expect(node({ _tag: "DeadlineExceeded", deadlineMs: 1, where: "caller" })).toBe(4)
    expect(node({ _tag: "TooLarge", bytes: 2, limit: 1 })).toBe(1)
    expect(node({ _tag: "BadQuery", detail: "" })).toBe(2)
    expect(Failure.tell(Failure.usage("X", "wrong"))).toEqual({ exitCode: 2, code: "X", message: "wrong" })
    expect(Failure.tell(new Error("oops")).exitCode).toBe(70)
    expect(Failure.tellCause(Cause.die(new Error("oops")))?.exitCode).toBe(70)
    expect(Failure.tellCause(Cause.interrupt(1))).toBeUndefined()
  })
})
