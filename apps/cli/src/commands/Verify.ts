/** `parley verify`: checks a certificate offline. */
import * as fs from "node:fs"
import { resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Certificate from "@parley/consensus/Certificate"
import * as Consensus from "@parley/consensus/Consensus"
import { type UsageError, usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Output from "../Output.ts"

const read = (file: string): Effect.Effect<Buffer, UsageError | Certificate.CertificateError> =>
  Effect.suspend((): Effect.Effect<Buffer, UsageError | Certificate.CertificateError> => {
    const path = file === "-" ? 0 : resolve(file)
    try {
      // Larger ones are refused before they are in memory.
      const bytes = path === 0 ? 0 : fs.statSync(path).size
      return bytes > Certificate.MAX_BYTES
        ? Effect.fail(new Certificate.CertificateError({ reason: { _tag: "TooLarge", bytes } }))
        : Effect.succeed(fs.readFileSync(path))
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      return Effect.fail(usage("BadFile", `cannot read the certificate ${path}: ${why}`))
    }
  })

export const run = Effect.fnUntraced(function* (options: Flags.Verify & Flags.Common) {
  const bytes = yield* read(options.file)
  const report = yield* Certificate.verify(bytes, Consensus.strategies)
  yield* Output.result(options, { valid: true, ...report }, report.summary)
})
