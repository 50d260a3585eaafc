/**
 * Doctor: says what is wrong with a node's configuration, its machine and its network, and what to do about it.
 *
 * Every check tries the thing itself: it binds the port, has a multicast packet come back, has relays connect to this machine. It
 * acts under a key of its own that ends with it, so a node that runs here under the key file's keeps its connections and slots.
 *
 * ```ts
 * const findings = await Effect.runPromise(Doctor.examine({ trackers: ["tcp://tracker.example:7878"] }))
 * ```
 */
import { randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import type { Finding } from "./internal/doctor/Finding.ts"
import * as Dht from "./internal/doctor/Dht.ts"
import * as Ground from "./internal/doctor/Ground.ts"
import * as Interfaces from "./internal/doctor/Interfaces.ts"
import * as Ipv6 from "./internal/doctor/Ipv6.ts"
import * as KeyFile from "./internal/doctor/KeyFile.ts"
import * as Mapping from "./internal/doctor/Mapping.ts"
import * as Multicast from "./internal/doctor/Multicast.ts"
import * as Paths from "./internal/doctor/Paths.ts"
import * as Peer from "./internal/doctor/Peer.ts"
import * as Port from "./internal/doctor/Port.ts"
import * as Relays from "./internal/doctor/Relays.ts"
import type * as Layers from "./Layers.ts"

export type { Finding } from "./internal/doctor/Finding.ts"

/** What is examined: a node as `Layers.layer` would put it together. `identity` is the path of its key file. */
export interface Options extends Omit<Layers.Options, "identity"> {
  readonly identity?: string
  /** A NodeId or an address: whether and how that one is reached. */
  readonly peer?: string
  /** Hears each finding as soon as it is made. */
  readonly onFinding?: (finding: Finding) => void
}

/** Whether nothing failed. */
export const isWell = (findings: ReadonlyArray<Finding>): boolean => findings.every(({ verdict }) => verdict !== "fail")

/** Examines, and gives the findings in the order of the checks. Never fails: what goes wrong is a finding. Takes up to 20 s. */
export const examine = ({ identity, onFinding, peer, ...options }: Options = {}): Effect.Effect<
  ReadonlyArray<Finding>
> =>
  Effect.gen(function* () {
    const findings: Array<Finding> = []
    const tell = (more: ReadonlyArray<Finding>): void => {
      for (const finding of more) {
        findings.push(finding)
        onFinding?.(finding)
      }
    }
    const keyFile = yield* KeyFile.check(identity, options.passphrase)
    tell(keyFile)
    tell(Interfaces.check(options.host))
    const [ground, network] = yield* Ground.open(options)
    tell(network)
    if (!Interfaces.isLoopback(options.host) && ground.perimeter.allows(Ipv6.OUTSIDE)) {
      tell([yield* Ipv6.check(options.listen === false ? undefined : (options.host ?? "0.0.0.0"))])
    }
    const own = keyFile.find(({ code }) => code === "KeyFile")?.found
    const wanted = options.port ?? TransportTcp.DEFAULT_PORT
    const port = yield* Port.check(ground, wanted, own)
    tell(port.findings)
    const needed =
      Ground.relaysOf(options).length === 0 && (options.peers ?? []).length === 0 && options.registry === undefined
    const [multicast, dht, relays] = yield* Effect.all(
      [
        Multicast.check(options.mdns !== false, needed),
        Dht.check(ground),
        // Connections to trackers end before the peer is looked for.
        Effect.scoped(Relays.check(ground, options.listen === false ? 0 : wanted, port.isFree))
      ],
      { concurrency: "unbounded" }
    )
    tell(multicast)
    tell(dht)
    tell(relays.findings)
    if (options.portMapping === true && port.isFree) tell([yield* Mapping.check(ground, wanted)])
    const isListening = port.isFree || port.findings.some(({ code }) => code === "OwnNodeRuns")
    if (isListening) tell(Paths.inbound(relays, wanted))
    tell(yield* Paths.nat(ground, relays))
    tell(Paths.clock(relays))
    if (peer !== undefined) {
      const asker = { ...options, identity: new Uint8Array(randomBytes(32)), listen: false, gossip: false }
      tell(yield* Peer.check(ground, asker, peer))
    }
    return findings
  })
