/**
 * The matcher with a second semantic signal: how near the embeddings of a query's text and of a capability are.
 *
 * Each distinct capability text (name, description, tags) is embedded once, in the background; each query text once, by
 * `prepare`. `match` stays synchronous and takes the larger of the two signals: shared words, or similarity from 0.5 on.
 * Without `prepare`, or as long as the model does not answer, the words stand alone.
 */
import * as Effect from "effect/Effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as MatcherIndex from "./internal/MatcherIndex.ts"
import { type Meaning, Meanings } from "./internal/Meanings.ts"
import { Matcher, MAX_RECORDS, type Options as MatcherOptions } from "./Matcher.ts"

/** Texts sent to the model in one request; providers take at least this many. */
export const BATCH = 64
/** Longest wait of `prepare`, in milliseconds: past it the words decide, for a call should not hang on a model. */
export const DEFAULT_PATIENCE = 2_000
/** Longest pause before the model is asked again after it failed, in milliseconds. */
export const MAX_PAUSE = 60_000

/** What may be set. */
export interface Options extends MatcherOptions {
  /** Longest wait of `prepare`, in milliseconds; `DEFAULT_PATIENCE` where absent. */
  readonly patience?: number
}

/** The matcher over the `EmbeddingModel` in the context. The layer's scope owns the fiber that embeds. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const model = yield* EmbeddingModel.EmbeddingModel
  const meanings = new Meanings()
  const waiting = Latch.makeUnsafe(false)
  const idle = Latch.makeUnsafe(true)
  meanings.onPending = () => {
    waiting.openUnsafe()
    idle.closeUnsafe()
  }

  const embedSome = Effect.gen(function* () {
    yield* waiting.await
    const batch: Array<Meaning> = []
    for (const meaning of meanings.pending) {
      batch.push(meaning)
      if (batch.length === BATCH) break
    }
    if (batch.length > 0) {
      const { embeddings } = yield* model.embedMany(batch.map(({ text }) => text))
      batch.forEach((meaning, i) => meanings.learn(meaning, embeddings[i]!.vector))
    }
    if (meanings.pending.size === 0) {
      waiting.closeUnsafe()
      idle.openUnsafe()
    }
  })
  let pause = 1_000
  yield* embedSome.pipe(
    Effect.tap(() => Effect.sync(() => void (pause = 1_000))),
    Effect.catch((error) => {
      const now = pause
      pause = Math.min(2 * pause, MAX_PAUSE)
      return Effect.logWarning(
        `The embedding model gave no embeddings (${error.message}): words alone are compared, next attempt in ${now} ms`
      ).pipe(Effect.andThen(Effect.sleep(now)))
    }),
    Effect.forever,
    Effect.forkScoped
  )

  const matcher = MatcherIndex.make(options.maxRecords ?? MAX_RECORDS, meanings)
  const embedQuery = (text: string) =>
    meanings.query(text) !== undefined
      ? Effect.void
      : model.embed(text).pipe(
          Effect.map(({ vector }) => meanings.learnQuery(text, vector)),
          Effect.catch((error) =>
            Effect.logWarning(`The embedding model did not take the query (${error.message}): its words are compared`)
          )
        )
  return Matcher.of({
    ...matcher,
    prepare: ({ text }) =>
      text === undefined || text.trim() === ""
        ? Effect.void
        : Effect.all([embedQuery(text), idle.await], { concurrency: "unbounded", discard: true }).pipe(
            Effect.timeoutOption(options.patience ?? DEFAULT_PATIENCE),
            Effect.asVoid
          )
  })
})

/** The matcher over the `EmbeddingModel` in the context, with every default. */
export const layer: Layer.Layer<Matcher, never, EmbeddingModel.EmbeddingModel> = Layer.effect(Matcher, make())
