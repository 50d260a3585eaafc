/** What a session is made of: what a handshake left behind, and whom it serves. */
import type { NodeId } from "@parley/core/NodeId"
import type { Address, Connection, Stream, StreamHandler } from "@parley/core/Transport"
import type { CipherState } from "../CipherState.ts"
import type { SessionLimits } from "../Limits.ts"
import type { Budget } from "./Budget.ts"
import type { ByteLink } from "./ByteLink.ts"
import type * as Settings from "./Settings.ts"
import type { Sweeper } from "./Sweeper.ts"

/** Whom a session serves. */
export interface SessionOwner {
  readonly onStream: (connection: Connection, protocol: number, stream: Stream) => StreamHandler | undefined
  readonly onClosed: (connection: Connection, why: string) => void
}

/** What a handshake left behind, and where. */
export interface SessionOptions {
  readonly link: ByteLink
  readonly send: CipherState
  readonly receive: CipherState
  readonly peer: NodeId
  readonly address: Address
  readonly direction: "outbound" | "inbound"
  readonly relayed: boolean
  /** The largest frame the peer takes, header included. */
  readonly peerMaxFrame: number
  readonly peerSettings: Settings.Settings
  readonly limits: SessionLimits
  /** What all sessions of the node share: the memory they may hold, without bound where absent, and their timer. */
  readonly budget?: Budget
  readonly sweeper?: Sweeper
  readonly owner: SessionOwner
  /** Goes out before the first record, in the same write. */
  readonly prefix: Uint8Array | undefined
}
