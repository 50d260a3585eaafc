/**
 * Where a node's secret key lives: one small JSON file that only its owner can read, written so that a crash leaves either
 * the old file or the new one, and optionally sealed by a passphrase (scrypt and AES-256-GCM).
 *
 * `{ "v": 1, "nodeId": "z6Mk…", "key": { "kind": "plain", "seed": base64url } }`, or as `key`
 * `{ "kind": "scrypt-aes-256-gcm", "salt", "n", "r", "p", "iv", "ciphertext", "tag" }` with the NodeId as additional data.
 * No error of this module repeats anything that stood in the file.
 */
import { createCipheriv, createDecipheriv, randomBytes, scrypt } from "node:crypto"
import * as fs from "node:fs"
import { homedir } from "node:os"
import { basename, dirname, join, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as NodeId from "./NodeId.ts"
import * as Signature from "./Signature.ts"

/** Largest key file that is read, in bytes: ten times a sealed one. */
export const MAX_FILE_BYTES = 4_096
/** scrypt's cost for new files: OWASP's choice for 32 MiB of memory, about 0.3 s. */
export const SCRYPT = { n: 32_768, r: 8, p: 3 } as const
/** Most memory (128·n·r bytes) that a file may ask of scrypt: above it, opening a strange file could exhaust a small machine. */
export const MAX_SCRYPT_MEMORY_BYTES = 256 * 1_048_576
/** Most work (n·r·p) that a file may ask of scrypt: about twenty times the default, some seconds. */
export const MAX_SCRYPT_WORK = 16_777_216
/** Age after which a temporary file beside the key file is a crashed writer's and is swept away, in milliseconds. */
export const STALE_TEMPORARY_MILLIS = 60_000

/** Others than the owner may read or write the file. */
export class NotPrivate extends Schema.TaggedClass<NotPrivate>()("NotPrivate", {
  path: Schema.String,
  mode: Schema.String
}) {}
/** The file is not a key file of a known version, or its parts contradict each other. */
export class Malformed extends Schema.TaggedClass<Malformed>()("Malformed", {
  path: Schema.String,
  detail: Schema.String
}) {}
/** The passphrase does not open the file, or the file was altered: AES-GCM cannot tell which. */
export class WrongPassphrase extends Schema.TaggedClass<WrongPassphrase>()("WrongPassphrase", {
  path: Schema.String
}) {}
/** The file is sealed and no passphrase, or an empty one, was given. */
export class PassphraseRequired extends Schema.TaggedClass<PassphraseRequired>()("PassphraseRequired", {
  path: Schema.String
}) {}
/** The operating system refused. */
export class Io extends Schema.TaggedClass<Io>()("Io", {
  op: Schema.String,
  path: Schema.String,
  code: Schema.String
}) {}
/** The file is larger than any key file. */
export class TooLarge extends Schema.TaggedClass<TooLarge>()("TooLarge", {
  path: Schema.String,
  maxBytes: Schema.Natural
}) {}

/** Why a key file could not be used. */
export class KeyStoreError extends Schema.TaggedError<KeyStoreError>()("KeyStoreError", {
  reason: Schema.Union([NotPrivate, Malformed, WrongPassphrase, PassphraseRequired, Io, TooLarge])
}) {
  override get message() {
    const { reason } = this
    switch (reason._tag) {
      case "NotPrivate":
        return `The key file ${reason.path} has mode ${reason.mode}, so others can read or write it: chmod 600 ${reason.path}`
      case "Malformed":
        return `The key file ${reason.path} cannot be used: ${reason.detail}; restore it from a backup, or move it away to get a new identity`
      case "WrongPassphrase":
        return `The passphrase does not open the key file ${reason.path}, or the file was altered: try the passphrase again`
      case "PassphraseRequired":
        return `The key file ${reason.path} needs a passphrase, and none (or an empty one) was given: pass the one it was made with`
      case "Io":
        return `Could not ${reason.op} ${reason.path} (${reason.code}): check that the folder exists, is yours and has space`
      case "TooLarge":
        return `The key file ${reason.path} has more than ${reason.maxBytes} bytes, so it is not a key file: check the path`
    }
  }
}

/** How a file is sealed or opened. Without a passphrase a new file holds the key in the clear, for its owner only. */
export interface Options {
  readonly passphrase?: Redacted.Redacted<string>
}

const Base64Url = (bytes: number) =>
  Schema.String.check(
    Schema.makeFilter((text: string) => {
      const decoded = Buffer.from(text, "base64url")
      return (decoded.length === bytes && decoded.toString("base64url") === text) || `${bytes} bytes in base64url`
    })
  )
const Positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))
const Sealed = Schema.Struct({
  kind: Schema.Literal("scrypt-aes-256-gcm"),
  salt: Base64Url(16),
  n: Positive,
  r: Positive,
  p: Positive,
  iv: Base64Url(12),
  ciphertext: Base64Url(32),
  tag: Base64Url(16)
})
type Sealed = typeof Sealed.Type
const KeyFile = Schema.Struct({
  v: Schema.Literal(1),
  nodeId: NodeId.NodeId,
  key: Schema.Union([Schema.Struct({ kind: Schema.Literal("plain"), seed: Base64Url(32) }), Sealed])
})
type KeyFile = typeof KeyFile.Type
const isKeyFile = Schema.is(KeyFile)

