/** Answers that are written as text already, and pages of lists. */
import { createHash } from "node:crypto"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"

/** JSON that is text already. */
export const json = (
  text: string,
  options: { readonly status?: number; readonly headers?: { readonly [name: string]: string } } = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(text, { ...options, contentType: "application/json" })

/** An entity tag over text: weak, since whatever compresses the answer leaves it. */
export const tagOf = (text: string | Uint8Array): string => `W/"${createHash("sha1").update(text).digest("base64url")}"`

/** Whether `If-None-Match` names a tag, by RFC 9110's weak comparison. */
export const isMatch = (header: string | undefined, tag: string): boolean =>
  header !== undefined &&
  (header.trim() === "*" ||
    header.split(",").some((each) => each.trim().replace(/^W\//, "") === tag.replace(/^W\//, "")))

/** JSON with an `ETag`; 304 where who asks has it already. */
export const tagged = (
  request: HttpServerRequest,
  text: string,
  headers: { readonly [name: string]: string } = {}
): HttpServerResponse.HttpServerResponse => {
  const etag = tagOf(text)
  const all = { ...headers, etag, "cache-control": "no-cache" }
  return isMatch(request.headers["if-none-match"], etag)
    ? HttpServerResponse.empty({ status: 304, headers: all })
    : json(text, { headers: all })
}

/** `Link: <…>; rel="next"` (RFC 8288): the request's own URL with another cursor. */
export const nextLink = (request: HttpServerRequest, cursor: string): { readonly link: string } => {
  const at = request.url.indexOf("?")
  const params = new URLSearchParams(at < 0 ? "" : request.url.slice(at + 1))
  params.set("cursor", cursor)
  return { link: `<${at < 0 ? request.url : request.url.slice(0, at)}?${params}>; rel="next"` }
}
