/**
 * Waiting for something to become so, with a diagnosis when it does not: what was looked at last, and how that changed.
 *
 * ```ts
 * await until("both are connected", () => a.connections().length === 1)
 * const peers = await untilValue("ten peers", () => node.peers(), (peers) => peers.length === 10)
 * ```
 */
import { performance } from "node:perf_hooks"
import { inspect } from "node:util"

/** How long to wait unless said otherwise, in ms: long enough for a busy machine. */
const WITHIN_MS = 15_000
/** Pause between looks, in ms: short at first, then up to this. */
const LONGEST_PAUSE_MS = 50
/** Different values that a diagnosis shows: the first ones and the last ones. */
const SHOWN = 6

/** Limits of a wait. */
export interface WaitOptions {
  readonly withinMs?: number
  /** Said along when it never becomes so: logs, counters, states. */
  readonly diagnose?: () => unknown
}

const show = (value: unknown): string =>
  typeof value === "string" ? value : inspect(value, { depth: 4, breakLength: 120, maxArrayLength: 20 })

/** What was seen, one entry for each change. */
class Seen {
  readonly #first: Array<string> = []
  readonly #last: Array<string> = []
  #latest: string | undefined
  #changes = 0
  readonly #startedAt = performance.now()

  add(text: string): void {
    if (text === this.#latest) return
    this.#latest = text
    this.#changes += 1
    const line = `  after ${Math.round(performance.now() - this.#startedAt)} ms: ${text.slice(0, 2_000)}`
    if (this.#first.length < SHOWN / 2) return void this.#first.push(line)
    this.#last.push(line)
    if (this.#last.length > SHOWN / 2) this.#last.shift()
  }

  get text(): string {
    const hidden = this.#changes - this.#first.length - this.#last.length
    return [...this.#first, ...(hidden > 0 ? [`  … ${hidden} changes more …`] : []), ...this.#last].join("\n")
  }
}

/** Looks until `holds` is true of what is seen, and gives that; rejects with all that was seen when the time is over. */
export const untilValue = async <A>(
  what: string,
  look: () => A | Promise<A>,
  holds: (value: A) => boolean,
  { diagnose, withinMs = WITHIN_MS }: WaitOptions = {}
): Promise<A> => {
  const seen = new Seen()
  const deadline = performance.now() + withinMs
  let pause = 1
  while (true) {
    try {
      const value = await look()
      if (holds(value)) return value
      seen.add(show(value))
    } catch (error) {
      seen.add(`it failed: ${show(error)}`)
    }
    if (performance.now() >= deadline) {
      const more = diagnose === undefined ? "" : `\nand then: ${show(await diagnose())}`
      throw new Error(`waited ${withinMs} ms for ${what}, and saw\n${seen.text}${more}`)
    }
    const wait = pause
    await new Promise((resolve) => setTimeout(resolve, wait))
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS)
  }
}

/** Looks until it is so; whatever `look` gives besides true is part of the diagnosis. */
export const until = async (
  what: string,
  look: () => unknown | Promise<unknown>,
  options: WaitOptions = {}
): Promise<void> => {
  await untilValue(what, look, (value) => value === true, options)
}