const fail = (reason: KeyStoreError["reason"]): KeyStoreError => new KeyStoreError({ reason })

const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : String(cause)

/** Runs one file operation; what the system says becomes an `Io` reason. */
const io = <A>(op: string, path: string, run: () => A): A => {
  try {
    return run()
  } catch (cause) {
    throw cause instanceof KeyStoreError ? cause : fail(new Io({ op, path, code: codeOf(cause) }))
  }
}

const isCode = (cause: unknown, ...codes: ReadonlyArray<string>): boolean =>
  cause instanceof KeyStoreError && cause.reason._tag === "Io" && codes.includes(cause.reason.code)

/** `~` and `~/…` are the home folder; everything else is resolved against the working folder. */
export const expand = (path: string): string =>
  path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : resolve(path)

const derive = (passphrase: string, { salt, n, r, p }: Pick<Sealed, "salt" | "n" | "r" | "p">): Promise<Buffer> =>
  new Promise((done, refuse) =>
    scrypt(
      passphrase.normalize("NFKC"),
      Buffer.from(salt, "base64url"),
      32,
      { N: n, r, p, maxmem: 2 * MAX_SCRYPT_MEMORY_BYTES },
      (error, key) => (error ? refuse(error) : done(key))
    )
  )

const additionalData = (nodeId: NodeId.NodeId): Buffer => Buffer.from(`parley/key/1\n${nodeId}`, "utf8")

/** The passphrase in the clear, or `undefined`; an empty one is a forgotten variable rather than a wish. */
const passphraseOf = (path: string, { passphrase }: Options): string | undefined => {
  if (passphrase === undefined) return undefined
  const text = Redacted.value(passphrase)
  if (text === "") throw fail(new PassphraseRequired({ path }))
  return text
}

const seal = async (path: string, seed: Uint8Array, options: Options): Promise<string> => {
  const nodeId = NodeId.fromPublicKey(Signature.best.publicKey(seed))
  const passphrase = passphraseOf(path, options)
  let key: KeyFile["key"]
  if (passphrase === undefined) key = { kind: "plain", seed: Buffer.from(seed).toString("base64url") }
  else {
    const parameters = { salt: randomBytes(16).toString("base64url"), ...SCRYPT }
    const iv = randomBytes(12)
    const cipher = createCipheriv("aes-256-gcm", await derive(passphrase, parameters), iv)
    cipher.setAAD(additionalData(nodeId))
    const ciphertext = Buffer.concat([cipher.update(seed), cipher.final()])
    key = {
      kind: "scrypt-aes-256-gcm",
      ...parameters,
      iv: iv.toString("base64url"),
      ciphertext: ciphertext.toString("base64url"),
      tag: cipher.getAuthTag().toString("base64url")
    }
  }
  const file: KeyFile = { v: 1, nodeId, key }
  return JSON.stringify(file, null, 2) + "\n"
}

const isBounded = ({ n, r, p }: Sealed): boolean =>
  n > 1 && n <= 2 ** 30 && (n & (n - 1)) === 0 && 128 * n * r <= MAX_SCRYPT_MEMORY_BYTES && n * r * p <= MAX_SCRYPT_WORK

const open = async (path: string, text: string, options: Options): Promise<Uint8Array> => {
  const malformed = (detail: string) => fail(new Malformed({ path, detail }))
  let file: unknown
  try {
    file = JSON.parse(text)
  } catch {
    // The parser's own words would quote the file.
    throw malformed("it is not JSON")
  }
  if (!isKeyFile(file)) throw malformed("it is not a key file of version 1")
  const { key, nodeId } = file
  let seed: Uint8Array
  if (key.kind === "plain") seed = new Uint8Array(Buffer.from(key.seed, "base64url"))
  else {
    if (!isBounded(key))
      throw malformed("it asks scrypt for more memory or work than is allowed, or for an n that is no power of two")
    const passphrase = passphraseOf(path, options)
    if (passphrase === undefined) throw fail(new PassphraseRequired({ path }))
    const decipher = createDecipheriv("aes-256-gcm", await derive(passphrase, key), Buffer.from(key.iv, "base64url"))
    decipher.setAAD(additionalData(nodeId))
    decipher.setAuthTag(Buffer.from(key.tag, "base64url"))
    try {
      seed = new Uint8Array(
        Buffer.concat([decipher.update(Buffer.from(key.ciphertext, "base64url")), decipher.final()])
      )
    } catch {
      throw fail(new WrongPassphrase({ path }))
    }
  }
  if (NodeId.fromPublicKey(Signature.best.publicKey(seed)) !== nodeId) {
    throw malformed("its NodeId is not that of its key")
  }
  return seed
}

