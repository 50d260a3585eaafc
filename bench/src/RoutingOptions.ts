/** What the `routing` part understands. */
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import { listOf, numberOf, oneOf, runtimesOf } from "./OptionValues.ts"
import { payloadOf, type Setting, usual } from "./Path.ts"
import { type PathName, pathNames } from "./Paths.ts"

/** What is measured, in this order. */
export const sections = ["rivals", "known", "matrix", "paced", "stages"] as const
export type Section = (typeof sections)[number]

export const help = `bench routing: calls between two processes on loopback, beside everything else that carries requests

  --only rivals,known,matrix,paced,stages
                        what is measured (default: all)
                          rivals  every rival and ceiling in turn
                          known   10 known capabilities beside 100,000
                          matrix  runtimes, requests in flight, sizes, peers, a relay and known capabilities, one at a time
                          paced   an open loop at 25, 50 and 75 % of what the closed one does
                          stages  where the time of one call goes, by CPU profiles
  --runtime bun,deno    runtimes (default: both)
  --inflight 64,1       requests in flight, beside the rivals (default: 64,1)
  --paths call,nats     who takes part beside the rivals (default: all)
  --pairs N             rounds, each with everyone (default: 5)
  --seconds S           length of each measurement (default: 0.5)
  --bytes N             payload as JSON (default: 128)
  --profile DIR         writes CPU profiles of the whole path there, and prints its hottest functions`

export interface Options {
  readonly only: ReadonlyArray<Section>
  readonly runtimes: ReadonlyArray<Runtime>
  readonly inflight: ReadonlyArray<number>
  readonly paths: ReadonlyArray<PathName>
  readonly pairs: number
  readonly seconds: number
  readonly bytes: number
  readonly profile: string | undefined
  readonly setting: Setting
}

const leastBytes = JSON.stringify({ ...payloadOf(32), text: "" }).length

export const optionsOf = (args: ReadonlyArray<string>, brief: boolean): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: brief ? "rivals,known,paced" : sections.join(",") },
      runtime: { type: "string", default: "bun,deno" },
      inflight: { type: "string", default: brief ? "8" : "64,1" },
      paths: { type: "string", default: pathNames.join(",") },
      pairs: { type: "string", default: brief ? "2" : "5" },
      seconds: { type: "string", default: brief ? "0.05" : "0.5" },
      bytes: { type: "string", default: "128" },
      profile: { type: "string" }
    }
  })
  const paths = listOf(values.paths).map((name) => oneOf("paths", name, pathNames))
  return {
    only: listOf(values.only).map((name) => oneOf("only", name, sections)),
    runtimes: runtimesOf(values.runtime),
    inflight: listOf(values.inflight).map((text) => numberOf("inflight", text, 1, true)),
    // Everyone is compared with the whole path.
    paths: paths.includes("call") ? paths : ["call", ...paths],
    pairs: numberOf("pairs", values.pairs, 1, true),
    seconds: numberOf("seconds", values.seconds, 0.01, false),
    bytes: numberOf("bytes", values.bytes, leastBytes, true),
    profile: values.profile,
    // Signing ten thousand records takes longer than everything else that is brief.
    setting: brief ? { ...usual, known: 100 } : usual
  }
}
