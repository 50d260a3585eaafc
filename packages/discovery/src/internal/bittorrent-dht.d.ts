/** The parts of `bittorrent-dht` and `k-rpc` that are used here; neither brings types. */

declare module "k-rpc" {
  import type { EventEmitter } from "node:events"

  /** A node of the routing table. */
  export interface Contact {
    readonly id: Buffer
    readonly host: string
    readonly port: number
  }

  /** The routing table. */
  export interface Table extends EventEmitter {
    closest(target: Uint8Array, count?: number): Array<Contact>
    get(id: Uint8Array): Contact | null
    remove(id: Uint8Array): void
    toArray(): Array<Contact>
    count(): number
  }

  export interface Rpc extends EventEmitter {
    readonly id: Buffer
    readonly nodes: Table
    readonly k: number
  }

  export default function krpc(options: {
    readonly krpcSocket: EventEmitter
    readonly bootstrap: ReadonlyArray<{ readonly host: string; readonly port: number }>
    readonly k: number
    readonly concurrency: number
  }): Rpc
}

declare module "bittorrent-dht" {
  import type { EventEmitter } from "node:events"
  import type { Rpc } from "k-rpc"

  export default class DHT extends EventEmitter {
    constructor(options: {
      readonly krpc: Rpc
      /** Asks nobody by itself when it starts. */
      readonly bootstrap: false
      readonly verify: (signature: Buffer, message: Buffer, publicKey: Buffer) => boolean
      readonly maxValues: { readonly max: number; readonly maxAge: number }
      readonly maxPeers: number
      readonly maxAge: number
    })
    listen(port: number, host: string, done: () => void): void
    destroy(done: () => void): void
  }
}
