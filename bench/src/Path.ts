/**
 * A way of asking and answering that is measured: both of its ends, each in a process of its own.
 */
import type { Load } from "./Load.ts"

/** What is asked, and sent back as it is. */
export interface Payload {
  readonly text: string
  readonly n: number
}

/** A payload of so many bytes as JSON. Throws `RangeError` where that is too few. */
export const payloadOf = (bytes: number): Payload => {
  const least = JSON.stringify({ text: "", n: 7 }).length
  if (bytes < least) throw new RangeError(`a payload has at least ${least} bytes, not ${bytes}`)
  return { text: "x".repeat(bytes - least), n: 7 }
}

/** The asking end, connected. */
export interface Asker {
  /** Keeps so many requests in flight until the load is over, and waits for the last answers. */
  readonly run: (inflight: number, load: Load) => Promise<void>
  /** One request, for loads that come by the clock (open loop). Paths without it are measured in a closed loop alone. */
  readonly once?: () => Promise<unknown>
}

/** What the whole path is set up for besides its payload; other paths have no use for it. */
export interface Setting {
  /** Capabilities of other agents that the asking node knows besides. */
  readonly known: number
  /** Agents that answer, all in one process. */
  readonly peers: number
  /** Callers run in a span, so that each call carries its trace. */
  readonly traced: boolean
  /** The address of a node through which those that answer are reached, instead of directly. */
  readonly relay?: string
}

/** What the goals are judged by, and what a path is set up for that is not told. */
export const usual: Setting = { known: 10_000, peers: 1, traced: true }

/** Both ends. They live as long as their process. */
export interface Path {
  /** Starts answering on loopback, and gives the address. */
  readonly answer: (bytes: number, setting?: Setting) => Promise<string>
  readonly ask: (address: string, bytes: number, setting?: Setting) => Promise<Asker>
}
