/**
 * OpenAiCompatible: Effect's `LanguageModel` over any endpoint that speaks OpenAI's `POST /chat/completions`: OpenAI, Groq,
 * Mistral, OpenRouter, vLLM, llama.cpp, Ollama.
 *
 * It asks for text or for one JSON object, in one piece; it has no tools and no streams. Requests go through `SafeFetch`, so
 * that an endpoint on this machine or network has to be named in `allow`.
 */
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as SafeFetch from "./SafeFetch.ts"

/** Largest answer that is read, in bytes: a completion of some 30,000 tokens with what is said about it. */
export const MAX_ANSWER_BYTES = 262_144
/** Longest wait for an answer, in milliseconds. */
export const TIMEOUT_MS = 25_000
/** Most tokens that are asked for where the caller names no other bound. */
export const MAX_TOKENS = 512

/** Which model, where. */
export interface Options extends SafeFetch.Options {
  /** What `/chat/completions` comes after: `https://api.openai.com/v1`, `http://localhost:11434/v1`. */
  readonly baseUrl: string
  readonly model: string
  readonly apiKey?: Redacted.Redacted
  readonly maxTokens?: number
  /** Default 0: the same question gets the same answer, as far as the model can. */
  readonly temperature?: number
  readonly timeoutMs?: number
}

const Completion = Schema.Struct({
  choices: Schema.NonEmptyArray(
    Schema.Struct({
      message: Schema.Struct({ content: Schema.NullOr(Schema.String) }),
      finish_reason: Schema.optionalKey(Schema.NullOr(Schema.String))
    })
  )
})
const decodeCompletion = Schema.decodeUnknownResult(Completion)

const errorOf = (reason: AiError.AiErrorReason): AiError.AiError =>
  AiError.make({ module: "OpenAiCompatible", method: "generateText", reason })

const invalid = (description: string) => errorOf(new AiError.InvalidResponseError({ description }))

/** A prompt's messages as the endpoint reads them; of what is not text nothing is sent. */
const messagesOf = (prompt: Prompt.Prompt): ReadonlyArray<{ readonly role: string; readonly content: string }> =>
  prompt.content.flatMap((message) => {
    if (message.role === "tool") return []
    const content =
      typeof message.content === "string"
        ? message.content
        : message.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n")
    return [{ role: message.role, content }]
  })

const finishReasons: { readonly [reason: string]: "stop" | "length" | "content-filter" } = {
  stop: "stop",
  length: "length",
  content_filter: "content-filter"
}

/** The answer's text and how it ended, as parts. */
const partsOf = (body: Uint8Array): Result.Result<Array<Response.PartEncoded>, string> => {
  const json = CanonicalJson.parse(body, { maxBytes: MAX_ANSWER_BYTES })
  if (Result.isFailure(json)) return Result.fail("the answer is no JSON")
  const completion = decodeCompletion(json.success)
  if (Result.isFailure(completion)) return Result.fail("the answer is no chat completion")
  const [choice] = completion.success.choices
  if (choice.message.content === null) return Result.fail("the answer has no text")
  return Result.succeed([
    { type: "text", text: choice.message.content },
    {
      type: "finish",
      reason: finishReasons[choice.finish_reason ?? ""] ?? "unknown",
      usage: { inputTokens: {}, outputTokens: {} }
    }
  ])
}

/** The model. */
export const make = (options: Options): Effect.Effect<LanguageModel.LanguageModel> => {
  const url = `${options.baseUrl.replace(/\/+$/, "")}/chat/completions`
  const generate = Effect.fnUntraced(function* (asked: LanguageModel.ProviderOptions) {
    const body = JSON.stringify({
      model: options.model,
      messages: messagesOf(asked.prompt),
      max_tokens: options.maxTokens ?? MAX_TOKENS,
      temperature: options.temperature ?? 0,
      ...(asked.responseFormat.type === "json" ? { response_format: { type: "json_object" } } : {})
    })
    const key = options.apiKey === undefined ? undefined : Redacted.value(options.apiKey)
    const response = yield* SafeFetch.fetch(
      {
        url,
        method: "POST",
        body,
        headers: {
          accept: "application/json",
          "content-type": "application/json",
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` })
        },
        maxBytes: MAX_ANSWER_BYTES,
        timeoutMs: options.timeoutMs ?? TIMEOUT_MS
      },
      options
    ).pipe(
      Effect.mapError((error) =>
        errorOf(
          new AiError.NetworkError({
            reason: error.code === "Refused" ? "InvalidUrlError" : "TransportError",
            method: "POST",
            url: error.url,
            description: error.detail
          })
        )
      )
    )
    if (response.status !== 200) return yield* errorOf(AiError.reasonFromHttpStatus({ status: response.status }))
    const parts = partsOf(response.body)
    return Result.isSuccess(parts) ? parts.success : yield* invalid(parts.failure)
  })
  return LanguageModel.make({
    generateText: generate,
    streamText: () =>
      Stream.fail(
        errorOf(new AiError.InvalidRequestError({ description: "this model answers in one piece; use generateText" }))
      )
  })
}

/** The model as a layer. */
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel> =>
  Layer.effect(LanguageModel.LanguageModel, make(options))
