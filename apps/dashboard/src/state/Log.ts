/**
 * What has happened lately, as the registry's events told it.
 */
import { signal } from "@preact/signals"
import type { RegistryEvent } from "../api/Types.ts"

/** Most events kept for the log. */
export const MAX_EVENTS = 2_000
/** Seconds of the event rate that are kept. */
export const RATE_SECONDS = 300

/** Oldest first. */
export const events: Array<RegistryEvent> = []
/** Counts up when events come. */
export const logVersion = signal(0)
/** Events by second of arrival: `[second, count]`, oldest first. Counting began at `since`. */
export const rates: Array<[second: number, count: number]> = []
export const since = Math.floor(Date.now() / 1000)

let scheduled = false
const tell = (): void => {
  if (scheduled) return
  scheduled = true
  requestAnimationFrame(() => {
    scheduled = false
    logVersion.value++
  })
}

/** Takes an event that has just come. */
export const record = (event: RegistryEvent): void => {
  events.push(event)
  if (events.length > MAX_EVENTS + 200) events.splice(0, events.length - MAX_EVENTS)
  const second = Math.floor(Date.now() / 1000)
  const last = rates.at(-1)
  if (last?.[0] === second) last[1]++
  else rates.push([second, 1])
  while (rates.length > 0 && rates[0]![0] < second - RATE_SECONDS) rates.shift()
  tell()
}

/** Takes earlier events, oldest first, that were asked for. */
export const recordEarlier = (earlier: ReadonlyArray<RegistryEvent>): void => {
  const first = events[0]?.cursor ?? Infinity
  events.unshift(...earlier.filter(({ cursor }) => cursor < first))
  tell()
}

/** Takes an agent's, a task's or any text's mentions: what a filter looks at. */
export const textOf = (event: RegistryEvent): string => `${event.type} ${JSON.stringify(event.data)}`.toLowerCase()

export const clear = (): void => {
  events.length = 0
  tell()
}
