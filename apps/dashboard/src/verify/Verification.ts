/** Certificates, checked in this browser: what the registry says about them is not believed. */

/** What a check found. */
export type Checked =
  | { readonly valid: true; readonly summary: string; readonly receipts: number; readonly millis: number }
  | { readonly valid: false; readonly reason: string; readonly message: string; readonly millis: number }

/** What the worker is asked. */
export interface Question {
  readonly id: number
  readonly certificate: unknown
}

let worker: Worker | undefined
let asked = 0
const waiting = new Map<number, (checked: Checked) => void>()

const failAll = (message: string): void => {
  worker?.terminate()
  worker = undefined
  for (const answer of waiting.values()) answer({ valid: false, reason: "Failed", message, millis: 0 })
  waiting.clear()
}

const started = (): Worker => {
  if (worker !== undefined) return worker
  worker = new Worker(new URL("./Verify.worker.ts", import.meta.url), { type: "module", name: "verify" })
  worker.addEventListener("message", ({ data }: MessageEvent<{ id: number; checked: Checked }>) => {
    waiting.get(data.id)?.(data.checked)
    waiting.delete(data.id)
  })
  worker.addEventListener("error", (event) => failAll(`The check itself failed: ${event.message}`))
  return worker
}

/** Checks a certificate; never throws. */
export const verify = (certificate: unknown): Promise<Checked> =>
  new Promise((resolve) => {
    const id = ++asked
    waiting.set(id, resolve)
    started().postMessage({ id, certificate } satisfies Question, [])
  })
