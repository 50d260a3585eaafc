/**
 * The key of a private network: 32 random bytes that every member has. Without it nobody gets through the handshake, and
 * so nobody learns a record or a capability.
 *
 * The file is one line of 64 hex digits, readable by its owner alone.
 */
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import { FileError } from "./FileError.ts"
import * as PrivateFile from "./internal/PrivateFile.ts"

/** Length of a network key, in bytes: that of a Noise pre-shared key. */
export const KEY_BYTES = 32

const kind: PrivateFile.Kind = { what: "network key", maxBytes: 1_024, secret: true }

const attempt = <A>(path: string, op: string, run: () => A): Effect.Effect<A, FileError> =>
  Effect.try({ try: run, catch: (cause) => PrivateFile.failed(path, kind, op, cause) })

/** Reads a network key. Refuses a file that others can read, and one that holds anything else. */
export const load = (path: string): Effect.Effect<Uint8Array, FileError> =>
  attempt(path, "read", () => {
    const text = PrivateFile.read(path, kind).toString("utf8").trim()
    if (!/^[0-9a-f]{64}$/i.test(text)) {
      throw new FileError({
        path: PrivateFile.expand(path),
        what: kind.what,
        code: "Malformed",
        detail: `it is not one line of ${KEY_BYTES * 2} hex digits; make one with: parley init --network-key FILE`
      })
    }
    return new Uint8Array(Buffer.from(text, "hex"))
  })

/** Makes a network key in a new file. Never replaces one: its members would be cut off. */
export const create = (path: string): Effect.Effect<Uint8Array, FileError> =>
  attempt(path, "create", () => {
    const key = new Uint8Array(randomBytes(KEY_BYTES))
    PrivateFile.create(path, `${Buffer.from(key).toString("hex")}\n`, kind)
    return key
  })
