/**
 * RegistryKey: the key that a registry signs statements with. Made at its first start, and the same for all instances of one
 * database.
 */
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Identity from "@parley/core/Identity"
import { SEED_BYTES } from "@parley/core/Signature"
import { Store, type StoreError } from "./Store.ts"

/** The registry's identity. */
export const layer: Layer.Layer<Identity.Identity, StoreError, Store> = Layer.effect(
  Identity.Identity,
  Effect.gen(function* () {
    const store = yield* Store
    const stored = yield* store.putSecret("registry/key", randomBytes(SEED_BYTES).toString("base64url"))
    const seed = new Uint8Array(Buffer.from(stored, "base64url"))
    const identity = Identity.fromSeed(seed)
    seed.fill(0)
    return identity
  })
)
