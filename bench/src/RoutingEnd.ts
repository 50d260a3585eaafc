/**
 * One end of a path, in a process of its own: `RoutingEnd.ts SPEC`, the spec as JSON. It says that it is ready, does what it
 * reads line by line, and ends with its input.
 */
import { readFileSync } from "node:fs"
import { createInterface } from "node:readline"
import { Load, type Run } from "./Load.ts"
import { pace } from "./Pace.ts"
import type { Asker, Setting } from "./Path.ts"
import { loadPath, type PathName } from "./Paths.ts"
import { type Hot, Profile } from "./Profile.ts"

/** What an end is. */
export type EndSpec =
  | { readonly role: "answer"; readonly path: PathName; readonly bytes: number; readonly setting: Setting }
  | {
      readonly role: "ask"
      readonly path: PathName
      readonly bytes: number
      readonly setting: Setting
      readonly address: string
    }
  /** A node that forwards for others. */
  | { readonly role: "relay" }

/** The first line of an end. */
export interface Ready {
  readonly address: string
}

/** What an end is told; each is answered by one line. */
export type Order =
  /** Answered by a `Run`; for the asking end. */
  | { readonly _tag: "Run"; readonly inflight: number; readonly seconds: number }
  /** So many requests a second, by the clock. Answered by a `Run`; for the asking end. */
  | { readonly _tag: "Pace"; readonly perSecond: number; readonly seconds: number }
  /** Answered by a `Cpu`. */
  | { readonly _tag: "Cpu" }
  /** Answered by null. */
  | { readonly _tag: "StartProfile" }
  /** Answered by a list of `Hot`. */
  | { readonly _tag: "StopProfile"; readonly file: string }

/** CPU time that the process has used so far, in microseconds. */
export interface Cpu {
  /** All its threads together. */
  readonly micros: number
  /** The thread that runs JavaScript; undefined where the system does not say. */
  readonly main?: number | undefined
}

/** Linux tells the nanoseconds of each thread. */
const mainMicros = (): number | undefined => {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1_000
  } catch {
    return undefined
  }
}

const say = (line: Ready | Run | Cpu | ReadonlyArray<Hot> | null) => process.stdout.write(`${JSON.stringify(line)}\n`)

let profile: Profile | undefined
const obey = async (order: Order, asker: Asker | undefined): Promise<Run | Cpu | ReadonlyArray<Hot> | null> => {
  switch (order._tag) {
    case "Run": {
      const load = new Load(order.seconds)
      await asker!.run(order.inflight, load)
      return load.run()
    }
    case "Pace": {
      const load = new Load(order.seconds)
      await pace(asker!, order.perSecond, load)
      return load.run()
    }
    case "Cpu": {
      const { system, user } = process.cpuUsage()
      return { micros: system + user, main: mainMicros() }
    }
    case "StartProfile":
      profile = new Profile()
      await profile.start()
      return null
    case "StopProfile":
      return profile!.stop(order.file)
  }
}

const start = async (spec: EndSpec): Promise<readonly [string, Asker | undefined]> => {
  if (spec.role === "relay") return [await (await import("./RelayNode.ts")).relayNode(), undefined]
  const { bytes, path: name, role, setting } = spec
  const path = await loadPath(name)
  if (role === "answer") return [await path.answer(bytes, setting), undefined]
  return [spec.address, await path.ask(spec.address, bytes, setting)]
}

const [address, asker] = await start(JSON.parse(process.argv[2]!) as EndSpec)
say({ address })
for await (const line of createInterface({ input: process.stdin })) say(await obey(JSON.parse(line) as Order, asker))
process.exit(0)
