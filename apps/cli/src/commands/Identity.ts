/** `parley id`, `pubkey` and `fingerprint`: who the key file, or a NodeId, is. */
import * as Effect from "effect/Effect"
import * as Identity from "@parley/core/Identity"
import * as KeyStore from "@parley/core/KeyStore"
import * as NodeId from "@parley/core/NodeId"
import { usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

/** The NodeId of the key file. */
export const own = Effect.fnUntraced(function* (options: Flags.Key & Pick<Flags.Joining, "network">) {
  const path = yield* Settings.ownFile(options)
  const seed = yield* Effect.mapError(KeyStore.load(path, yield* Settings.sealed(options)), (error) =>
    error.reason._tag === "Io" && error.reason.code === "ENOENT"
      ? usage("NoIdentity", `there is no key file ${path}: make one with parley init, or name another with --identity`)
      : error
  )
  const { nodeId } = Identity.fromSeed(seed)
  seed.fill(0)
  return { nodeId, path }
})

export const run = Effect.fnUntraced(function* (
  options: Flags.Identity & Flags.Common & { readonly show: "id" | "pubkey" | "fingerprint" }
) {
  const given = options.node === undefined ? undefined : NodeId.parse(options.node)
  if (options.node !== undefined && given === undefined) {
    return yield* usage(
      "BadNodeId",
      `${JSON.stringify(options.node)} is no NodeId: it begins with z6Mk or did:key:z6Mk`
    )
  }
  const { nodeId, path } = given === undefined ? yield* own(options) : { nodeId: given, path: undefined }
  const publicKey = Buffer.from(NodeId.toPublicKey(nodeId)).toString("hex")
  const fingerprint = NodeId.fingerprint(nodeId)
  yield* Output.result(
    options,
    { nodeId, did: NodeId.toDid(nodeId), publicKey, fingerprint, ...(path === undefined ? {} : { path }) },
    { id: nodeId, pubkey: publicKey, fingerprint }[options.show]
  )
})
