/** `parley invite`: answers a request to be let into a private network. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as NetworkFolder from "@parley/agent/NetworkFolder"
import { fingerprint } from "@parley/core/NodeId"
import type * as Flags from "../Flags.ts"
import * as Input from "../Input.ts"
import * as OneNetwork from "../OneNetwork.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

export const run = Effect.fnUntraced(function* (options: Flags.Invite & Flags.Common) {
  const folder = yield* OneNetwork.folder(options)
  const lifetime = yield* Settings.time("expires", options.expires)
  const { expiresAt, invitation, node } = yield* NetworkFolder.invite(folder, yield* Input.text(options.request), {
    ...(yield* Settings.sealed(options)),
    ...(lifetime === undefined ? {} : { lifetimeMs: Duration.toMillis(lifetime) })
  })
  const until = expiresAt === undefined ? "" : `, until ${DateTime.formatIso(DateTime.makeUnsafe(expiresAt))}`
  yield* Output.note(options, `for ${node} (fingerprint ${fingerprint(node)}) and nobody else${until}`)
  yield* Output.result(
    options,
    { invitation, node, fingerprint: fingerprint(node), expiresAt: expiresAt ?? null },
    invitation
  )
})
