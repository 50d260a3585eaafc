/**
 * Which of two connections between the same nodes stays. Both ends must come to the same answer without a word.
 */
import type { NodeId } from "../NodeId.ts"
import type { Connection } from "../Transport.ts"

/** Two connections of one pair made within this time count as dialled at once; later, the new one means a restart. */
export const SIMULTANEOUS_MS = 10_000

/**
 * Whether the older of two connections stays: a direct one against a relayed one; of two that one node dialled, the later;
 * of two that both dialled at once, the one of the smaller NodeId.
 */
export const keepsOld = (self: NodeId, old: Connection, fresh: Connection, apartMs: number): boolean => {
  if (old.state() !== "open") return false
  if (old.relayed !== fresh.relayed) return fresh.relayed
  if (old.direction === fresh.direction || apartMs > SIMULTANEOUS_MS) return false
  const dialler = old.direction === "outbound" ? self : old.peer
  return dialler < (dialler === self ? old.peer : self)
}
