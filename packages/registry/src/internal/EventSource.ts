/**
 * A registry's event stream over one connection (server-sent events, WHATWG HTML).
 */
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as RegistryError from "../RegistryError.ts"

/** Longest event that is read, in characters: a signed record with the JSON around it. */
export const MAX_EVENT_LENGTH = 1_048_576
/** A stream that is silent for so long is taken for dead, in milliseconds: three of the comments that a registry sends meanwhile. */
export const SILENT_MS = 45_000

/** Something that happened at a registry, as it tells it. */
export const PublicEvent = Schema.Struct({
  cursor: Schema.Natural,
  /** ISO 8601. */
  at: Schema.String,
  /** `agent.registered`, `trust.changed` …; types that are not known here are to be ignored. */
  type: Schema.String,
  data: Schema.Json
})
/** Something that happened at a registry. */
export type PublicEvent = typeof PublicEvent.Type

/** From where on, and of what kind. */
export interface Options {
  /** After this one. Default: from now on. */
  readonly cursor?: number
  /** Only these kinds. Default: all. */
  readonly types?: ReadonlyArray<string>
  /** Runs once the registry has begun to tell. */
  readonly onOpen?: Effect.Effect<void>
}

/** Which registry, and how it is asked. */
export interface Source {
  readonly at: string
  readonly execute: (
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientResponse, HttpClientError.HttpClientError | RegistryError.RegistryError>
}

const isEvent = Schema.is(PublicEvent)
const OPERATION = "follow events"

const readEvent = (data: string): PublicEvent | undefined => {
  try {
    const value: unknown = JSON.parse(data)
    return isEvent(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Events until the connection ends, which is a failure. */
export const open = (
  { at, execute }: Source,
  { cursor, onOpen = Effect.void, types = [] }: Options
): Stream.Stream<PublicEvent, RegistryError.RegistryError> =>
  Stream.suspend(() => {
    const lost = (detail: string) =>
      new RegistryError.RegistryError({ code: "Unreachable", at, operation: OPERATION, detail })
    const query = new URLSearchParams([
      ...(cursor === undefined ? [] : [["cursor", String(cursor)]]),
      ...(types.length === 0 ? [] : [["types", types.join(",")]])
    ])
    const request = HttpClientRequest.get(`${at}/events${query.size === 0 ? "" : `?${query}`}`, {
      headers: { accept: "text/event-stream", "cache-control": "no-store" }
    })
    let heardAt = performance.now()
    let heard: Array<PublicEvent> = []
    const parser = Sse.makeParser(
      (event) => {
        const read = event._tag === "Event" ? readEvent(event.data) : undefined
        if (read !== undefined) heard.push(read)
      },
      { maxEventSize: MAX_EVENT_LENGTH }
    )
    const taken = (text: string) =>
      Effect.suspend(() => {
        heardAt = performance.now()
        const error = parser.feed(text)
        if (error !== undefined) return Effect.fail(lost(`an event is too large: ${error.message}`))
        const events = heard
        heard = []
        return Effect.succeed(events)
      })
    const silence: Effect.Effect<never, RegistryError.RegistryError> = Effect.suspend(() => {
      const left = SILENT_MS - (performance.now() - heardAt)
      return left <= 0
        ? Effect.fail(lost(`it was silent for ${SILENT_MS} ms`))
        : Effect.andThen(Effect.sleep(left), silence)
    })
    const failed = (cause: unknown) => Effect.flatMap(RegistryError.from(at, OPERATION, cause), Effect.fail)
    const response = Effect.gen(function* () {
      const answer = yield* Effect.catch(execute(request), failed)
      if (answer.status !== 200 || !(answer.headers["content-type"] ?? "").startsWith("text/event-stream")) {
        const text = yield* Effect.orElseSucceed(answer.text, () => "")
        return yield* RegistryError.ofProblem(at, OPERATION, answer.status, readProblem(text))
      }
      yield* onOpen
      return answer.stream.pipe(
        Stream.decodeText,
        Stream.catch((cause) => Stream.fromEffect(failed(cause))),
        Stream.mapEffect(taken),
        Stream.flatMap((events) => Stream.fromIterable(events)),
        Stream.concat(Stream.fail(lost("the connection was closed"))),
        Stream.interruptWhen(silence)
      )
    })
    return Stream.unwrap(response)
  })

const readProblem = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
