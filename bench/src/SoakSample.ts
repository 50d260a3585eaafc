/** What a node of a soak holds at a moment. */
import * as Effect from "effect/Effect"
import type { Node } from "@parley/core/Node"

export interface Sample {
  /** Resident bytes, after a garbage collection. */
  readonly rss: number
  /** Bytes of live objects. */
  readonly heap: number
  readonly connections: number
  readonly streams: number
  readonly records: number
  readonly trust: number
  readonly circuits: number
  /** Tasks that it runs or keeps waiting. */
  readonly tasks: number
}

const { Bun, gc } = globalThis as unknown as {
  readonly Bun?: { readonly gc: (force: boolean) => void }
  readonly gc?: () => void
}

/** Collects garbage, and counts what is left. */
export const sample = async (node: Node["Service"]): Promise<Sample> => {
  Bun?.gc(true)
  gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const { known, openCircuits, serving, trust } = await Effect.runPromise(node.status)
  const connections = node.connections.list()
  return {
    rss,
    heap: heapUsed,
    connections: connections.length,
    streams: connections.reduce((sum, connection) => sum + connection.streams(), 0),
    records: known.records,
    trust: trust.length,
    circuits: openCircuits.length,
    tasks: serving.reduce((sum, { running, waiting }) => sum + running + waiting, 0)
  }
}
