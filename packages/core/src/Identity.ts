/**
 * The key a node acts under. It signs; it never gives the secret away, nor prints it.
 */
import { randomBytes } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as KeyStore from "./KeyStore.ts"
import * as NodeId from "./NodeId.ts"
import * as Signature from "./Signature.ts"

const inspectCustom = Symbol.for("nodejs.util.inspect.custom")
const denoInspect = Symbol.for("Deno.customInspect")

/** Shows as its NodeId wherever it is printed; the secret lives in a closure that no property reaches. */
class KeyPair {
  readonly nodeId: NodeId.NodeId
  readonly publicKey: Uint8Array
  readonly #signer: (message: Uint8Array) => Uint8Array

  constructor(seed: Uint8Array) {
    this.publicKey = Signature.best.publicKey(seed)
    this.nodeId = NodeId.fromPublicKey(this.publicKey)
    this.#signer = Signature.best.signer(seed)
  }
  sign(message: Uint8Array): Uint8Array {
    return this.#signer(message)
  }
  toString(): string {
    return `Identity(${this.nodeId})`
  }
  toJSON(): string {
    return this.nodeId
  }
  [inspectCustom](): string {
    return this.toString()
  }
  [denoInspect](): string {
    return this.toString()
  }
}

/**
 * The node's identity: an Ed25519 key pair.
 *
 * `sign` signs the message as it is; records, receipts and handshakes sign through `SignedBytes`, so that one kind of
 * signature never passes for another.
 */
export class Identity extends Context.Service<
  Identity,
  {
    readonly nodeId: NodeId.NodeId
    /** 32 bytes. Do not write to them. */
    readonly publicKey: Uint8Array
    /** The 64-byte Ed25519 signature of the message. */
    readonly sign: (message: Uint8Array) => Uint8Array
  }
>()("@parley/core/Identity") {}

/** The identity of a 32-byte seed; throws a `RangeError` for another length. The seed is not kept: overwrite it if you like. */
export const fromSeed = (seed: Uint8Array): Identity["Service"] => {
  const pair = new KeyPair(seed)
  return pair
}

/** A new identity that lives as long as the process. */
export const generate = (): Identity["Service"] => fromSeed(new Uint8Array(randomBytes(Signature.SEED_BYTES)))

/** A new identity each time the layer is built: for tests, one-off commands and anonymous callers. */
export const layerEphemeral: Layer.Layer<Identity> = Layer.effect(Identity, Effect.sync(generate))

/** The identity of a given 32-byte seed. */
export const layerSeed = (seed: Uint8Array): Layer.Layer<Identity> =>
  Layer.effect(
    Identity,
    Effect.sync(() => fromSeed(seed))
  )

/** The identity of a key file (see `KeyStore`), which is created where there is none. `~` is the home folder. */
export const layerFile = (
  path: string,
  options: KeyStore.Options = {}
): Layer.Layer<Identity, KeyStore.KeyStoreError> =>
  Layer.effect(Identity, Effect.map(KeyStore.loadOrCreate(path, options), fromSeed))
