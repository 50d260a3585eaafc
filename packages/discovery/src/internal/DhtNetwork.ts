/** Where a network's things stand in the DHT: hashes that only depend on the network and on what is looked for. */
import { createHash, hkdfSync } from "node:crypto"

/** The network of all who give none. */
export const DEFAULT_NETWORK = "parley"
/** Longest name of a network, in characters. */
export const MAX_NETWORK_LENGTH = 128

/** The hashes of one network. */
export interface DhtNetwork {
  /** Where nodes that serve a capability announce themselves: 20 bytes. Without a name: where all nodes of the network do. */
  readonly infoHash: (capability: string | undefined) => Buffer
  /** The salt of the items of this network, so that one key can be in several: 16 bytes. */
  readonly salt: Buffer
  /** Where the item of a key stands: 20 bytes (BEP 44). */
  readonly target: (publicKey: Uint8Array) => Buffer
}

const sha1 = (...parts: ReadonlyArray<string | Uint8Array>): Buffer => {
  const hash = createHash("sha1")
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** The network of a name. A line feed parts network and capability: neither can hold one. */
export const named = (name: string): DhtNetwork => {
  const salt = createHash("sha256").update(`parley/dht/item/1\n${name}`).digest().subarray(0, 16)
  return {
    infoHash: (capability) => sha1(`parley/dht/announce/1\n${name}\n${capability ?? ""}`),
    salt,
    target: (publicKey) => sha1(publicKey, salt)
  }
}

/** The network of those who hold a key: nobody else can tell which hash stands for what. */
export const keyed = (networkKey: Uint8Array): DhtNetwork =>
  named(Buffer.from(hkdfSync("sha256", networkKey, new Uint8Array(0), "parley/dht/network/1", 32)).toString("hex"))
