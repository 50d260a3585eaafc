/** The ways of asking and answering by name, each loaded when it is measured: none needs what another one needs. */
import type { Runtime } from "../../scripts/setup.mjs"
import { type RivalName, rivalNames, rivals } from "../rivals/Rivals.ts"
import type { Path } from "./Path.ts"

const own = {
  call: async () => (await import("./CallPath.ts")).callPath,
  session: async () => (await import("./SessionPath.ts")).sessionPath,
  echo: async () => (await import("./EchoPath.ts")).echoPath,
  aesEcho: async () => (await import("./EchoPath.ts")).aesEchoPath,
  aesRecords: async () => (await import("./EchoPath.ts")).aesRecordsPath
}

export type PathName = keyof typeof own | RivalName

/** What each is called in tables. */
const labels: { readonly [Name in keyof typeof own]: string } = {
  call: "Parley, the whole path",
  session: "Parley's session alone",
  echo: "bare TCP echo",
  aesEcho: "AES-GCM echo, each frame",
  aesRecords: "AES-GCM echo, each write"
}

const isOwn = (name: PathName): name is keyof typeof own => Object.hasOwn(own, name)

export const pathNames: ReadonlyArray<PathName> = [
  ...(Object.keys(own) as ReadonlyArray<keyof typeof own>),
  ...rivalNames
]

export const labelOf = (name: PathName): string => (isOwn(name) ? labels[name] : rivals[name].label)

/** Whether others on the way can read what is asked. */
export const isPlain = (name: PathName): boolean => (isOwn(name) ? name === "echo" : rivals[name].wire === "plain")

/** Whether it needs packages that the bench installs when they are first asked for; effect/rpc comes with Effect. */
export const isInstalledApart = (name: PathName): boolean => !isOwn(name) && name !== "effect-rpc"

/** Why it cannot run here; undefined where it can. */
export const unavailable = (name: PathName, runtime: Runtime): string | undefined =>
  isOwn(name) ? undefined : rivals[name].unavailable(runtime)

export const loadPath = (name: PathName): Promise<Path> => (isOwn(name) ? own[name]() : rivals[name].load())
