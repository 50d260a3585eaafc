/**
 * Small files that only their owner may read, written so that a crash leaves the old one or the new one.
 */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { basename, dirname, join } from "node:path"
import * as KeyStore from "@parley/core/KeyStore"
import { FileError } from "../FileError.ts"

/** What a file is for, and how large it may be. */
export interface Kind {
  readonly what: string
  readonly maxBytes: number
  /** Refuse a file that others than its owner can read or write. */
  readonly secret: boolean
}

const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : String(cause)

/** The error that a file operation's failure stands for. */
export const failed = (path: string, kind: Kind, op: string, cause: unknown): FileError => {
  if (cause instanceof FileError) return cause
  const code = codeOf(cause)
  const detail =
    code === "ENOENT"
      ? "there is no such file; check the path"
      : `could not ${op} it (${code}); check that the folder exists, is yours and has space`
  return new FileError({
    path,
    what: kind.what,
    code: code === "ENOENT" ? "NotFound" : code === "EEXIST" ? "Exists" : "Io",
    detail: code === "EEXIST" ? "there is such a file already; remove it, or choose another path" : detail
  })
}

/** `~` is the home folder, a relative path is of the working folder. */
export const expand = KeyStore.expand

/** The file's bytes. Throws a `FileError`. */
export const read = (path: string, kind: Kind): Buffer => {
  const file = expand(path)
  const fail = (code: FileError["code"], detail: string) => new FileError({ path: file, what: kind.what, code, detail })
  try {
    const fd = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0))
    try {
      const stat = fs.fstatSync(fd)
      if (!stat.isFile()) throw fail("Malformed", "it is not a regular file")
      // Windows has no such bits: there the folder's access list guards the file.
      if (kind.secret && process.platform !== "win32" && (stat.mode & 0o077) !== 0) {
        const mode = (stat.mode & 0o777).toString(8).padStart(3, "0")
        throw fail("NotPrivate", `its mode is ${mode}, so others can read or write it; chmod 600 ${file}`)
      }
      if (stat.size > kind.maxBytes) {
        throw fail("TooLarge", `it has ${stat.size} bytes, and at most ${kind.maxBytes} are read`)
      }
      return fs.readFileSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  } catch (cause) {
    throw failed(file, kind, "read", cause)
  }
}

/** Writes a new file, readable by its owner alone. Throws a `FileError` with `Exists` where there is one. */
export const create = (path: string, text: string, kind: Kind): void => {
  const file = expand(path)
  try {
    fs.mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    fs.writeFileSync(file, text, { flag: "wx", mode: 0o600, flush: true })
  } catch (cause) {
    throw failed(file, kind, "create", cause)
  }
}

/** Writes the file in one step, whether there is one or not. Throws a `FileError`. */
export const replace = (path: string, text: string, kind: Kind): void => {
  const file = expand(path)
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(8).toString("hex")}.tmp`)
  try {
    fs.mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    try {
      fs.writeFileSync(temporary, text, { flag: "wx", mode: 0o600, flush: true })
      fs.renameSync(temporary, file)
    } finally {
      fs.rmSync(temporary, { force: true })
    }
  } catch (cause) {
    throw failed(file, kind, "write", cause)
  }
}
