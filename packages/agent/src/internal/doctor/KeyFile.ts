/** The key file: whether it is there, whose it is, and who else can read it. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Identity from "@parley/core/Identity"
import * as KeyStore from "@parley/core/KeyStore"
import { type Finding, of } from "./Finding.ts"

export const check = (
  path: string | undefined,
  passphrase: string | Redacted.Redacted<string> | undefined
): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    if (path === undefined) return []
    const file = KeyStore.expand(path)
    const find = of("identity", `the key file ${file}`)
    const stat = yield* Effect.sync(() => fs.statSync(file, { throwIfNoEntry: false }))
    if (stat === undefined) {
      return [find("warn", "NoKeyFile", "there is no key file: each run is another node", "make one: parley init")]
    }
    if (process.platform !== "win32" && (stat.mode & 0o077) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(3, "0")
      const found = `others on this machine can read or change the key (mode ${mode})`
      return [find("fail", "KeyFileReadable", found, `chmod 600 ${file}; if others may have read it, make a new key`)]
    }
    const secret = typeof passphrase === "string" ? Redacted.make(passphrase) : passphrase
    const exit = yield* Effect.exit(KeyStore.load(file, secret === undefined ? {} : { passphrase: secret }))
    if (exit._tag === "Failure") {
      const detail = exit.cause.reasons.map((each) => (each._tag === "Fail" ? each.error.message : "")).join("; ")
      const advice =
        "correct the passphrase (PARLEY_PASSPHRASE, --passphrase-file), restore the file, or make a new key"
      return [find("fail", "KeyFileUnusable", detail, advice)]
    }
    const { nodeId } = Identity.fromSeed(exit.value)
    exit.value.fill(0)
    return [find("ok", "KeyFile", nodeId)]
  })
