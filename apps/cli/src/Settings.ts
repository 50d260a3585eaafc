/**
 * The command line and the environment as options of a node.
 *
 * A command that asks acts under a new key each time, unless `--identity` names one: a peer takes a second connection of the
 * same key for a restart and drops the first, so two commands at once need two keys.
 */
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { homedir } from "node:os"
import { join, resolve } from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { MAX_NAME_LENGTH } from "@parley/core/AgentRecord"
import * as KeyStore from "@parley/core/KeyStore"
import { type NodeId, parse } from "@parley/core/NodeId"
import type { Address } from "@parley/core/Transport"
import { type UsageError, usage } from "./Failure.ts"
import type * as Flags from "./Flags.ts"

const environment = (name: string): string | undefined => {
  const value = process.env[name]
  return value === undefined || value === "" ? undefined : value
}

/** Where keys and trust are kept: `PARLEY_HOME`, or `~/.parley`. */
export const home = (): string => resolve(environment("PARLEY_HOME") ?? join(homedir(), ".parley"))

/** The key file of what runs for long: `--identity`, `PARLEY_IDENTITY`, or `identity.json` at home. */
export const identityFile = (options: Flags.Key, name = "identity.json"): string =>
  options.identity ?? environment("PARLEY_IDENTITY") ?? join(home(), name)

/** The key file of a node that stays: in a private network its member's there, unless another one is named. */
export const ownFile = (
  options: Flags.Key & Pick<Flags.Joining, "network">,
  name?: string
): Effect.Effect<string, UsageError> =>
  Effect.map(network(options), (folder) =>
    KeyStore.expand(
      folder !== undefined && options.identity === undefined
        ? join(folder, "identity.json")
        : identityFile(options, name)
    )
  )

/** The file that keeps trust. */
export const trustFile = (options: Pick<Flags.Joining, "trust">): string => options.trust ?? join(home(), "trust.json")

/** The passphrase of the key file, from `--passphrase-file` or `PARLEY_PASSPHRASE`. */
export const passphrase = (options: Pick<Flags.Key, "passphraseFile">): Effect.Effect<string | undefined, UsageError> =>
  firstLine("passphrase", options.passphraseFile, "PARLEY_PASSPHRASE")

/** The same, as what opens or seals a key file. */
export const sealed = (
  options: Pick<Flags.Key, "passphraseFile">
): Effect.Effect<{ readonly passphrase?: Redacted.Redacted<string> }, UsageError> =>
  Effect.map(passphrase(options), (secret) => (secret === undefined ? {} : { passphrase: Redacted.make(secret) }))

/** A secret: the first line of a file, or an environment variable. */
const firstLine = (
  what: string,
  path: string | undefined,
  variable: string
): Effect.Effect<string | undefined, UsageError> =>
  Effect.suspend(() => {
    if (path === undefined) return Effect.succeed(environment(variable))
    try {
      return Effect.succeed(fs.readFileSync(path, "utf8").split(/\r?\n/)[0])
    } catch (cause) {
      const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : String(cause)
      return Effect.fail(usage("BadFile", `cannot read the ${what} file ${resolve(path)} (${code}): check the path`))
    }
  })

/** AgentMesh's shared secret, from `--secret-file` or `AGENT_SECRET`. */
export const agentSecret = (options: Pick<Flags.Bridge, "secretFile">): Effect.Effect<string | undefined, UsageError> =>
  firstLine("secret", options.secretFile, "AGENT_SECRET")

/** What was given on the command line, or the comma-separated words of an environment variable. */
const list = (given: ReadonlyArray<string>, variable: string): ReadonlyArray<string> =>
  given.length > 0
    ? given
    : (environment(variable) ?? "")
        .split(",")
        .map((word) => word.trim())
        .filter((word) => word !== "")

/** Trackers, from `--tracker` or `PARLEY_TRACKER`. */
export const trackers = (options: Pick<Flags.Joining, "tracker">): ReadonlyArray<string> =>
  list(options.tracker, "PARLEY_TRACKER")

/** Peers, from `--peer` or `PARLEY_PEER`. */
export const peers = (options: Pick<Flags.Joining, "peer">): ReadonlyArray<string> => list(options.peer, "PARLEY_PEER")

/** Nodes of an own DHT, from `--dht` or `PARLEY_DHT`. */
export const dht = (options: Pick<Flags.Joining, "dht">): Effect.Effect<ReadonlyArray<string>, UsageError> => {
  const given = list(options.dht, "PARLEY_DHT")
  const wrong = given.find((at) => !/^[A-Za-z0-9._-]{1,253}:\d{1,5}$/.test(at))
  return wrong === undefined
    ? Effect.succeed(given)
    : Effect.fail(usage("BadDht", `--dht ${JSON.stringify(wrong)} is no DHT node: write host:port, IPv4 or a name`))
}

