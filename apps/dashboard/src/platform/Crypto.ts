/**
 * What stands for `node:crypto` in the browser, so that `@parley/core` and `@parley/consensus` check certificates here by the very
 * code that nodes check them by.
 *
 * Hashes are `@noble/hashes`. There are no key objects: without them core takes its portable Ed25519 (`@noble/ed25519`), which gives
 * the same answers. WebCrypto would not do: it exists on https and loopback only, and a registry on a local network is neither.
 */
import { sha256, sha512 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import type { Buffer } from "./Buffer.ts"
import { fromBytes } from "./Buffer.ts"

const algorithms = { sha256, sha512 } as const
const text = new TextEncoder()

class Hash {
  readonly #hash: ReturnType<typeof sha256.create> | ReturnType<typeof sha512.create>
  constructor(name: string) {
    const algorithm = Object.hasOwn(algorithms, name) ? algorithms[name as keyof typeof algorithms] : undefined
    if (algorithm === undefined) throw new Error(`There is no ${name} in the browser's part of Parley`)
    this.#hash = algorithm.create()
  }
  update(data: string | Uint8Array): this {
    this.#hash.update(typeof data === "string" ? text.encode(data) : data)
    return this
  }
  digest(): Buffer
  digest(encoding: "hex"): string
  digest(encoding?: "hex"): string | Buffer {
    const bytes = this.#hash.digest()
    return encoding === "hex" ? bytesToHex(bytes) : fromBytes(bytes)
  }
}

/** SHA-256 or SHA-512, as `node:crypto` makes them. */
export const createHash = (name: string): Hash => new Hash(name)

/** Random bytes of the browser's own generator. */
export const randomBytes = (size: number): Uint8Array => crypto.getRandomValues(new Uint8Array(size))

/** Fills an array with random bytes. */
export const randomFillSync = <A extends Uint8Array<ArrayBuffer>>(bytes: A): A => crypto.getRandomValues(bytes)

const absent = (name: string) => (): never => {
  throw new Error(`There is no ${name} in the browser's part of Parley`)
}
export const createPrivateKey = absent("createPrivateKey")
export const createPublicKey = absent("createPublicKey")
export const sign = absent("sign")
export const verify = absent("verify")
export const createCipheriv = absent("createCipheriv")
export const createDecipheriv = absent("createDecipheriv")
export const scrypt = absent("scrypt")
