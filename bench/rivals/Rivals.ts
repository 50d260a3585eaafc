/**
 * What people would use instead of Parley. Each is loaded when it is asked for: this module itself needs none of their packages.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { areRivalsInstalled, ensureRivalsInstalled, root, type Runtime } from "../../scripts/setup.mjs"
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

const readVersion = (directory: string, name: string): string => {
  const file = join(directory, "node_modules", name, "package.json")
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version
}

const versionOf = (name: string): string | undefined =>
  areRivalsInstalled() ? readVersion(join(root, "bench", "rivals"), name) : undefined

const uninstalled = (): string | undefined =>
  areRivalsInstalled() ? undefined : "bench/rivals/node_modules is missing or not as its lock file says"

export type RivalName = "nats" | "effect-rpc" | "grpc" | "libp2p-stream" | "libp2p-streams" | "a2a"

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
  },
  "effect-rpc": {
    label: "effect/rpc, TCP",
    wire: "plain",
    // Effect is Parley's own, and so are its sockets.
    version: () => readVersion(root, "effect"),
    unavailable: () => undefined,
    load: async () => (await import("./EffectRpc.ts")).default
  },
  grpc: {
    label: "gRPC, unary",
    wire: "plain",
    version: () => versionOf("@grpc/grpc-js"),
    unavailable: uninstalled,
    load: async () => (await import("./Grpc.ts")).default
  },
  "libp2p-stream": {
    label: "js-libp2p, one stream",
    wire: "encrypted",
    version: () => versionOf("libp2p"),
    unavailable: uninstalled,
    load: async () => (await import("./Libp2pStream.ts")).default
  },
  "libp2p-streams": {
    label: "js-libp2p, a stream each",
    wire: "encrypted",
    version: () => versionOf("libp2p"),
    unavailable: uninstalled,
    load: async () => (await import("./Libp2pStreams.ts")).default
  },
  a2a: {
    label: "A2A SDK, JSON-RPC",
    wire: "plain",
    version: () => versionOf("@a2a-js/sdk"),
    unavailable: uninstalled,
    load: async () => (await import("./A2a.ts")).default
  }
}

/** Their names, in the order of a table. */
export const rivalNames = Object.keys(rivals) as ReadonlyArray<RivalName>

/** Installs their packages where they are missing. Where that fails the bench goes on without them, and it is said why. */
export const installRivals = (say: (text: string) => void): void => {
  try {
    ensureRivalsInstalled()
  } catch (error) {
    say(`bench: ${error instanceof Error ? error.message : String(error)}`)
  }
}