/** What nodes of this command can dial: `tcp://host:port`, with who is there or without, or a relayed address. */
const isAddress = (word: string): boolean => {
  if (/^relay:\/\/[^/\s]+:\d{1,5}\/[!-~]+$/.test(word)) return true
  const [, node] = /^tcp:\/\/[^/\s]+:\d{1,5}(?:\/([!-~]+))?$/.exec(word) ?? [undefined, ""]
  return node === undefined || parse(node) !== undefined
}

const addresses = (flag: string, words: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Address>, UsageError> => {
  const wrong = words.find((word) => !isAddress(word))
  const form = "write tcp://host:port or tcp://host:port/z6Mk…"
  return wrong === undefined
    ? Effect.succeed(words)
    : Effect.fail(usage("Malformed", `--${flag} ${JSON.stringify(wrong)} is no address: ${form}`))
}

/** Addresses to publish, where any are given. */
export const advertise = (
  options: Pick<Flags.Listening, "advertise">
): Effect.Effect<{ readonly advertise?: ReadonlyArray<Address> }, UsageError> =>
  options.advertise.length === 0
    ? Effect.succeed({})
    : Effect.map(addresses("advertise", options.advertise), (advertise) => ({ advertise }))

/** Whom a word names, a NodeId or an address; `before` says where it stood. */
export const target = (word: string, before = ""): Effect.Effect<NodeId | Address, UsageError> => {
  const node = parse(word)
  if (node !== undefined || isAddress(word)) return Effect.succeed(node ?? word)
  const detail = "is neither a NodeId (z6Mk…) nor an address (tcp://host:port): parley peers lists both by name"
  return Effect.fail(usage("BadNode", `${before}${JSON.stringify(word)} ${detail}`))
}

/** Whether the local network is searched. */
export const usesMdns = (options: Pick<Flags.Joining, "noMdns">): boolean =>
  !options.noMdns && environment("PARLEY_NO_MDNS") === undefined

/** The network key's file, from `--network-key` or `PARLEY_NETWORK_KEY`. */
export const networkKey = (options: Pick<Flags.Joining, "networkKey">): string | undefined =>
  options.networkKey ?? environment("PARLEY_NETWORK_KEY")

/** Where networks are kept. */
export const networks = (): string => join(home(), "networks")

/** The network's folder, from `--network` or `PARLEY_NETWORK`. */
export const network = (options: Pick<Flags.Joining, "network">): Effect.Effect<string | undefined, UsageError> => {
  const name = options.network ?? environment("PARLEY_NETWORK")
  if (name === undefined) return Effect.as(Effect.void, undefined)
  const folder = join(networks(), name)
  const wrong = !/^[a-z0-9][a-z0-9._-]*$/.test(name) || !fs.existsSync(join(folder, "network.json"))
  return wrong
    ? Effect.fail(
        usage(
          "NoNetwork",
          `there is no network ${JSON.stringify(name)} in ${networks()}: make it with parley init --network NAME, or join it with parley join`
        )
      )
    : Effect.succeed(folder)
}

/** The registry, from `--registry` or `PARLEY_REGISTRY`. */
export const registry = (
  options: Pick<Flags.Joining, "network" | "networkKey" | "registry" | "registryOfNetwork">
): Effect.Effect<{ readonly at: string; readonly ofNetwork: boolean } | undefined, UsageError> => {
  const at = options.registry ?? environment("PARLEY_REGISTRY")
  const { registryOfNetwork: ofNetwork } = options
  if (at === undefined) {
    return ofNetwork
      ? Effect.fail(
          usage("NoRegistry", "--registry-of-network says whose a registry is, and --registry URL gives none")
        )
      : Effect.as(Effect.void, undefined)
  }
  if (!/^https?:\/\/[^/@]+(\/.*)?$/.test(at) || !URL.canParse(at)) {
    return Effect.fail(
      usage(
        "BadRegistry",
        `--registry ${JSON.stringify(at)} is no URL of a registry: write http://host:port or https://host`
      )
    )
  }
  if ((networkKey(options) ?? options.network ?? environment("PARLEY_NETWORK")) !== undefined && !ofNetwork) {
    const why = "a registry shows agents to whoever asks, and this network is private"
    return Effect.fail(
      usage(
        "PrivateNetwork",
        `${why}: leave out the registry ${at}, or say --registry-of-network where it belongs to the network`
      )
    )
  }
  return Effect.succeed({ at, ofNetwork })
}

/** The private network: its key file, or its folder, or neither. */
const privacy = (options: Pick<Flags.Joining, "network" | "networkKey">) =>
  Effect.gen(function* () {
    const keyFile = networkKey(options)
    const folder = yield* network(options)
    if (keyFile !== undefined && folder !== undefined)
      return yield* usage("TwoNetworks", "--network and --network-key name a network each: leave out one of them")
    return { keyFile, folder }
  })

/** The options of a tracker, which `dht` runs, too; `name` is that of its key file. */
export const tracker = (options: Flags.Tracker, name: string) =>
  Effect.gen(function* () {
    const secret = yield* passphrase(options)
    const { folder, keyFile } = yield* privacy(options)
    return {
      identity: yield* ownFile(options, name),
      ...(secret === undefined ? {} : { passphrase: secret }),
      ...(keyFile === undefined ? {} : { networkKey: keyFile }),
      ...(folder === undefined ? {} : { network: folder }),
      ...(options.port === undefined ? {} : { port: options.port }),
      ...(options.host === undefined ? {} : { host: options.host }),
      ...(yield* advertise(options))
    }
  })

/** The options of a node that joins. */
export const node = (options: Flags.Joining) =>
  Effect.gen(function* () {
    const secret = yield* passphrase(options)
    const { folder, keyFile } = yield* privacy(options)
    const told = yield* registry(options)
    const bootstrap = yield* dht(options)
    if (options.publicDht && (keyFile ?? folder) !== undefined) {
      const why = "the public DHT shows nodes to whoever asks, and this network is private"
      return yield* usage("PrivateNetwork", `${why}: leave out --public-dht, or the network key`)
    }
    const name = options.name ?? environment("PARLEY_NAME")
    if (name !== undefined && (name.length > MAX_NAME_LENGTH || /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/u.test(name))) {
      const detail = `has at most ${MAX_NAME_LENGTH} characters, and no control characters or line ends`
      return yield* usage("BadName", `${JSON.stringify(name)} is no name for an agent: a name ${detail}`)
    }
    return {
      ...(name === undefined ? {} : { name }),
      ...(secret === undefined ? {} : { passphrase: secret }),
      ...(keyFile === undefined ? {} : { networkKey: keyFile }),
      ...(folder === undefined ? {} : { network: folder }),
      ...(options.relay.length === 0 ? {} : { relays: yield* addresses("relay", options.relay) }),
      mdns: usesMdns(options),
      gossip: !options.noGossip && environment("PARLEY_NO_GOSSIP") === undefined,
      peers: yield* addresses("peer", peers(options)),
      trackers: yield* addresses("tracker", trackers(options)),
      ...(bootstrap.length === 0 && !options.publicDht ? {} : { dht: { bootstrap, public: options.publicDht } }),
      ...(told === undefined ? {} : { registry: told }),
      trust: trustFile(options)
    }
  })

const via = (options: { readonly via?: string | undefined }): ReadonlyArray<string> =>
  options.via === undefined ? [] : [options.via]

/** The options of a node that asks: it accepts no connections. */
export const asker = (
  options: Flags.Joining & { readonly via?: string | undefined; readonly publish?: boolean | undefined }
) =>
  Effect.map(Effect.all([node(options), addresses("via", via(options))]), ([{ registry: told, ...made }, through]) => ({
    ...made,
    // Whoever asks once is nobody to be found.
    ...(told === undefined ? {} : { registry: { ...told, register: false, verdicts: options.publish === true } }),
    // Whoever calls through a tracker means those whom it knows.
    trackers: [...new Set([...made.trackers, ...through])],
    // In a network, a key for this once acts for the member.
    ...(options.identity === undefined
      ? made.network === undefined
        ? {}
        : { identity: new Uint8Array(randomBytes(32)) }
      : { identity: options.identity }),
    // Nor does the mesh need to hear of it.
    gossip: false,
    listen: false
  }))

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const absent: Effect.Effect<Duration.Duration | undefined> = Effect.void.pipe(Effect.as(undefined))

/** Reads `500ms`, `2s`, `1.5m` or `1h`. */
export const time = (
  flag: string,
  text: string | undefined
): Effect.Effect<Duration.Duration | undefined, UsageError> => {
  if (text === undefined) return absent
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim()) ?? []
  return amount === undefined || unit === undefined || Number(amount) === 0
    ? Effect.fail(usage("BadTime", `--${flag} ${JSON.stringify(text)} is no time: write 500ms, 2s, 1m, 1h or 30d`))
    : Effect.succeed(Duration.millis(Number(amount) * units[unit as keyof typeof units]))
}
