/**
 * The flags that choose among agents, as a query.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Query from "@parley/core/Query"
import { type UsageError, usage } from "./Failure.ts"
import type * as Flags from "./Flags.ts"
import * as Output from "./Output.ts"

type Scalar = string | number | boolean

/** `7`, `true` and `"7"` are what JSON says they are; everything else is text. */
export const scalar = (text: string): Scalar => {
  const word = text.trim()
  if (/^(?:true|false|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/i.test(word)) return JSON.parse(word.toLowerCase())
  return /^"(?:[^"\\]|\\.)*"$/.test(word) ? JSON.parse(word) : word
}

const relation = (operator: string, value: string): Query.Constraint | undefined => {
  const one = scalar(value)
  switch (operator) {
    case "=":
    case "==":
    case "eq":
      return { eq: one }
    case "!=":
    case "ne":
      return { ne: one }
    case "in":
      return { in: value.split(",").map(scalar) }
    case ">=":
    case "gte":
      return typeof one === "boolean" ? undefined : { gte: one }
    case "<=":
    case "lte":
      return typeof one === "boolean" ? undefined : { lte: one }
    default:
      return undefined
  }
}

/** Reads one constraint: `language in en,de`, `size >= 7`, `model != x`, `gpu exists`, `gpu absent`. */
export const constraint = (text: string): { readonly key: string; readonly test: Query.Constraint } | undefined => {
  const [, present, how] = /^\s*([^\s=!<>]+)\s+(exists|absent)\s*$/.exec(text) ?? []
  if (present !== undefined) return { key: present, test: { exists: how === "exists" } }
  const [, key, operator, value] =
    /^\s*([^\s=!<>]+)\s*(==|=|!=|>=|<=|\b(?:eq|ne|in|gte|lte)\b)\s*(\S.*?)\s*$/.exec(text) ?? []
  if (key === undefined || operator === undefined || value === undefined) return undefined
  const test = relation(operator, value)
  return test === undefined ? undefined : { key, test }
}

const decode = Schema.decodeUnknownEffect(Query.Query)

/** The query of the flags, to which `more` is added. */
export const query = (options: Flags.Choosing, more: Query.Query = {}): Effect.Effect<Query.Query, UsageError> =>
  Effect.gen(function* () {
    const constraints: Record<string, Query.Constraint> = {}
    for (const text of options.where) {
      const parsed = constraint(text)
      if (parsed === undefined) {
        return yield* usage(
          "BadWhere",
          `--where ${JSON.stringify(text)} is no test: write 'language in en,de', 'size >= 7', 'model != x' or 'gpu exists'`
        )
      }
      constraints[parsed.key] = { ...constraints[parsed.key], ...parsed.test }
    }
    const made = {
      ...more,
      ...(Object.keys(constraints).length === 0 ? {} : { constraints }),
      ...(options.tag.length === 0 ? {} : { tags: options.tag }),
      ...(options.feature.length === 0 ? {} : { features: options.feature }),
      ...(options.maxCost === undefined ? {} : { maxCostUsd: options.maxCost }),
      ...(options.maxLatency === undefined ? {} : { maxLatencyMs: options.maxLatency }),
      ...(options.minTrust === undefined ? {} : { minTrust: options.minTrust }),
      ...(options.policy === undefined ? {} : { policy: options.policy })
    }
    const checked = yield* Effect.mapError(decode(made), (error) =>
      usage("BadQuery", `this cannot be searched for: ${Output.oneLine(error.message)}`)
    )
    const wrong = Query.check(checked)
    if (wrong !== undefined) return yield* usage("BadQuery", wrong)
    return checked
  })
