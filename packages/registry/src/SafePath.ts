/**
 * SafePath: files below one directory, named by a stranger's URL.
 *
 * A path counts only where every segment of it is a plain name; what is found is opened by its real path, which must still lie
 * below the directory, so that a symbolic link leads nowhere else.
 */
import { realpath, stat } from "node:fs/promises"
import { join, resolve, sep } from "node:path"

/** Longest path, in characters. */
export const MAX_PATH_LENGTH = 512
/** Deepest path, in segments: assets lie one or two below. */
export const MAX_SEGMENTS = 16

const plain = /^[A-Za-z0-9_~@-][A-Za-z0-9._~@ -]*$/
const devices = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i

/**
 * The segments of an URL's path (`/assets/app.js`), decoded once; `undefined` where one of them is not a plain name: empty,
 * hidden, `..`, with a separator, a drive, a NUL, another escape, or a device's name.
 */
export const segmentsOf = (path: string): ReadonlyArray<string> | undefined => {
  if (path.length > MAX_PATH_LENGTH || !path.startsWith("/")) return undefined
  const raw = path.slice(1).split("/")
  if (raw.length > MAX_SEGMENTS) return undefined
  const segments: Array<string> = []
  for (const each of raw) {
    let segment: string
    try {
      segment = decodeURIComponent(each)
    } catch {
      return undefined
    }
    if (!plain.test(segment) || segment.endsWith(".") || segment.endsWith(" ") || devices.test(segment))
      return undefined
    segments.push(segment)
  }
  return segments
}

/** The real path of the regular file that an URL's path names below `root`; `undefined` where there is none that may be read. */
export const find = async (root: string, path: string): Promise<string | undefined> => {
  const segments = segmentsOf(path)
  if (segments === undefined) return undefined
  try {
    const base = await realpath(resolve(root))
    const real = await realpath(join(base, ...segments))
    if (!real.startsWith(base.endsWith(sep) ? base : base + sep)) return undefined
    return (await stat(real)).isFile() ? real : undefined
  } catch {
    return undefined
  }
}
