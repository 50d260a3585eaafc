/**
 * Events written to a socket as fast as its client reads, and frames of a client that has nothing to say.
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { EventType } from "../Event.ts"
import type { Reader, Told, Wanted } from "../EventStream.ts"
import type { Bucket } from "../Limits.ts"
import { MAX_ID_LENGTH } from "../Model.ts"
import { PublicEventType } from "../PublicEvent.ts"
import type { Sockets } from "../Sockets.ts"
import { queryOf, refuse } from "./SocketAuth.ts"
import { Code, PING_MS, type SocketConnection, SocketGone } from "./SocketConnection.ts"

/** Frames of a client that only listens: some clients ping in text. More: closed. */
export const LISTENER_FRAMES: Bucket = { perSecond: 10, burst: 50 }

const TYPES: ReadonlySet<string> = new Set(PublicEventType.literals)

/** What a request wants to hear; or what is wrong with it. */
export const wantedOf = (request: HttpServerRequest): Wanted | string => {
  const query = queryOf(request)
  const cursor = request.headers["last-event-id"] ?? query.get("cursor") ?? ""
  const types = (query.get("types") ?? query.get("type") ?? "").split(",").filter((type) => type !== "")
  const agent = query.get("agent") ?? ""
  if (cursor !== "" && !/^\d{1,15}$/.test(cursor)) return "cursor must be a whole number from 0 on"
  const strange = types.find((type) => !TYPES.has(type) || type === "gap")
  if (strange !== undefined) {
    return `types: ${JSON.stringify(strange.slice(0, 64))} is none of ${[...TYPES].filter((type) => type !== "gap").join(", ")}`
  }
  if (agent.length > MAX_ID_LENGTH) return `agent: longer than ${MAX_ID_LENGTH} characters`
  return {
    ...(cursor === "" ? {} : { cursor: Number(cursor) }),
    ...(types.length === 0 ? {} : { types: types as Array<EventType> }),
    ...(agent === "" ? {} : { agent })
  }
}

/** Writes what a reader gives. `passed` is written when events were passed over and none was sent for a while. */
export const write = Effect.fnUntraced(function* (
  connection: SocketConnection,
  reader: Reader,
  text: (told: Told) => string | undefined,
  passed?: (cursor: number) => string
): Effect.fn.Return<never, SocketGone> {
  let sent = reader.cursor()
  const stop = (code: number, why: string) =>
    Effect.andThen(
      connection.close(code, `${why}; go on at cursor ${sent}`),
      Effect.fail(new SocketGone({ why: "Closed" }))
    )
  while (true) {
    const page = yield* Effect.catch(reader.next(PING_MS), () => stop(Code.TryAgain, "the store cannot be read"))
    for (const told of page) {
      const json = text(told)
      if (json !== undefined && !connection.offer(json)) {
        yield* Effect.catchIf(
          connection.send(json),
          (gone) => gone.why === "TooSlow",
          () => stop(Code.TooSlow, "too slow")
        )
      }
      sent = told.cursor
    }
    if (page.length > 0 || passed === undefined || reader.cursor() <= sent) continue
    sent = reader.cursor()
    yield* connection.send(passed(sent))
  }
})

/** Takes frames and ignores them; ends with the socket, or when they become a flood. */
export const ignore = Effect.fnUntraced(function* (
  connection: SocketConnection,
  sockets: Sockets["Service"],
  kind: string,
  who: string
): Effect.fn.Return<never, SocketGone> {
  while (true) {
    yield* connection.receive
    if ((yield* sockets.frame(kind, who, LISTENER_FRAMES)) > 0) {
      return yield* refuse(connection, Code.Policy, "Too many frames: this socket only tells")
    }
  }
})
