import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Identity from "../src/Identity.ts"
import * as KeyStore from "../src/KeyStore.ts"
import { forRounds, mutate, seeded } from "../src/testing/Seeded.ts"

let folder = ""
let count = 0
beforeAll(() => {
  folder = fs.mkdtempSync(join(tmpdir(), "parley-keys-"))
})
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))
const fresh = (): string => join(folder, `${++count}`, "deep", "identity.json")

const seed = new Uint8Array(32).fill(9)
const passphrase = Redacted.make("correct horse")
const run = <A>(effect: Effect.Effect<A, KeyStore.KeyStoreError>): Promise<A> => Effect.runPromise(effect)
const refusal = async (effect: Effect.Effect<unknown, KeyStore.KeyStoreError>): Promise<KeyStore.KeyStoreError> =>
  Effect.runPromise(Effect.flip(effect))
const tagOf = async (effect: Effect.Effect<unknown, KeyStore.KeyStoreError>): Promise<string> =>
  (await refusal(effect)).reason._tag
const mode = (path: string): string => (fs.statSync(path).mode & 0o777).toString(8)
const write = (path: string, text: string, permissions = 0o600): void => {
  fs.mkdirSync(join(path, ".."), { recursive: true })
  fs.writeFileSync(path, text, { mode: permissions })
  fs.chmodSync(path, permissions)
}

const start = (...args: ReadonlyArray<string>): ChildProcess => {
  const file = fileURLToPath(new URL("./key-store-writer.ts", import.meta.url))
  const runtime = "Deno" in globalThis ? ["run", "-A", "--no-check"] : []
  return spawn(process.execPath, [...runtime, file, ...args], { stdio: ["ignore", "pipe", "inherit"] })
}
const outputOf = (child: ChildProcess): Promise<string> =>
  new Promise((done, refuse) => {
    let text = ""
    child.stdout!.on("data", (chunk) => (text += String(chunk)))
    child.on("error", refuse)
    child.on("close", () => done(text.trim()))
  })

