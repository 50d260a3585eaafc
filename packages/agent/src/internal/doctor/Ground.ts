/** What the checks stand on: this node's network, its perimeter, and connections under a key that lives as long as the examination. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import type { Members } from "@parley/core/Network"
import * as Perimeter from "@parley/core/Perimeter"
import type { TransportError } from "@parley/core/Transport"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import type * as Layers from "../../Layers.ts"
import * as NetworkKey from "../../NetworkKey.ts"
import { type Finding, of } from "./Finding.ts"

/** What the checks stand on. */
export interface Ground {
  readonly options: Layers.Options
  readonly perimeter: Perimeter.Rules
  readonly networkKey: Uint8Array | undefined
  readonly members: Members | undefined
  /** Connections of their own, until the scope closes. */
  readonly connections: (
    tcp: TransportTcp.Options
  ) => Effect.Effect<Connections.Connections["Service"], TransportError, Scope.Scope>
}

/** Relays and trackers that the node uses. */
export const relaysOf = ({ dht, relays, trackers }: Layers.Options): ReadonlyArray<string> => {
  const bootstrap = dht === undefined ? [] : "length" in dht ? dht : dht.public === true ? [] : (dht.bootstrap ?? [])
  return [...new Set(relays ?? [...(trackers ?? []), ...bootstrap.map((at) => `tcp://${at}`)])]
}

const sealedWith = ({ passphrase }: Layers.Options): { readonly passphrase?: Redacted.Redacted<string> } =>
  passphrase === undefined
    ? {}
    : { passphrase: typeof passphrase === "string" ? Redacted.make(passphrase) : passphrase }

/** Opens the network, and says what is wrong with it. */
export const open = Effect.fnUntraced(function* (
  options: Layers.Options
): Effect.fn.Return<readonly [Ground, ReadonlyArray<Finding>]> {
  const { network, networkKey } = options
  const own = Identity.generate()
  const isClosed = (options.perimeter ?? (network === undefined ? "open" : "closed")) === "closed"
  const perimeter = isClosed ? Perimeter.closed : Perimeter.open
  const ground = (
    identity: Identity.Identity["Service"],
    key: Uint8Array | undefined,
    members: Members | undefined
  ): Ground => ({
    options,
    perimeter,
    networkKey: key,
    members,
    connections: (tcp) =>
      Connections.make(
        TransportTcp.make(identity, {
          perimeter,
          ...(key === undefined ? {} : { networkKey: key }),
          ...(members === undefined ? {} : { members }),
          ...tcp
        }),
        identity.nodeId
      )
  })
  const find = of("network", network ?? (typeof networkKey === "string" ? networkKey : "the options of this node"))
  if (network !== undefined) {
    const NetworkFolder = yield* Effect.promise(() => import("../../NetworkFolder.ts"))
    const exit = yield* Effect.exit(NetworkFolder.open(network, own, sealedWith(options)))
    if (exit._tag === "Failure") {
      const detail = String(
        exit.cause.reasons.map((each) => (each._tag === "Fail" ? each.error.message : "")).join("; ")
      )
      const advice = "restore the network's folder, or join again: parley join"
      return [ground(own, undefined, undefined), [find("fail", "NetworkUnusable", detail, advice)]]
    }
    const { identity, key, members, name } = exit.value
    const made = ground(identity, key, members)
    if (members === undefined) {
      return [made, [find("ok", "NetworkOfKey", `private network ${name}; whoever has its key is a member`)]]
    }
    const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    const refused = members.admit(identity.publicKey, members.certificate, now)
    if (refused !== undefined) {
      const code = refused.code === "MemberRevoked" ? "Revoked" : "NotAMember"
      const advice = "ask who keeps the network's root for a new invitation: parley join, parley invite"
      return [made, [find("fail", code, `no member of ${name} any more: ${refused.detail}`, advice)]]
    }
    return [made, [find("ok", "Member", `member of the private network ${name}; nothing leaves the private ranges`)]]
  }
  if (typeof networkKey === "string") {
    const exit = yield* Effect.exit(NetworkKey.load(networkKey))
    if (exit._tag === "Failure") {
      const detail = String(
        exit.cause.reasons.map((each) => (each._tag === "Fail" ? each.error.message : "")).join("; ")
      )
      return [
        ground(own, undefined, undefined),
        [find("fail", "NetworkUnusable", detail, "correct the key file, or its path")]
      ]
    }
    return [
      ground(own, exit.value, undefined),
      [find("ok", "NetworkOfKey", `private network of the key in ${networkKey}`)]
    ]
  }
  if (networkKey !== undefined)
    return [ground(own, networkKey, undefined), [find("ok", "NetworkOfKey", "private network")]]
  return [ground(own, undefined, undefined), [find("ok", "OpenNetwork", "the open network: anybody may connect")]]
})
