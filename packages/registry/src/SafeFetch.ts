/**
 * SafeFetch: HTTP requests to where somebody else says, or to a server that is not trusted.
 *
 * The name is resolved once, all its addresses are judged, and the connection goes to the one that was judged: a second answer of
 * its DNS changes nothing (DNS rebinding). Each redirect is judged anew. The answer's size and the whole time are bounded, no
 * proxy of the environment is used, and nothing is decompressed.
 */
import { lookup as lookupDns } from "node:dns"
import type { IncomingMessage, RequestOptions } from "node:http"
import type { LookupFunction } from "node:net"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SafeUrl from "./SafeUrl.ts"

/** Largest answer that is read where the caller names no other bound, in bytes. */
export const MAX_BYTES = 1_048_576
/** Longest time for all of it, redirects with it, where the caller names no other bound, in milliseconds. */
export const TIMEOUT_MS = 10_000
/** Most redirects that are followed. */
export const MAX_REDIRECTS = 3
/** Longest headers of an answer, in bytes. */
export const MAX_HEADER_BYTES = 16_384

/** Why nothing was fetched. */
export class FetchError extends Schema.TaggedError<FetchError>()("FetchError", {
  /** `Refused`: SafeUrl has something against it. `Redirected`: once too often, or where redirects are not followed. */
  code: Schema.Literals(["Refused", "Unresolved", "Unreachable", "TimedOut", "TooLarge", "Redirected"]),
  url: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.url}: ${this.detail}`
  }
}

/** What is asked. */
export interface Request {
  readonly url: string
  /** Default `GET`. Only `GET` follows redirects. */
  readonly method?: "GET" | "POST"
  /** Lower case. Not sent on to another origin. */
  readonly headers?: { readonly [name: string]: string }
  readonly body?: string
  readonly maxBytes?: number
  readonly timeoutMs?: number
}

/** What came back, whatever its status. */
export interface Response {
  readonly status: number
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  readonly body: Uint8Array
  /** Where it came from in the end. */
  readonly url: string
}

/** Finds the addresses of a name. */
export type Resolve = (host: string) => Effect.Effect<ReadonlyArray<string>, string>

/** What may be reached, and how names are resolved. */
export interface Options extends SafeUrl.Policy {
  /** Default: the system's resolver. */
  readonly resolve?: Resolve
}

const systemResolve: Resolve = (host) =>
  Effect.callback<ReadonlyArray<string>, string>((resume) => {
    lookupDns(host, { all: true }, (error, addresses) => {
      if (error !== null) resume(Effect.fail(error.code ?? error.message))
      else resume(Effect.succeed(addresses.map(({ address }) => address)))
    })
  })

/** Gives the address that was judged, whatever is asked. */
const pinned = (address: string): LookupFunction => {
  const family = address.includes(":") ? 6 : 4
  return (_host, options, callback) => {
    if (options.all === true) callback(null, [{ address, family }])
    else callback(null, address, family)
  }
}

const failure = (code: FetchError["code"], url: URL | string, detail: string) =>
  new FetchError({ code, url: SafeUrl.shown(url), detail })

const refused = (error: SafeUrl.UrlError) => new FetchError({ code: "Refused", url: error.url, detail: error.detail })

const send = (url: URL, address: string, request: Request, maxBytes: number) =>
  Effect.callback<Response, FetchError>((resume, signal) => {
    let over = false
    const end = (outcome: Effect.Effect<Response, FetchError>): void => {
      if (over) return
      over = true
      resume(outcome)
    }
    const unreachable = (error: unknown): void => {
      const code =
        typeof error === "object" && error !== null && "code" in error ? String(error.code) : "connection lost"
      end(Effect.fail(failure("Unreachable", url, `no answer (${code})`)))
    }
    const read = (response: IncomingMessage): void => {
      const parts: Array<Uint8Array> = []
      let bytes = 0
      const tooLarge = (): void => {
        end(Effect.fail(failure("TooLarge", url, `the answer is larger than ${maxBytes} bytes`)))
        response.destroy()
      }
      if (Number(response.headers["content-length"] ?? 0) > maxBytes) return tooLarge()
      response.on("data", (part: Uint8Array) => {
        bytes += part.length
        if (bytes > maxBytes) tooLarge()
        else parts.push(part)
      })
      response.on("error", unreachable)
      response.on("aborted", () => unreachable(undefined))
      response.on("end", () =>
        end(
          Effect.succeed({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(parts),
            url: url.href
          })
        )
      )
    }
    const options: RequestOptions = {
      method: request.method ?? "GET",
      host: SafeUrl.hostOf(url),
      port: SafeUrl.portOf(url),
      path: url.pathname + url.search,
      lookup: pinned(address),
      agent: false,
      maxHeaderSize: MAX_HEADER_BYTES,
      headers: {
        "accept-encoding": "identity",
        ...request.headers,
        ...(request.body === undefined ? {} : { "content-length": String(Buffer.byteLength(request.body)) })
      },
      signal
    }
    void (url.protocol === "https:" ? import("node:https") : import("node:http")).then((http) => {
      if (signal.aborted) return
      const outgoing = http.request(options, read)
      outgoing.on("error", unreachable)
      outgoing.end(request.body)
    }, unreachable)
  })

/** The addresses that an URL's host has, judged; the one to connect to. */
const addressOf = Effect.fnUntraced(function* (url: URL, options: Options) {
  const host = SafeUrl.hostOf(url)
  const isAddress = host.includes(":") || /^\d+\.\d+\.\d+\.\d+$/.test(host)
  const addresses = isAddress
    ? [host]
    : yield* (options.resolve ?? systemResolve)(host).pipe(
        Effect.mapError((code) => failure("Unresolved", url, `its name is not known (${code})`))
      )
  return yield* Effect.fromResult(SafeUrl.judge(url, addresses, options)).pipe(Effect.mapError(refused))
})

const follow = Effect.fnUntraced(function* (request: Request, options: Options) {
  const maxBytes = request.maxBytes ?? MAX_BYTES
  let text = request.url
  let headers = request.headers ?? {}
  for (let hop = 0; ; hop++) {
    const url = yield* Effect.fromResult(SafeUrl.parse(text, options)).pipe(Effect.mapError(refused))
    const address = yield* addressOf(url, options)
    const response = yield* send(url, address, { ...request, headers }, maxBytes)
    const { location } = response.headers
    if (response.status < 300 || response.status > 399 || typeof location !== "string") return response
    if ((request.method ?? "GET") !== "GET") {
      return yield* failure("Redirected", url, `a ${request.method} is not sent on (it answered ${response.status})`)
    }
    if (hop >= MAX_REDIRECTS) return yield* failure("Redirected", url, `more than ${MAX_REDIRECTS} redirects`)
    if (!URL.canParse(location, url)) return yield* failure("Redirected", url, "it leads to what is no URL")
    const next = new URL(location, url)
    if (url.protocol === "https:" && next.protocol !== "https:") {
      return yield* failure("Redirected", url, `it leads away from TLS, to ${SafeUrl.shown(next)}`)
    }
    if (next.origin !== url.origin) headers = {}
    text = next.href
  }
})

/** Fetches; fails with a `FetchError` that names the URL without its query. Interrupting it closes the connection. */
export const fetch = (request: Request, options: Options = {}): Effect.Effect<Response, FetchError> =>
  follow(request, options).pipe(
    Effect.timeoutOrElse({
      duration: request.timeoutMs ?? TIMEOUT_MS,
      orElse: () => {
        const detail = `no whole answer within ${request.timeoutMs ?? TIMEOUT_MS} ms`
        return Effect.fail(failure("TimedOut", URL.canParse(request.url) ? new URL(request.url) : request.url, detail))
      }
    })
  )
