/** The DHT: whether a node of it answers. */
import * as Effect from "effect/Effect"
import { type Finding, of } from "./Finding.ts"
import type { Ground } from "./Ground.ts"

/** How long its nodes have to answer, in ms. */
const WAIT_MS = 4_000

export const check = ({ networkKey, options, perimeter }: Ground): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const { dht } = options
    const given = dht === undefined ? undefined : "length" in dht ? { bootstrap: dht } : dht
    const bootstrap = given?.bootstrap ?? []
    const isPublic = given !== undefined && "public" in given && given.public === true
    if (bootstrap.length === 0 && !isPublic) return []
    const where = [...bootstrap, ...(isPublic ? ["the public network's routers"] : [])].join(", ")
    const find = of("dht", `asking ${where}`)
    const advice = "start parley dht there, correct the address, or let UDP through on that port"
    const [Dht, Perimeter] = yield* Effect.promise(() =>
      Promise.all([import("@parley/discovery/Dht"), import("@parley/core/Perimeter")])
    )
    const known = Effect.scoped(
      Effect.gen(function* () {
        const node = yield* Dht.serve({
          bootstrap,
          public: isPublic,
          ...(networkKey === undefined || isPublic ? {} : { networkKey })
        })
        yield* Effect.timeoutOption(node.met, WAIT_MS)
        return node.known()
      })
    ).pipe(Effect.provideService(Perimeter.Perimeter, perimeter))
    return yield* Effect.match(known, {
      onFailure: (error) => [find("fail", "DhtUnusable", error.message, advice)],
      onSuccess: (count) =>
        count > 0
          ? [find("ok", "Dht", `${count} of its nodes ${count === 1 ? "is" : "are"} known after a moment`)]
          : [find("fail", "DhtUnreachable", `no node of the DHT answers at ${where}`, advice)]
    })
  })
