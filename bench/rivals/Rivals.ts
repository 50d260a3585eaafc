/**
 * What people would use instead of Parley. Each is loaded when it is asked for: this module itself needs none of their packages.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { areRivalsInstalled, root, type Runtime } from "../../scripts/setup.mjs"
import type { Path } from "../src/Path.ts"
import { natsServerVersion } from "./NatsServer.ts"

/** One of them. */
export interface Rival {
  /** As it is called in a table. */
  readonly label: string
  /** What goes over the wire, and whether others on the way can read it. */
  readonly wire: "plain" | "encrypted"
  /** The version that is installed; undefined where none is. */
  readonly version: () => string | undefined
  /** Why it cannot run here on this runtime; undefined where it can. */
  readonly unavailable: (runtime: Runtime) => string | undefined
  readonly load: () => Promise<Path>
}

const versionOf = (name: string): string | undefined => {
  if (!areRivalsInstalled()) return undefined
  const file = join(root, "bench/rivals/node_modules", name, "package.json")
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version
}

const uninstalled = (): string | undefined =>
  areRivalsInstalled() ? undefined : "bench/rivals/node_modules is missing or not as its lock file says"

export type RivalName = "nats"

/** All of them, by the names that they have on a command line. */
export const rivals: { readonly [Name in RivalName]: Rival } = {
  nats: {
    label: "NATS request-reply",
    wire: "plain",
    version: () => {
      const [client, server] = [versionOf("@nats-io/transport-node"), natsServerVersion()]
      return client && server && `${client}, nats-server ${server}`
    },
    unavailable: () =>
      natsServerVersion() === undefined ? "nats-server is not installed (apt-get install nats-server)" : uninstalled(),
    load: async () => (await import("./Nats.ts")).default
  }
}

/** Their names, in the order of a table. */
export const rivalNames = Object.keys(rivals) as ReadonlyArray<RivalName>
