/**
 * The log on stderr: `12:00:00 WARN …` for people, and a line of JSON with `--json`, `{"log":{"at":"…","level":"Warn","message":"…"}}`.
 */
import { inspect } from "node:util"
import * as Cause from "effect/Cause"
import * as Logger from "effect/Logger"
import * as Output from "./Output.ts"

/** Writes it. */
export const logger = (isJson: boolean): Logger.Logger<unknown, void> =>
  Logger.make(({ cause, date, logLevel, message }) => {
    const parts = Array.isArray(message) ? message : [message]
    const said = [
      ...parts.map((part: unknown) => (typeof part === "string" ? part : inspect(part))),
      ...(cause.reasons.length === 0 ? [] : [Cause.pretty(cause)])
    ].join(" ")
    const line = isJson
      ? JSON.stringify({ log: { at: date.toISOString(), level: logLevel, message: said } })
      : Output.harmless(`${date.toTimeString().slice(0, 8)} ${logLevel.toUpperCase()} ${said}`)
    process.stderr.write(`${line}\n`)
  })
