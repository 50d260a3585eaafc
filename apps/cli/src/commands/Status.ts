/** `parley status`: the configuration and who can be reached, or one node. */
import { existsSync } from "node:fs"
import * as Effect from "effect/Effect"
import type * as Node from "@parley/core/Node"
import { fingerprint, type NodeId, parse } from "@parley/core/NodeId"
import type { Address } from "@parley/core/Transport"
import * as Trust from "@parley/core/Trust"
import { usage } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Joined from "../Joined.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"
import * as Identity from "./Identity.ts"
import * as Peers from "./Peers.ts"

const look = (node: Node.Node["Service"], target: NodeId | Address) =>
  Effect.gen(function* () {
    const id = parse(target)
    const addresses =
      id === undefined
        ? [target]
        : (yield* node.discover({ node: id, limit: 1 })).flatMap((match) => match.record.addresses)
    const began = performance.now()
    const connection = yield* node.connections.connect({ addresses, ...(id === undefined ? {} : { node: id }) })
    const connectedMs = Math.round(performance.now() - began)
    const matches = yield* node.discover({ node: connection.peer, limit: 1_000 })
    return {
      node: connection.peer,
      name: matches[0]?.record.name ?? "",
      fingerprint: fingerprint(connection.peer),
      address: connection.address,
      relayed: connection.relayed,
      connectedMs,
      capabilities: matches.map(({ capability }) => ({
        id: `${capability.name}@${capability.version}`,
        description: capability.description ?? ""
      }))
    }
  })

const lookAt = Effect.fnUntraced(function* (options: Flags.Status & Flags.Common, word: string) {
  const target = yield* Settings.target(word)
  const seen = yield* Joined.asker(options, (node) => look(node, target))
  const how = `${seen.relayed ? "relayed" : "direct"}, connected in ${seen.connectedMs} ms`
  yield* Output.result(
    options,
    seen,
    [
      `${seen.name === "" ? "" : `${seen.name}  `}${seen.node}`,
      `fingerprint ${seen.fingerprint}`,
      `${seen.address}  (${how})`,
      ...(seen.capabilities.length === 0
        ? ["serves nothing"]
        : seen.capabilities.map(({ description, id }) => `serves ${id}${description === "" ? "" : `  ${description}`}`))
    ].join("\n")
  )
})

/** Whether the network's root has put its member here out, as far as is known here. */
const isPutOut = Effect.fnUntraced(function* (options: Flags.Status, folder: string) {
  const NetworkFolder = yield* Effect.promise(() => import("@parley/agent/NetworkFolder"))
  const { identity, members } = yield* NetworkFolder.open(folder, undefined, yield* Settings.sealed(options))
  return members?.isOut(identity.nodeId) === true
})

export const run = Effect.fnUntraced(function* (options: Flags.Status & Flags.Common) {
  if (options.watch) {
    if (options.target !== undefined)
      return yield* usage("WatchOne", "--watch shows the whole mesh: leave out the node")
    const watch = yield* Effect.promise(() => import("./Watch.ts"))
    return yield* watch.run(options)
  }
  if (options.target !== undefined) return yield* lookAt(options, options.target)
  const path = yield* Settings.ownFile(options)
  const own = existsSync(path) ? yield* Identity.own({ ...options, identity: path }) : undefined
  const networkKey = Settings.networkKey(options)
  const folder = yield* Settings.network(options)
  const isOut = folder === undefined ? false : yield* isPutOut(options, folder)
  const registry = yield* Settings.registry(options)
  const [search, trust] = yield* Joined.asker(options, (node) => Effect.all([Peers.find(node), Trust.Trust]))
  const configuration = {
    identity: own?.nodeId ?? null,
    identityFile: path,
    home: Settings.home(),
    trackers: Settings.trackers(options),
    dht: yield* Settings.dht(options),
    peers: Settings.peers(options),
    registry: registry?.at ?? null,
    mdns: Settings.usesMdns(options),
    networkKey: networkKey ?? null,
    network: folder ?? null,
    revoked: isOut,
    trustFile: Settings.trustFile(options),
    trusted: trust.entries().length
  }
  const privacy =
    folder !== undefined
      ? `private, in ${folder}${isOut ? "; its root has put this member out: parley join asks to be let in anew" : ""}`
      : networkKey !== undefined
        ? `private, key ${networkKey}`
        : "open"
  const lines = [
    own === undefined ? `no key file yet: parley init makes ${path}` : own.nodeId,
    ...(own === undefined ? [] : [`fingerprint ${fingerprint(own.nodeId)}`]),
    `home ${configuration.home}`,
    `mDNS ${configuration.mdns ? "on" : "off"}, trackers ${configuration.trackers.join(", ") || "none"}, peers ${configuration.peers.join(", ") || "none"}, registry ${registry?.at ?? "none"}${configuration.dht.length === 0 ? "" : `, DHT ${configuration.dht.join(", ")}`}`,
    `network ${privacy}`,
    `trust in ${configuration.trusted} ${configuration.trusted === 1 ? "capability" : "capabilities"} of peers, in ${configuration.trustFile}`,
    Peers.table(search)
  ]
  yield* Output.result(options, { ...configuration, found: Peers.json(search) }, lines.join("\n"))
})
