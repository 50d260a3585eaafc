/** What was signed, checked in this browser: what the registry says about it is not believed. */
import { useEffect, useState } from "preact/hooks"

/** What a check found. */
export type Checked =
  | { readonly valid: true; readonly summary: string; readonly millis: number }
  | { readonly valid: false; readonly message: string; readonly millis: number }

type Asked =
  | { readonly what: "certificate"; readonly value: unknown }
  | { readonly what: "statement"; readonly value: unknown; readonly agent: string }
/** What the worker is asked. */
export type Question = Asked & { readonly id: number }
/** What it answers. */
export interface Answer {
  readonly id: number
  readonly checked: Checked
}

let worker: Worker | undefined
let asked = 0
const waiting = new Map<number, (checked: Checked) => void>()

const failAll = (message: string): void => {
  worker?.terminate()
  worker = undefined
  for (const answer of waiting.values()) answer({ valid: false, message, millis: 0 })
  waiting.clear()
}

const started = (): Worker => {
  if (worker !== undefined) return worker
  worker = new Worker(new URL("./Verify.worker.ts", import.meta.url), { type: "module", name: "verify" })
  worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
    waiting.get(data.id)?.(data.checked)
    waiting.delete(data.id)
  })
  worker.addEventListener("error", (event) => failAll(`The check itself failed: ${event.message}`))
  return worker
}

/** Checks it; never throws. */
export const verify = (question: Asked): Promise<Checked> =>
  new Promise((resolve) => {
    const id = ++asked
    waiting.set(id, resolve)
    started().postMessage({ ...question, id } satisfies Question, [])
  })

/** What a check found; `undefined` while it runs. */
export const useChecked = (question: Asked): Checked | undefined => {
  const [checked, setChecked] = useState<Checked | undefined>(undefined)
  const key = JSON.stringify(question)
  useEffect(() => {
    let current = true
    setChecked(undefined)
    void verify(question).then((found) => current && setChecked(found))
    return () => {
      current = false
    }
  }, [key])
  return checked
}
