/** The published test vectors, read from the folder `shared/vectors` beside the repository. */
import { existsSync, readFileSync } from "node:fs"

const path = (name: string): string => new URL(`../../../../shared/vectors/${name}.json`, import.meta.url).pathname

/** Why the tests over these vectors cannot run here; `undefined` when they can. */
export const absent = (name: string): string | undefined =>
  existsSync(path(name)) ? undefined : `no vectors at shared/vectors/${name}.json`

/** The content of one vector file. */
export const read = <T>(name: string): T => JSON.parse(readFileSync(path(name), "utf8")) as T

/** Bytes of hex digits. */
export const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"))
