/** The parts of the bench. Each is loaded when it is run, so that one which is broken breaks no other. */
import type { Part } from "./Part.ts"

/** A part that `npm run bench` runs, in this order: one line each. */
export const parts: { readonly [name: string]: () => Promise<Part> } = {
  routing: async () => (await import("./Routing.ts")).routing,
  dial: async () => (await import("./Dial.ts")).dial,
  idle: async () => (await import("./Idle.ts")).idle,
  relay: async () => (await import("./Relay.ts")).relay,
  start: async () => (await import("./Start.ts")).start,
  stream: async () => (await import("./Stream.ts")).stream,
  match: async () => (await import("./Match.ts")).match,
  ask: async () => (await import("./Ask.ts")).ask,
  reputation: async () => (await import("./Reputation.ts")).reputation,
  registry: async () => (await import("./Registry.ts")).registry
}

/** Parts that are run by name alone. */
export const extraParts: typeof parts = {
  soak: async () => (await import("./Soak.ts")).soak,
  compare: async () => (await import("./Compare.ts")).compare
}

/** Finds a part by its name. */
export const partOf = (name: string): (() => Promise<Part>) | undefined =>
  Object.hasOwn(parts, name) ? parts[name] : Object.hasOwn(extraParts, name) ? extraParts[name] : undefined
