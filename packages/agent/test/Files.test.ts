import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import { NetworkKey, TrustFile } from "@parley/agent"
import * as Identity from "@parley/core/Identity"
import type { Entry } from "@parley/core/Trust"

let home = ""
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "parley-files-"))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

const codeOf = (effect: Effect.Effect<unknown, { readonly code: string }>) =>
  Effect.runPromise(Effect.map(Effect.flip(effect), ({ code }) => code))

describe("NetworkKey", () => {
  test("is made once, for its owner alone, and read again", async () => {
    const path = join(home, "made", "mesh.key")
    const key = await Effect.runPromise(NetworkKey.create(path))
    expect(key).toHaveLength(NetworkKey.KEY_BYTES)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await Effect.runPromise(NetworkKey.load(path))).toEqual(key)
    expect(await codeOf(NetworkKey.create(path))).toBe("Exists")
    expect(await Effect.runPromise(NetworkKey.load(path))).toEqual(key)
  })

  test("is refused when others can read it, when it is something else, and when there is none", async () => {
    const path = join(home, "open.key")
    writeFileSync(path, "00".repeat(32), { mode: 0o600 })
    await Effect.runPromise(NetworkKey.load(path))
    chmodSync(path, 0o640)
    expect(await codeOf(NetworkKey.load(path))).toBe("NotPrivate")
    chmodSync(path, 0o600)
    writeFileSync(path, "00".repeat(31))
    expect(await codeOf(NetworkKey.load(path))).toBe("Malformed")
    writeFileSync(path, "0".repeat(2_000))
    expect(await codeOf(NetworkKey.load(path))).toBe("TooLarge")
    expect(await codeOf(NetworkKey.load(join(home, "absent.key")))).toBe("NotFound")
    expect(await codeOf(NetworkKey.load(home))).toBe("Malformed")
  })
})

describe("TrustFile", () => {
  const [ada, bob] = [Identity.generate().nodeId, Identity.generate().nodeId]
  const entry = (node: Entry["node"], value: number, samples: number): Entry => ({
    node,
    capability: "a.b",
    value,
    samples,
    why: "answered"
  })

  test("keeps what others learned in between, and replaces what was learned here", async () => {
    const path = join(home, "trust.json")
    expect(await Effect.runPromise(TrustFile.load(path))).toEqual([])
    await Effect.runPromise(TrustFile.save(path, [], [entry(ada, 0.55, 1)]))
    const before = await Effect.runPromise(TrustFile.load(path))
    // Another process learns of both meanwhile.
    await Effect.runPromise(TrustFile.save(path, before, [entry(ada, 0.6, 2), entry(bob, 0.45, 1)]))
    await Effect.runPromise(TrustFile.save(path, before, [entry(ada, 0.5, 2)]))
    const after = await Effect.runPromise(TrustFile.load(path))
    expect(new Map(after.map(({ node, value }) => [node, value]))).toEqual(
      new Map([
        [ada, 0.5],
        [bob, 0.45]
      ])
    )
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(home).filter((name) => name.endsWith(".tmp"))).toEqual([])
  })

  test("nothing learned writes nothing", async () => {
    const path = join(home, "untouched.json")
    await Effect.runPromise(TrustFile.save(path, [entry(ada, 0.5, 1)], [entry(ada, 0.5, 1)]))
    expect(readdirSync(home)).not.toContain("untouched.json")
  })

  test("a damaged file is refused, and left as it is", async () => {
    const path = join(home, "damaged.json")
    for (const text of ["", "{", "[]", '{"v":2,"entries":[]}', '{"v":1,"entries":[{"node":"x"}]}']) {
      writeFileSync(path, text)
      expect(await codeOf(TrustFile.load(path))).toBe("Malformed")
      expect(await codeOf(TrustFile.save(path, [], [entry(ada, 0.5, 1)]))).toBe("Malformed")
      expect(readFileSync(path, "utf8")).toBe(text)
    }
  })
})