describe("KeyStore", () => {
  test("keeps a key in a private file of a private folder, and finds it again", async () => {
    const path = fresh()
    expect(await run(KeyStore.create(path, seed))).toBe(true)
    expect(mode(path)).toBe("600")
    expect(mode(join(path, ".."))).toBe("700")
    expect(await run(KeyStore.load(path))).toEqual(seed)
    expect(fs.readdirSync(join(path, ".."))).toEqual(["identity.json"])
    const { nodeId } = Identity.fromSeed(seed)
    expect(JSON.parse(fs.readFileSync(path, "utf8"))).toEqual({
      v: 1,
      nodeId,
      key: { kind: "plain", seed: Buffer.from(seed).toString("base64url") }
    })
  })

  test("never overwrites on create", async () => {
    const path = fresh()
    await run(KeyStore.create(path, seed))
    expect(await run(KeyStore.create(path, new Uint8Array(32)))).toBe(false)
    expect(await run(KeyStore.load(path))).toEqual(seed)
    expect(fs.readdirSync(join(path, ".."))).toEqual(["identity.json"])
  })

  test("refuses a file that others can read or write, and says what to do", async () => {
    const path = fresh()
    await run(KeyStore.create(path, seed))
    for (const permissions of [0o640, 0o620, 0o604, 0o602, 0o644, 0o666, 0o610]) {
      fs.chmodSync(path, permissions)
      for (const effect of [KeyStore.load(path), KeyStore.loadOrCreate(path)]) {
        const error = await refusal(effect)
        expect(error.reason._tag).toBe("NotPrivate")
        expect(error.message).toContain(`chmod 600 ${path}`)
        expect(error.message).toContain(permissions.toString(8))
      }
    }
    fs.chmodSync(path, 0o400)
    expect(await run(KeyStore.load(path))).toEqual(seed)
  })

  test("seals with a passphrase", async () => {
    const path = fresh()
    await run(KeyStore.create(path, seed, { passphrase }))
    const text = fs.readFileSync(path, "utf8")
    expect(text).not.toContain(Buffer.from(seed).toString("base64url"))
    expect(JSON.parse(text).key).toMatchObject({ kind: "scrypt-aes-256-gcm", ...KeyStore.SCRYPT })
    expect(await run(KeyStore.load(path, { passphrase }))).toEqual(seed)
    expect(await tagOf(KeyStore.load(path))).toBe("PassphraseRequired")
    expect(await tagOf(KeyStore.load(path, { passphrase: Redacted.make("") }))).toBe("PassphraseRequired")
    const wrong = await refusal(KeyStore.load(path, { passphrase: Redacted.make("correct horsf") }))
    expect(wrong.reason._tag).toBe("WrongPassphrase")
    expect(wrong.message).not.toContain("horsf")
    expect(await tagOf(KeyStore.create(fresh(), seed, { passphrase: Redacted.make("") }))).toBe("PassphraseRequired")
    await run(KeyStore.replace(path, seed, { passphrase: Redacted.make("battery staple") }))
    expect(await tagOf(KeyStore.load(path, { passphrase }))).toBe("WrongPassphrase")
    expect(await run(KeyStore.load(path, { passphrase: Redacted.make("battery staple") }))).toEqual(seed)
  }, 30_000)

  test("notices a sealed file whose parts were exchanged", async () => {
    const path = fresh()
    await run(KeyStore.create(path, seed, { passphrase }))
    const file = JSON.parse(fs.readFileSync(path, "utf8"))
    write(path, JSON.stringify({ ...file, nodeId: Identity.generate().nodeId }))
    expect(await tagOf(KeyStore.load(path, { passphrase }))).toBe("WrongPassphrase")
    const tag = Buffer.from(file.key.tag, "base64url")
    tag[0]! ^= 1
    write(path, JSON.stringify({ ...file, key: { ...file.key, tag: tag.toString("base64url") } }))
    expect(await tagOf(KeyStore.load(path, { passphrase }))).toBe("WrongPassphrase")
  }, 30_000)

  test("bounds what a file may ask of scrypt, before it asks", async () => {
    const path = fresh()
    await run(KeyStore.create(path, seed, { passphrase }))
    const file = JSON.parse(fs.readFileSync(path, "utf8"))
    for (const asked of [
      { n: 2 ** 30 },
      { n: 2 ** 40 },
      { n: 2 ** 19, p: 1 },
      { r: 4096 },
      { p: 1e9 },
      { n: 1 },
      { n: 32_767 },
      { n: 0 },
      { p: 0.5 }
    ]) {
      write(path, JSON.stringify({ ...file, key: { ...file.key, ...asked } }))
      expect([asked, await tagOf(KeyStore.load(path, { passphrase }))]).toEqual([asked, "Malformed"])
    }
  }, 30_000)

  test("refuses what is no key file, without quoting it", async () => {
    const path = fresh()
    const secret = Buffer.from(seed).toString("base64url")
    const { nodeId } = Identity.fromSeed(seed)
    const key = { kind: "plain", seed: secret }
    const texts = [
      "",
      `{"seed":"${secret}"`,
      JSON.stringify({ v: 2, nodeId, key }),
      JSON.stringify({ v: 1, key }),
      JSON.stringify({ v: 1, nodeId: Identity.generate().nodeId, key }),
      JSON.stringify({ v: 1, nodeId, key: { kind: "plain", seed: secret.slice(1) } }),
      JSON.stringify({ v: 1, nodeId, key: { kind: "rot13", seed: secret } })
    ]
    for (const text of texts) {
      write(path, text)
      const error = await refusal(KeyStore.loadOrCreate(path))
      expect([text, error.reason._tag]).toEqual([text, "Malformed"])
      expect(error.message).toContain(path)
      expect(inspect(error) + JSON.stringify(error)).not.toContain(secret.slice(1, 20))
      expect(fs.readFileSync(path, "utf8")).toBe(text)
    }
    write(path, " ".repeat(KeyStore.MAX_FILE_BYTES + 1))
    expect(await tagOf(KeyStore.load(path))).toBe("TooLarge")
    expect(await tagOf(KeyStore.load(join(path, "..")))).toBe("Malformed")
  })

  test("survives damaged files", async () => {
    const path = fresh()
    await run(KeyStore.create(path, seed))
    const original = fs.readFileSync(path)
    const random = seeded(4)
    const inputs: Array<Uint8Array> = []
    forRounds(random, 500, () => void inputs.push(mutate(random, original)))
    for (const input of inputs) {
      fs.writeFileSync(path, input)
      const result = await run(Effect.result(KeyStore.load(path)))
      if (result._tag === "Success") expect(result.success).toEqual(seed)
      else expect(["Malformed", "TooLarge"]).toContain(result.failure.reason._tag)
    }
  }, 30_000)

  test("says which operation the system refused", async () => {
    const missing = await refusal(KeyStore.load(fresh()))
    expect(missing.reason).toMatchObject({ _tag: "Io", op: "open", code: "ENOENT" })
    const file = fresh()
    write(file, "")
    const inFile = await refusal(KeyStore.create(join(file, "identity.json"), seed))
    expect(inFile.reason).toMatchObject({ _tag: "Io", op: "create the folder" })
  })

  test("knows the home folder", () => {
    expect(KeyStore.expand("~/.parley/identity.json")).toBe(join(homedir(), ".parley/identity.json"))
    expect(KeyStore.expand("~")).toBe(join(homedir()))
    expect(KeyStore.expand("/a/~/b")).toBe("/a/~/b")
  })

  test("gives processes that start at once the same identity", async () => {
    for (let round = 0; round < 3; round++) {
      const path = fresh()
      const ids = await Promise.all([1, 2, 3, 4].map(() => outputOf(start("create", path))))
      expect(ids[0]).toMatch(/^z6Mk/)
      expect(new Set(ids).size).toBe(1)
      expect(fs.readdirSync(join(path, ".."))).toEqual(["identity.json"])
    }
    const path = fresh()
    const seeds = await Promise.all(Array.from({ length: 20 }, () => run(KeyStore.loadOrCreate(path))))
    expect(new Set(seeds.map((one) => Buffer.from(one).toString("hex"))).size).toBe(1)
  }, 60_000)

  test("never writes into the file that stands", async () => {
    const path = fresh()
    await run(KeyStore.create(path, seed))
    const before = fs.readFileSync(path, "utf8")
    const sameFile = path + ".link"
    fs.linkSync(path, sameFile)
    await run(KeyStore.replace(path, new Uint8Array(32).fill(1)))
    expect(fs.readFileSync(sameFile, "utf8")).toBe(before)
    expect(await run(KeyStore.load(path))).toEqual(new Uint8Array(32).fill(1))
    expect(mode(path)).toBe("600")
  })

  test("leaves the old file or the new one when the writer is killed", async () => {
    const path = fresh()
    await run(KeyStore.create(path, new Uint8Array(32).fill(1)))
    const random = seeded(5)
    for (let round = 0; round < 6; round++) {
      const child = start("replace", path)
      const lines = 1 + random.int(20)
      let seen = 0
      const ended = new Promise<void>((done) => child.on("close", () => done()))
      child.stdout!.on("data", (chunk) => {
        seen += String(chunk).split("\n").length - 1
        if (seen >= lines) child.kill("SIGKILL")
      })
      await ended
      expect(seen).toBeGreaterThanOrEqual(lines)
      const found = await run(KeyStore.load(path))
      expect([1, 2]).toContain(found[0]!)
      expect(found).toEqual(new Uint8Array(32).fill(found[0]!))
    }
  }, 60_000)

  test("keeps the old file beside a half-written new one, and sweeps that away when it is old", async () => {
    const path = fresh()
    await run(KeyStore.create(path, seed))
    const left = join(path, "..", ".identity.json.0123456789abcdef.tmp")
    write(left, '{"v":1,"no')
    expect(await run(KeyStore.load(path))).toEqual(seed)
    await run(KeyStore.replace(path, seed))
    expect(fs.existsSync(left)).toBe(true)
    const long = (Date.now() - 2 * KeyStore.STALE_TEMPORARY_MILLIS) / 1000
    fs.utimesSync(left, long, long)
    await run(KeyStore.replace(path, seed))
    expect(fs.readdirSync(join(path, ".."))).toEqual(["identity.json"])
  })
})

