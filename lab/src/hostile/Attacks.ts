/** Every attack of the lab, by name. */
import type { Attack } from "./Attack.ts"
import { storm, sybils } from "./Gossip.ts"
import { babble, queryFlood, recordFlood } from "./Records.ts"
import { crowd, nonsense, slowLoris } from "./Sockets.ts"

export const attacks: { readonly [name: string]: Attack } = {
  "slow-loris": slowLoris,
  crowd,
  nonsense,
  records: recordFlood,
  queries: queryFlood,
  babble,
  sybils,
  storm
}
