/**
 * Evaluator: how good an answer was, where something can tell.
 *
 * An evaluator gives a quality with its reason, or abstains and says why. It never makes a quality up: whoever reports to a
 * registry sends no report for what nothing could judge. Evaluators are chosen by capability, the first that fits.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as CanonicalJson from "@parley/core/CanonicalJson"

/** Longest time that an evaluator may take where it names no other bound, in milliseconds. */
export const TIMEOUT_MS = 30_000
/** Longest reason that is kept, in characters. */
export const MAX_WHY_LENGTH = 300
/** Most rules of one chooser: each task's capability is compared with them in turn. */
export const MAX_RULES = 256

/** What is judged. */
export interface Task {
  readonly capability: string
  readonly input: Schema.Json
  readonly output: Schema.Json
  /** The capability's own schema for its output, where it has one. */
  readonly outputSchema?: Schema.Json
}

/** What came of it: `quality` from 0 to 1, or nothing. `why` is for people. */
export type Judgement =
  | { readonly _tag: "Score"; readonly quality: number; readonly why: string }
  | { readonly _tag: "Abstained"; readonly why: string }

/** Judges; never fails. */
export type Evaluator = (task: Task) => Effect.Effect<Judgement>

const cut = (why: string): string => (why.length <= MAX_WHY_LENGTH ? why : `${why.slice(0, MAX_WHY_LENGTH - 1)}…`)

/** Nothing can be said. */
export const abstained = (why: string): Judgement => ({ _tag: "Abstained", why: cut(why) })

/** A quality from 0 to 1; a number that is none abstains. */
export const score = (quality: number, why: string): Judgement =>
  quality >= 0 && quality <= 1
    ? { _tag: "Score", quality, why: cut(why) }
    : abstained(`a quality of ${quality} is not between 0 and 1`)

/** Never judges; for what only people can. */
export const none: Evaluator = () => Effect.succeed(abstained("nothing judges this capability"))

const hasContent = (value: Schema.Json): boolean => {
  if (typeof value === "string") return value.trim() !== ""
  if (typeof value !== "object" || value === null) return value !== null
  return Object.values(value).some(hasContent)
}

/** 1 where something was answered, 0 where all of it is empty: null, blank text, lists and objects of these. */
export const nonEmpty: Evaluator = ({ output }) =>
  Effect.sync(() => {
    // Deeper than anything a node takes, it would not have been answered.
    if (!CanonicalJson.isWithinDepth(output)) return abstained("the output is nested too deep to look through")
    return hasContent(output) ? score(1, "the output is not empty") : score(0, "the output is empty")
  })

const exitCodeOf = (output: Schema.Json): number | undefined => {
  if (typeof output !== "object" || output === null || Array.isArray(output)) return undefined
  const members = output as { readonly [key: string]: Schema.Json }
  const code = members["exit_code"] ?? members["exitCode"]
  return typeof code === "number" && Number.isInteger(code) ? code : undefined
}

/** 1 where the output's `exit_code` (or `exitCode`) is 0, else 0; abstains where there is none. */
export const exitCode: Evaluator = ({ output }) =>
  Effect.sync(() => {
    const code = exitCodeOf(output)
    return code === undefined
      ? abstained("the output has no exit_code")
      : score(code === 0 ? 1 : 0, `it ended with exit code ${code}`)
  })

/**
 * 1 where the output is what `recompute` gives for the same input, else 0: a function that knows the answer, or another agent
 * that is asked. Equal means equal canonical JSON (RFC 8785). Abstains where there is nothing to compare with.
 */
export const recomputed =
  <E>(recompute: (input: Schema.Json, capability: string) => Effect.Effect<Schema.Json, E>): Evaluator =>
  ({ capability, input, output }) =>
    Effect.suspend(() => recompute(input, capability)).pipe(
      Effect.matchCause({
        onFailure: () => abstained("it could not be computed again"),
        onSuccess: (expected) => {
          try {
            return CanonicalJson.stringify(expected) === CanonicalJson.stringify(output)
              ? score(1, "computed again, the answer is the same")
              : score(0, "computed again, the answer is another")
          } catch {
            return abstained("one of the two answers is no JSON")
          }
        }
      })
    )

/** The least of several judgements; those that abstain do not count, unless all do. */
export const least =
  (...evaluators: ReadonlyArray<Evaluator>): Evaluator =>
  (task) =>
    Effect.map(
      Effect.forEach(evaluators, (evaluator) => evaluator(task)),
      (judgements) => {
        let worst: Judgement | undefined
        for (const each of judgements) {
          if (each._tag === "Score" && (worst === undefined || each.quality < (worst as { quality: number }).quality)) {
            worst = each
          }
        }
        return worst ?? judgements[0] ?? abstained("nothing judges this capability")
      }
    )

/** Whether a capability's name fits a pattern, in which `*` stands for any characters; linear in both. */
export const fits = (pattern: string, capability: string): boolean => {
  const parts = pattern.split("*")
  const [head = ""] = parts
  if (parts.length === 1) return pattern === capability
  const tail = parts[parts.length - 1] ?? ""
  if (!capability.startsWith(head) || !capability.endsWith(tail)) return false
  let from = head.length
  const end = capability.length - tail.length
  for (const part of parts.slice(1, -1)) {
    const found = capability.indexOf(part, from)
    if (found < 0 || found + part.length > end) return false
    from = found + part.length
  }
  return from <= end
}

/** Chooses by capability: the first rule that fits, each `[pattern, evaluator]`. Whatever takes too long, or breaks, abstains. */
export const byCapability = (
  rules: ReadonlyArray<readonly [pattern: string, evaluator: Evaluator]>,
  timeoutMs: number = TIMEOUT_MS
): Evaluator => {
  if (rules.length > MAX_RULES) throw new RangeError(`${rules.length} rules, at most ${MAX_RULES} are taken`)
  return (task) => {
    const evaluator = rules.find(([pattern]) => fits(pattern, task.capability))?.[1] ?? none
    return Effect.suspend(() => evaluator(task)).pipe(
      Effect.timeoutOrElse({
        duration: timeoutMs,
        orElse: () => Effect.succeed(abstained(`the evaluator took longer than ${timeoutMs} ms`))
      }),
      Effect.catchCause(() => Effect.succeed(abstained("the evaluator broke")))
    )
  }
}

/** As whoever reports wants it: the quality, or `undefined` where there is none to report. */
export const qualityOf =
  (evaluator: Evaluator) =>
  (capability: string, input: Schema.Json, output: Schema.Json): Effect.Effect<number | undefined> =>
    Effect.map(evaluator({ capability, input, output }), (judgement) =>
      judgement._tag === "Score" ? judgement.quality : undefined
    )
