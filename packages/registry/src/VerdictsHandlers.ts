/**
 * The handlers of verdicts: a certificate is checked before it is shown.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import type * as Schema from "effect/Schema"
import { Api, Caller } from "./Api.ts"
import * as Commands from "./Commands.ts"
import * as Answers from "./internal/Answers.ts"
import { nameOf } from "./internal/Who.ts"
import { Ledger } from "./Ledger.ts"
import { mayActFor } from "./Principal.ts"
import * as Problem from "./Problem.ts"
import { instant } from "./RecordJson.ts"
import { Store } from "./Store.ts"
import type { PublishedVerdict } from "./Event.ts"

/** Largest question that is shown, in bytes of JSON: a screen of text, many times over. */
export const MAX_QUESTION_BYTES = 65_536
/** Verdicts of one answer where the query does not say. */
export const DEFAULT_VERDICTS = 20
/** Most JSON of one answer, in characters: eight of the largest certificates. The rest is behind its `Link`. */
export const MAX_LISTED_CHARACTERS = 8 * 1_048_576
/** Verdicts read at once: certificates are large. */
const READ = 8

const storeFailed = new Problem.Unavailable({ detail: "The registry's database does not answer: try again" })

/** What checks certificates is loaded with the first of them. */
const load = Effect.promise(async () => ({
  certificate: await import("@parley/consensus/Certificate"),
  consensus: await import("@parley/consensus/Consensus")
}))

const shown = (verdict: PublishedVerdict & { readonly cursor: number; readonly at: number }) => ({
  cursor: verdict.cursor,
  at: instant(verdict.at),
  task: verdict.task,
  capability: verdict.capability,
  published_by: verdict.publishedBy,
  question: verdict.question,
  certificate: verdict.certificate
})

/** The newest verdicts before a cursor as JSON, as many as an answer holds; `next` is the cursor of those before, where there may be some. */
export const newest = Effect.fnUntraced(function* (
  read: Store["Service"]["verdicts"],
  { before, limit }: { readonly before?: number | undefined; readonly limit: number }
) {
  const rows: Array<string> = []
  let characters = 0
  let last = before
  while (rows.length < limit) {
    const most = Math.min(READ, limit - rows.length)
    const page = yield* read({ limit: most, ...(last === undefined ? {} : { before: last }) })
    for (const verdict of page) {
      const row = JSON.stringify(shown(verdict))
      characters += row.length
      if (rows.length > 0 && characters > MAX_LISTED_CHARACTERS) return { rows, next: last }
      rows.push(row)
      last = verdict.cursor
    }
    if (page.length < most) return { rows, next: undefined }
  }
  return { rows, next: last }
})

/** The handlers of verdicts. */
export const layer = HttpApiBuilder.group(
  Api,
  "verdicts",
  Effect.fnUntraced(function* (handlers) {
    const ledger = yield* Ledger
    const store = yield* Store
    return handlers.handleAll({
      publish: Effect.fnUntraced(function* ({ payload: { certificate, question } }) {
        const caller = yield* Caller
        if (!mayActFor(caller, certificate.asker)) {
          return yield* new Problem.Forbidden({
            detail: `Only ${certificate.asker}, who asked, may publish its verdict`
          })
        }
        const bytes = Buffer.byteLength(JSON.stringify(question))
        if (bytes > MAX_QUESTION_BYTES) {
          return yield* new Problem.TooLarge({
            detail: `The question has ${bytes} bytes of JSON, at most ${MAX_QUESTION_BYTES} are shown: cut it`
          })
        }
        const modules = yield* load
        const proven = yield* modules.certificate
          .verify(certificate, modules.consensus.strategies)
          .pipe(Effect.mapError((error) => new Problem.Unprocessable({ detail: error.message })))
        const name = nameOf(caller)
        const cursor = yield* ledger.commit(
          Commands.verdict(
            {
              task: proven.task,
              capability: proven.capability,
              publishedBy: name === "" ? proven.asker : name,
              question,
              certificate: certificate as Schema.Json
            },
            proven.asker
          )
        )
        return { task: proven.task, cursor }
      }),
      list: Effect.fnUntraced(function* ({ query, request }) {
        const { next, rows } = yield* newest(store.verdicts, {
          limit: query.limit ?? DEFAULT_VERDICTS,
          before: query.cursor
        }).pipe(Effect.mapError(() => storeFailed))
        const headers = next === undefined ? {} : Answers.nextLink(request, String(next))
        return Answers.tagged(request, `[${rows.join(",")}]`, headers)
      }),
      get: Effect.fnUntraced(function* ({ params: { task }, request }) {
        const [verdict] = yield* Effect.mapError(
          store.verdicts({ limit: 1, task, oldestFirst: true }),
          () => storeFailed
        )
        if (verdict === undefined) {
          return yield* new Problem.NotFound({ detail: `No verdict on task ${task} is kept here` })
        }
        return Answers.tagged(request, JSON.stringify(shown(verdict)))
      })
    })
  })
)
