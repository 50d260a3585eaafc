/** `parley init`: makes a key file, a private network, or a network key. */
import { existsSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as NetworkFolder from "@parley/agent/NetworkFolder"
import * as NetworkKey from "@parley/agent/NetworkKey"
import * as Identity from "@parley/core/Identity"
import * as KeyStore from "@parley/core/KeyStore"
import * as NodeId from "@parley/core/NodeId"
import { usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

export const run = Effect.fnUntraced(function* (options: Flags.Init & Flags.Common) {
  if (options.network !== undefined) {
    if (options.networkKey !== undefined || options.identity !== undefined)
      return yield* usage("TwoKinds", "--network makes keys of its own: leave out --network-key and --identity")
    const made = yield* NetworkFolder.init(Settings.networks(), options.network, {
      root: !options.noRoot,
      ...(yield* Settings.sealed(options))
    })
    const root = made.root === undefined ? "without a root: nobody can be put out" : `root ${made.root}`
    return yield* Output.result(
      options,
      { network: made.name, folder: made.folder, node: made.node, root: made.root ?? null },
      `made the network ${made.name} in ${made.folder}\nmember ${made.node}\n${root}`
    )
  }
  if (options.noRoot) return yield* usage("NoNetwork", "--no-root is for --network NAME")
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
  const existed = existsSync(path)
  const seed = yield* KeyStore.loadOrCreate(path, yield* Settings.sealed(options))
  const { nodeId } = Identity.fromSeed(seed)
  seed.fill(0)
  const fingerprint = NodeId.fingerprint(nodeId)
  yield* Output.result(
    options,
    { nodeId, did: NodeId.toDid(nodeId), fingerprint, path, made: !existed },
    `${nodeId}\nfingerprint ${fingerprint}\n${existed ? "kept the key file" : "made the key file"} ${path}`
  )
})
