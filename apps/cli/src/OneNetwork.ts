/**
 * Which network a command is about that keeps one: the one that is named, or the only one here.
 */
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as NetworkFolder from "@parley/agent/NetworkFolder"
import { type UsageError, usage } from "./Failure.ts"
import type * as Flags from "./Flags.ts"
import * as Settings from "./Settings.ts"

/** Its folder. */
export const folder = (options: Pick<Flags.Joining, "network">): Effect.Effect<string, UsageError> =>
  Effect.flatMap(Settings.network(options), (named) => {
    if (named !== undefined) return Effect.succeed(named)
    const names = NetworkFolder.list(Settings.networks())
    const [only] = names
    if (only !== undefined && names.length === 1) return Effect.succeed(join(Settings.networks(), only))
    const here = names.length === 0 ? "there is none here" : `there are ${names.join(", ")}`
    return Effect.fail(usage("WhichNetwork", `which network? ${here}: say --network NAME`))
  })
