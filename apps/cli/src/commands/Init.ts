/** `parley init`: makes a key file, or a network key. */
import { existsSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as NetworkKey from "@parley/agent/NetworkKey"
import * as Identity from "@parley/core/Identity"
import * as KeyStore from "@parley/core/KeyStore"
import * as NodeId from "@parley/core/NodeId"
import type * as Flags from "../Flags.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

export const run = Effect.fnUntraced(function* (options: Flags.Init & Flags.Common) {
  if (options.networkKey !== undefined) {
    const path = KeyStore.expand(options.networkKey)
    yield* NetworkKey.create(path)
    return yield* Output.result(
      options,
      { networkKey: path },
      `made the network key ${path}: give it to every node of the network, over a channel you trust`
    )
  }
  const path = KeyStore.expand(Settings.identityFile(options))
  const secret = yield* Settings.passphrase(options)
  const existed = existsSync(path)
  const seed = yield* KeyStore.loadOrCreate(path, secret === undefined ? {} : { passphrase: Redacted.make(secret) })
  const { nodeId } = Identity.fromSeed(seed)
  seed.fill(0)
  const fingerprint = NodeId.fingerprint(nodeId)
  yield* Output.result(
    options,
    { nodeId, did: NodeId.toDid(nodeId), fingerprint, path, made: !existed },
    `${nodeId}\nfingerprint ${fingerprint}\n${existed ? "kept the key file" : "made the key file"} ${path}`
  )
})
