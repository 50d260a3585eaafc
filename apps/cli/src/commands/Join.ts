/** `parley join`: asks to be let into a private network, or joins it with the answer. */
import * as Effect from "effect/Effect"
import * as NetworkFolder from "@parley/agent/NetworkFolder"
import { fingerprint } from "@parley/core/NodeId"
import type * as Flags from "../Flags.ts"
import * as Input from "../Input.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

export const run = Effect.fnUntraced(function* (options: Flags.Join & Flags.Common) {
  const sealed = yield* Settings.sealed(options)
  if (options.invitation === undefined) {
    const { node, request } = yield* NetworkFolder.ask(Settings.networks(), sealed)
    yield* Output.note(
      options,
      `${node} (fingerprint ${fingerprint(node)}) asks to be let in: have this answered with parley invite`
    )
    return yield* Output.result(options, { request, node, fingerprint: fingerprint(node) }, request)
  }
  const invitation = yield* Input.text(options.invitation)
  const { folder, name, node, root } = yield* NetworkFolder.accept(Settings.networks(), invitation, sealed)
  yield* Output.result(
    options,
    { network: name, folder, node, root: root ?? null },
    `joined ${name} as ${node}${root === undefined ? "" : `\nroot ${root} (fingerprint ${fingerprint(root)})`}`
  )
})
