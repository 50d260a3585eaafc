/** `parley revoke`: puts a member out of a private network, or takes over revocations that were carried here. */
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as NetworkFolder from "@parley/agent/NetworkFolder"
import { parse } from "@parley/core/NodeId"
import { usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Input from "../Input.ts"
import * as OneNetwork from "../OneNetwork.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

export const run = Effect.fnUntraced(function* (options: Flags.Revoke & Flags.Common) {
  const folder = yield* OneNetwork.folder(options)
  const file = join(folder, "revocations.json")
  if (options.member.startsWith("@") || options.member === "-") {
    const newer = yield* NetworkFolder.takeOver(folder, yield* Input.text(options.member))
    return yield* Output.result(
      options,
      { file, newer },
      newer ? `took it over into ${file}` : "nothing new: what is known here is as new, or newer"
    )
  }
  const node = parse(options.member)
  if (node === undefined)
    return yield* usage(
      "BadNode",
      `${JSON.stringify(options.member)} is no NodeId: write z6Mk…, or @FILE or - for a list`
    )
  const list = yield* NetworkFolder.revoke(folder, node, yield* Settings.sealed(options))
  yield* Output.result(
    options,
    { file, number: list.number, revoked: list.revoked.map((one) => one.node) },
    `${node} is out (revocations number ${list.number}): members hear of it from whichever of them runs here, or of ${file}`
  )
})