describe("Identity", () => {
  const build = (layer: Layer.Layer<Identity.Identity, KeyStore.KeyStoreError>) =>
    Effect.runPromise(Identity.Identity.use(Effect.succeed).pipe(Effect.provide(Layer.fresh(layer))))

  test("is the same from a file each time, and another when ephemeral", async () => {
    const path = fresh()
    const first = await build(Identity.layerFile(path))
    expect((await build(Identity.layerFile(path))).nodeId).toBe(first.nodeId)
    expect((await build(Identity.layerSeed(seed))).nodeId).toBe(Identity.fromSeed(seed).nodeId)
    const one = await build(Identity.layerEphemeral)
    expect((await build(Identity.layerEphemeral)).nodeId).not.toBe(one.nodeId)
    fs.chmodSync(path, 0o644)
    expect(await build(Identity.layerFile(path)).catch((error: KeyStore.KeyStoreError) => error.reason._tag)).toBe(
      "NotPrivate"
    )
  })

  test("does not print its secret", () => {
    const random = seeded(6)
    const secret = random.bytes(32)
    const identity = Identity.fromSeed(secret)
    const shown = [
      String(identity),
      JSON.stringify({ identity }),
      inspect(identity, { showHidden: true, depth: 9 }),
      inspect({ identity }),
      JSON.stringify(Object.getOwnPropertyNames(identity)),
      JSON.stringify({ ...identity })
    ].join("\n")
    for (const form of ["hex", "base64", "base64url"] as const) {
      expect(shown).not.toContain(Buffer.from(secret).toString(form).slice(0, 20))
    }
    expect(shown).not.toContain(Array.from(secret.subarray(0, 6)).join(","))
    expect(String(identity)).toContain(identity.nodeId)
    expect(inspect({ identity })).toContain(identity.nodeId)
    expect(Object.keys(identity).sort()).toEqual(["nodeId", "publicKey"])
  })

  test("does not depend on the seed's bytes afterwards", () => {
    const mine = Uint8Array.from(seed)
    const identity = Identity.fromSeed(mine)
    mine.fill(0)
    expect(identity.sign(new Uint8Array(3))).toEqual(Identity.fromSeed(seed).sign(new Uint8Array(3)))
    expect(() => Identity.fromSeed(new Uint8Array(16))).toThrow("has 16")
  })
})
