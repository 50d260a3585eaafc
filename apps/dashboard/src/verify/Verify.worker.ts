/**
 * Checks what was signed away from the page's thread, by the code that nodes check it by: `@parley/consensus/Certificate` and
 * `@parley/registry/Statement`.
 */
import "../platform/Buffer.ts"
import * as Effect from "effect/Effect"
import * as Certificate from "@parley/consensus/Certificate"
import { strategies } from "@parley/consensus/Consensus"
import * as Statement from "@parley/registry/Statement"
import type { Answer, Checked, Question } from "./Verification.ts"

const certificate = (value: unknown): Promise<Checked> =>
  Effect.runPromise(
    Effect.match(Certificate.verify(value, strategies), {
      onSuccess: (report): Checked => ({ valid: true, summary: report.summary, millis: 0 }),
      onFailure: (error): Checked => ({ valid: false, message: error.message, millis: 0 })
    })
  )

const statement = (value: unknown, agent: string): Checked => {
  const verified = Statement.verify(value, { agent, now: Date.now() })
  if (verified instanceof Statement.StatementRefused) return { valid: false, message: verified.message, millis: 0 }
  return {
    valid: true,
    summary: `signed by ${verified.registry} over ${verified.chain.seq} reports, holds until ${new Date(verified.expiresAt).toISOString()}`,
    millis: 0
  }
}

const check = async (question: Question): Promise<Checked> => {
  const began = performance.now()
  const checked =
    question.what === "certificate" ? await certificate(question.value) : statement(question.value, question.agent)
  return { ...checked, millis: performance.now() - began }
}

const tell = (answer: Answer): void => self.postMessage(answer, { transfer: [] })

self.addEventListener("message", ({ data }: MessageEvent<Question>) => {
  void check(data).then(
    (checked) => tell({ id: data.id, checked }),
    (cause: unknown) => tell({ id: data.id, checked: { valid: false, message: String(cause), millis: 0 } })
  )
})
