/**
 * One running process per key or data file: a second node under a key would take the first one's place with every peer and tracker, and a
 * second registry on a file would not see what the first one does.
 *
 * The lock is a file beside it that holds the process id; one whose process has ended counts as none.
 */
import * as fs from "node:fs"
import { dirname } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type UsageError, usage } from "./Failure.ts"

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    // EPERM: it is there, and another user's.
    return typeof cause === "object" && cause !== null && "code" in cause && cause.code === "EPERM"
  }
}

const holder = (path: string): number | undefined => {
  try {
    const pid = Number(fs.readFileSync(path, "utf8").trim())
    return Number.isInteger(pid) && pid > 0 && pid !== process.pid && isAlive(pid) ? pid : undefined
  } catch {
    return undefined
  }
}

const take = (path: string): boolean => {
  try {
    fs.writeFileSync(path, `${process.pid}\n`, { flag: "wx", mode: 0o600 })
    return true
  } catch (cause) {
    if (typeof cause === "object" && cause !== null && "code" in cause && cause.code === "EEXIST") return false
    throw cause
  }
}

const keyInUse = (file: string, pid: number): UsageError =>
  usage(
    "IdentityInUse",
    `the key ${file} is in use by process ${pid}: stop it, or give this one a key of its own with --identity FILE`
  )

/** Holds the lock of a key file, or of another one, until the scope closes. */
export const hold = (file: string, inUse = keyInUse): Effect.Effect<void, UsageError, Scope.Scope> => {
  const path = `${file}.lock`
  const acquire = Effect.try({
    try: () => {
      fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      for (let attempt = 0; attempt < 3; attempt++) {
        if (take(path)) return
        const pid = holder(path)
        if (pid !== undefined) throw inUse(file, pid)
        fs.rmSync(path, { force: true })
      }
      throw new Error("it is taken again and again")
    },
    catch: (cause) =>
      typeof cause === "object" && cause !== null && "_tag" in cause && cause._tag === "UsageError"
        ? (cause as UsageError)
        : usage("BadFile", `cannot write the lock ${path}: ${cause instanceof Error ? cause.message : String(cause)}`)
  })
  return Effect.asVoid(Effect.acquireRelease(acquire, () => Effect.sync(() => fs.rmSync(path, { force: true }))))
}
