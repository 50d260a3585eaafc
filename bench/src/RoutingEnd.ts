/**
 * One end of a path, in a process of its own: `RoutingEnd.ts PATH answer BYTES` or `RoutingEnd.ts PATH ask BYTES ADDRESS`. It
 * says that it is ready, does what it reads line by line, and ends with its input.
 */
import { createInterface } from "node:readline"
import { callPath, KNOWN_CAPABILITIES } from "./CallPath.ts"
import { echoPath } from "./EchoPath.ts"
import { Load, type Run } from "./Load.ts"
import type { Path } from "./Path.ts"
import { type Hot, Profile } from "./Profile.ts"
import { sessionPath } from "./SessionPath.ts"

/** What is measured, the whole path first. */
export const paths: { readonly call: Path; readonly session: Path; readonly echo: Path } = {
  call: callPath,
  session: sessionPath,
  echo: echoPath
}
export type PathName = keyof typeof paths

/** The first line of an end. */
export interface Ready {
  readonly address: string
  readonly known: number
}

/** What an end is told; each is answered by one line. */
export type Order =
  /** Answered by a `Run`; for the asking end. */
  | { readonly _tag: "Run"; readonly inflight: number; readonly seconds: number }
  /** Answered by a `Cpu`. */
  | { readonly _tag: "Cpu" }
  /** Answered by null. */
  | { readonly _tag: "StartProfile" }
  /** Answered by a list of `Hot`. */
  | { readonly _tag: "StopProfile"; readonly file: string }

/** What the process has used so far. */
export interface Cpu {
  readonly micros: number
}

const [name, role, bytes, to] = process.argv.slice(2)
const path = paths[name as PathName]
const size = Number(bytes)
const asker = role === "ask" ? await path.ask(to!, size) : undefined
const address = role === "answer" ? await path.answer(size) : to!
const say = (line: Ready | Run | Cpu | ReadonlyArray<Hot> | null) => process.stdout.write(`${JSON.stringify(line)}\n`)

let profile: Profile | undefined
const obey = async (order: Order): Promise<Run | Cpu | ReadonlyArray<Hot> | null> => {
  switch (order._tag) {
    case "Run": {
      const load = new Load(order.seconds)
      await asker!.run(order.inflight, load)
      return load.run()
    }
    case "Cpu": {
      const { system, user } = process.cpuUsage()
      return { micros: system + user }
    }
    case "StartProfile":
      profile = new Profile()
      await profile.start()
      return null
    case "StopProfile":
      return profile!.stop(order.file)
  }
}

say({ address, known: name === "call" ? KNOWN_CAPABILITIES : 0 })
for await (const line of createInterface({ input: process.stdin })) say(await obey(JSON.parse(line) as Order))
process.exit(0)
