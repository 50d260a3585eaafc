/**
 * Pages: the dashboard's prebuilt files, read once and served from memory.
 *
 * A path of a request is looked up among the files that were read, so that nothing else can be reached. What has a hash in its
 * name is kept by browsers for ever; `/`, `/ui` and everything below it is the one page there is.
 */
import { readdir, readFile } from "node:fs/promises"
import { basename, join, relative, sep } from "node:path"
import { gzipSync } from "node:zlib"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { PAGE_POLICY } from "./HttpBounds.ts"
import * as Answers from "./internal/Answers.ts"

/** Most files, and most bytes, that are read: many times what the dashboard has. A folder with more is not it. */
export const MAX_FILES = 1_000
export const MAX_BYTES = 64 * 1_048_576
/** Files from which compression pays, in bytes. */
const MIN_COMPRESSED = 1_024

const types: { readonly [ending: string]: string } = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  json: "application/json",
  svg: "image/svg+xml",
  png: "image/png",
  ico: "image/x-icon",
  woff2: "font/woff2",
  txt: "text/plain; charset=utf-8",
  map: "application/json"
}

interface File {
  readonly bytes: Uint8Array
  readonly gzipped: Uint8Array | undefined
  readonly tag: string
  readonly type: string
  readonly isHashed: boolean
}

/** Regular files. Links are passed over: Bun's recursive `readdir` would follow those to folders outside. */
const filesBelow = async function* (folder: string): AsyncGenerator<string> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesBelow(path)
    else if (entry.isFile()) yield path
  }
}

const read = async (folder: string): Promise<ReadonlyMap<string, File>> => {
  const files = new Map<string, File>()
  let total = 0
  for await (const path of filesBelow(folder)) {
    const bytes = await readFile(path)
    total += bytes.length
    if (files.size >= MAX_FILES || total > MAX_BYTES) throw new RangeError(`${folder} holds more than a dashboard does`)
    const type = types[path.slice(path.lastIndexOf(".") + 1)] ?? "application/octet-stream"
    const isText = /^(text|application\/json|image\/svg)/.test(type)
    files.set(`/${relative(folder, path).split(sep).join("/")}`, {
      bytes,
      gzipped: isText && bytes.length >= MIN_COMPRESSED ? gzipSync(bytes) : undefined,
      tag: Answers.tagOf(bytes),
      type,
      isHashed: /[-.][\w-]{8,}\.\w+$/.test(basename(path))
    })
  }
  return files
}

const isPage = (path: string): boolean => path === "/" || path === "/ui" || path.startsWith("/ui/")

/** The dashboard's files. */
export interface Pages {
  /** The answer to a `GET` for a path, if there is a file for it. */
  readonly answer: (request: HttpServerRequest) => Effect.Effect<HttpServerResponse.HttpServerResponse | undefined>
}

/** Pages of a folder, read when the first is asked for; none without a folder. */
export const make = (folder: string | undefined): Pages => {
  let loading: Promise<ReadonlyMap<string, File>> | undefined
  const load = (): Promise<ReadonlyMap<string, File>> =>
    (loading ??=
      folder === undefined
        ? Promise.resolve(new Map())
        : read(folder).catch(() => {
            // A folder that comes later is found then.
            loading = undefined
            return new Map<string, File>()
          }))
  return {
    answer: (request) => {
      const path = request.url.split(/[?#]/, 1)[0]!
      return Effect.map(Effect.promise(load), (files) => {
        const file = files.get(path) ?? (isPage(path) ? files.get("/index.html") : undefined)
        if (file === undefined) return undefined
        const isGzipped = file.gzipped !== undefined && /\bgzip\b/.test(request.headers["accept-encoding"] ?? "")
        const headers = {
          etag: file.tag,
          vary: "accept-encoding",
          "cache-control": file.isHashed ? "public, max-age=31536000, immutable" : "no-cache",
          "content-security-policy": PAGE_POLICY,
          ...(isGzipped ? { "content-encoding": "gzip" } : {})
        }
        return Answers.isMatch(request.headers["if-none-match"], file.tag)
          ? HttpServerResponse.empty({ status: 304, headers })
          : HttpServerResponse.uint8Array(isGzipped ? file.gzipped! : file.bytes, { contentType: file.type, headers })
      })
    }
  }
}
