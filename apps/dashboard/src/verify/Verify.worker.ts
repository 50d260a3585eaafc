/**
 * Checks certificates away from the page's thread, by the code that nodes check them by: `@parley/consensus/Certificate`.
 */
import "../platform/Buffer.ts"
import * as Effect from "effect/Effect"
import * as Certificate from "@parley/consensus/Certificate"
import { strategies } from "@parley/consensus/Consensus"
import type { Checked, Question } from "./Verification.ts"

const check = async (certificate: unknown): Promise<Checked> => {
  const began = performance.now()
  const result = await Effect.runPromise(
    Effect.match(Certificate.verify(certificate, strategies), {
      onSuccess: (report): Checked => ({ valid: true, summary: report.summary, receipts: report.receipts, millis: 0 }),
      onFailure: (error): Checked => ({ valid: false, reason: error.reason._tag, message: error.message, millis: 0 })
    })
  )
  return { ...result, millis: performance.now() - began }
}

self.addEventListener("message", ({ data }: MessageEvent<Question>) => {
  void check(data.certificate).then(
    (checked) => self.postMessage({ id: data.id, checked }, { transfer: [] }),
    (cause: unknown) =>
      self.postMessage(
        {
          id: data.id,
          checked: { valid: false, reason: "Failed", message: String(cause), millis: 0 } satisfies Checked
        },
        { transfer: [] }
      )
  )
})
