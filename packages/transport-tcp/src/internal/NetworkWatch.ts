/**
 * Notices that this machine is on another network than before: its addresses changed, or it slept. One timer for all nodes of a
 * process, which keeps none alive.
 */
import { networkInterfaces } from "node:os"

/** How often it looks, in ms: a look takes 20 µs. */
export const LOOK_EVERY_MS = 2_000
/** A look that comes so much too late, in ms, comes after sleep: this process, or all of the machine, did not run. */
export const SLEPT_MS = 5_000

/** What has changed. */
export type Change = "addresses" | "sleep"

type Listener = (change: Change) => void

/** This machine's addresses as one text, in an order of its own. */
export const addressesNow = (): string => {
  const all: Array<string> = []
  for (const [name, entries] of Object.entries(networkInterfaces())) {
    for (const { address } of entries ?? []) all.push(`${name} ${address}`)
  }
  return all.sort().join("\n")
}

/** What a watch looks at; for tests. */
export interface Sources {
  readonly addresses: () => string
  /** A clock that goes on while the machine sleeps, in ms. */
  readonly now: () => number
}

/** Looks whether something changed since the last time. */
export class Watch {
  readonly #sources: Sources
  readonly #listeners = new Set<Listener>()
  /** Unknown until a look succeeds. */
  #addresses: string | undefined
  #lookedAt = 0
  #slept = false
  #timer: ReturnType<typeof setInterval> | undefined

  constructor(sources: Sources = { addresses: addressesNow, now: Date.now }) {
    this.#sources = sources
  }

  /** Calls the listener after each change, until what this gives is called. */
  listen(listener: Listener): () => void {
    // Each is another listener, also where the function is the same.
    const own: Listener = (change) => listener(change)
    this.#listeners.add(own)
    if (this.#timer === undefined) {
      this.#addresses = this.#see()
      this.#lookedAt = this.#sources.now()
      this.#slept = false
      this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS)
      this.#timer.unref()
    }
    return () => {
      if (!this.#listeners.delete(own) || this.#listeners.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  look(): void {
    const now = this.#sources.now()
    // Somebody who sets the clock back has not slept, nor would it matter.
    this.#slept ||= now - this.#lookedAt - LOOK_EVERY_MS >= SLEPT_MS
    this.#lookedAt = now
    const addresses = this.#see()
    if (addresses === undefined) return
    const before = this.#addresses ?? addresses
    const change: Change | undefined = addresses !== before ? "addresses" : this.#slept ? "sleep" : undefined
    this.#addresses = addresses
    this.#slept = false
    if (change !== undefined) this.tell(change)
  }

  tell(change: Change): void {
    for (const listener of [...this.#listeners]) listener(change)
  }

  /** Where strangers hold all of this process's file handles the system does not tell; what changed is seen when one is free. */
  #see(): string | undefined {
    try {
      return this.#sources.addresses()
    } catch {
      return undefined
    }
  }
}

/** The watch of this process. */
export const watch = new Watch()
