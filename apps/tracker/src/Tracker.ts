/**
 * A tracker: a node that introduces peers (rendezvous) and relays between those that cannot reach each other. It serves no
 * capability, believes nobody, and sees of what it relays ciphertext only.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { FileError } from "@parley/agent/FileError"
import type { NetworkError } from "@parley/agent/Invitation"
import * as NetworkKey from "@parley/agent/NetworkKey"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import type { KeyStoreError } from "@parley/core/KeyStore"
import * as Network from "@parley/core/Network"
import * as Perimeter from "@parley/core/Perimeter"
import type { Address, TransportError } from "@parley/core/Transport"
import * as TrackerServer from "@parley/discovery/TrackerServer"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"

/** How a tracker is put together. */
export interface Options {
  /** Path of the key file, made where there is none. Default: a new key that lives as long as the process. */
  readonly identity?: string
  readonly passphrase?: string
  /** Default: `TransportTcp.DEFAULT_PORT`. */
  readonly port?: number
  /** Interface to listen on. Default: all. */
  readonly host?: string
  /** Addresses to publish in place of those listened on. */
  readonly advertise?: ReadonlyArray<Address>
  /** Path of the private network's key file. */
  readonly networkKey?: string
  /**
   * Path of the folder of the private network that it is a member of (`NetworkFolder`), in place of `networkKey`. It then keeps to the
   * private ranges. Without `identity` it is the member; another key acts for it.
   */
  readonly network?: string
}

const sealedWith = (passphrase: string | undefined) =>
  passphrase === undefined ? {} : { passphrase: Redacted.make(passphrase) }

const identity = ({ identity, passphrase }: Options): Layer.Layer<Identity.Identity, KeyStoreError> =>
  identity === undefined ? Identity.layerEphemeral : Identity.layerFile(identity, sealedWith(passphrase))

/** A tracker that is a member of a network with a folder. */
const member = (path: string, options: Options) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const { identity: file, network: _network, networkKey: _key, passphrase, ...tcp } = options
      const NetworkFolder = yield* Effect.promise(() => import("@parley/agent/NetworkFolder"))
      const own =
        file === undefined
          ? undefined
          : yield* Effect.scoped(Effect.map(Layer.build(identity(options)), Context.get(Identity.Identity)))
      const opened = yield* NetworkFolder.open(path, own, sealedWith(passphrase))
      const { key, members, watch } = opened
      const kept =
        members === undefined
          ? Layer.empty
          : Layer.mergeAll(Network.layerKeep, Layer.effectDiscard(Effect.forkScoped(watch))).pipe(
              Layer.provide(Layer.succeed(Network.Network, members))
            )
      const transport = TransportTcp.layer({ ...tcp, networkKey: key }).pipe(
        Layer.provide(members === undefined ? Layer.empty : Layer.succeed(Network.Network, members))
      )
      return Layer.mergeAll(TrackerServer.layer(), Relay.layer(), kept).pipe(
        Layer.provideMerge(Connections.layer),
        Layer.provide(transport),
        Layer.provide(Layer.succeed(Identity.Identity, opened.identity)),
        Layer.provide(Perimeter.layerClosed)
      )
    })
  )

/** A tracker that listens, registers and relays until the layer's scope closes. */
export const layer = (
  options: Options = {}
): Layer.Layer<Connections.Connections, TransportError | KeyStoreError | FileError | NetworkError> => {
  const { networkKey: path, network, identity: _identity, passphrase: _passphrase, ...tcp } = options
  if (network !== undefined) return member(network, options)
  const transport = Layer.unwrap(
    Effect.map(path === undefined ? Effect.void : NetworkKey.load(path), (networkKey) =>
      TransportTcp.layer(networkKey === undefined ? tcp : { ...tcp, networkKey })
    )
  )
  return Layer.mergeAll(TrackerServer.layer(), Relay.layer()).pipe(
    Layer.provideMerge(Connections.layer),
    Layer.provide(transport),
    Layer.provide(identity(options))
  )
}