/** The text of a private regular file. Mode and size are those of the opened file, so that nothing can be swapped in between. */
const readPrivate = (path: string): string => {
  const fd = io("open", path, () => fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0)))
  try {
    const stat = io("inspect", path, () => fs.fstatSync(fd))
    if (!stat.isFile()) throw fail(new Malformed({ path, detail: "it is not a regular file" }))
    // Windows has no such bits: there the folder's access list guards the file.
    if (process.platform !== "win32" && (stat.mode & 0o077) !== 0) {
      throw fail(new NotPrivate({ path, mode: (stat.mode & 0o777).toString(8).padStart(3, "0") }))
    }
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1)
    let length = 0
    while (length < buffer.length) {
      const read = io("read", path, () => fs.readSync(fd, buffer, length, buffer.length - length, null))
      if (read === 0) break
      length += read
    }
    if (length > MAX_FILE_BYTES) throw fail(new TooLarge({ path, maxBytes: MAX_FILE_BYTES }))
    return buffer.toString("utf8", 0, length)
  } finally {
    fs.closeSync(fd)
  }
}

const syncFolder = (folder: string): void => {
  try {
    const fd = fs.openSync(folder, "r")
    try {
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  } catch {
    // Some systems cannot open or sync a folder; the file itself is on disk by now.
  }
}

/** Removes what crashed writers left beside the file. */
const sweep = (folder: string, prefix: string): void => {
  try {
    for (const name of fs.readdirSync(folder)) {
      if (!name.startsWith(prefix) || !name.endsWith(".tmp")) continue
      const path = join(folder, name)
      if (Date.now() - fs.statSync(path).mtimeMs > STALE_TEMPORARY_MILLIS) fs.unlinkSync(path)
    }
  } catch {
    // Another process swept first, or may not: nothing depends on it.
  }
}

/** Writes the whole text under a temporary name in the same folder, syncs it, and lets `publish` give it its name. */
const writeAside = <A>(path: string, text: string, publish: (temporary: string) => A): A => {
  const folder = dirname(path)
  const prefix = `.${basename(path)}.`
  io("create the folder", folder, () => fs.mkdirSync(folder, { recursive: true, mode: 0o700 }))
  sweep(folder, prefix)
  const temporary = join(folder, `${prefix}${randomBytes(8).toString("hex")}.tmp`)
  try {
    io("write", temporary, () => {
      const fd = fs.openSync(temporary, "wx", 0o600)
      try {
        fs.writeFileSync(fd, text)
        fs.fsyncSync(fd)
      } finally {
        fs.closeSync(fd)
      }
    })
    return publish(temporary)
  } finally {
    fs.rmSync(temporary, { force: true })
    syncFolder(folder)
  }
}

/** Gives the file its name if nothing has that name yet; `false` when something has. */
const publishNew = (path: string, text: string): boolean =>
  writeAside(path, text, (temporary) => {
    try {
      io("create", path, () => fs.linkSync(temporary, path))
      return true
    } catch (cause) {
      if (isCode(cause, "EEXIST")) return false
      if (!isCode(cause, "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS")) throw cause
    }
    // A file system without hard links: exclusive, but a reader may come in the middle and find it malformed.
    try {
      io("create", path, () => fs.writeFileSync(path, text, { flag: "wx", mode: 0o600, flush: true }))
      return true
    } catch (cause) {
      if (isCode(cause, "EEXIST")) return false
      throw cause
    }
  })

const attempt = <A>(path: string, run: () => Promise<A>): Effect.Effect<A, KeyStoreError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => (cause instanceof KeyStoreError ? cause : fail(new Io({ op: "use", path, code: codeOf(cause) })))
  })

/** Reads the 32-byte seed. A passphrase given for a file that is not sealed is not used. */
export const load = (path: string, options: Options = {}): Effect.Effect<Uint8Array, KeyStoreError> => {
  const file = expand(path)
  return attempt(file, async () => open(file, readPrivate(file), options))
}

/** Writes a new file, and its folder (0700) where there is none. `false`, and nothing changed, when the file exists. */
export const create = (
  path: string,
  seed: Uint8Array,
  options: Options = {}
): Effect.Effect<boolean, KeyStoreError> => {
  const file = expand(path)
  return attempt(file, async () => publishNew(file, await seal(file, seed, options)))
}

/** Writes the file whether it exists or not, in one step: to set, change or drop a passphrase. */
export const replace = (path: string, seed: Uint8Array, options: Options = {}): Effect.Effect<void, KeyStoreError> => {
  const file = expand(path)
  return attempt(file, async () => {
    const text = await seal(file, seed, options)
    writeAside(file, text, (temporary) => io("replace", file, () => fs.renameSync(temporary, file)))
  })
}

/** Reads the seed, or makes a new one where there is no file. Processes that do this at once end up with the same seed. */
export const loadOrCreate = (path: string, options: Options = {}): Effect.Effect<Uint8Array, KeyStoreError> => {
  const file = expand(path)
  return attempt(file, async () => {
    try {
      return await open(file, readPrivate(file), options)
    } catch (cause) {
      if (!isCode(cause, "ENOENT")) throw cause
    }
    const seed = new Uint8Array(randomBytes(Signature.SEED_BYTES))
    if (publishNew(file, await seal(file, seed, options))) return seed
    return open(file, readPrivate(file), options)
  })
}
