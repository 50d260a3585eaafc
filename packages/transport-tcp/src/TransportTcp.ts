/**
 * TransportTcp: peers over TCP, each behind a Noise handshake, and over relay circuits through trackers.
 *
 * ```ts
 * TransportTcp.layer({ port: 7878 })
 * ```
 *
 * Schemes: `tcp://HOST:PORT`, and `relay://HOST:PORT/TRACKER/NODE` (see `Relay.ts`).
 */
import { createServer, connect as connectSocket } from "node:net"
import type { Server, Socket } from "node:net"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Identity } from "@parley/core/Identity"
import * as Network from "@parley/core/Network"
import type { NodeId } from "@parley/core/NodeId"
import * as Perimeter from "@parley/core/Perimeter"
import * as Protocol from "@parley/core/Protocol"
import { schemeOf, Transport, TransportError } from "@parley/core/Transport"
import type { Address, Connection, Owner, TransportErrorReason } from "@parley/core/Transport"
import type { Cipher } from "./CipherSuite.ts"
import * as Handshake from "./Handshake.ts"
import { Admission } from "./internal/Admission.ts"
import { Endpoint } from "./internal/Endpoint.ts"
import * as Addresses from "./internal/Addresses.ts"
import * as PortMapper from "./internal/PortMapper.ts"
import { Puncher } from "./internal/Puncher.ts"
import { watch } from "./internal/NetworkWatch.ts"
import * as RelayClient from "./internal/RelayClient.ts"
import * as RelaySlots from "./internal/RelaySlots.ts"
import { CLOSE_GRACE_MS, SocketLink } from "./internal/SocketLink.ts"
import { acceptDefaults, MAX_REFUSING, sessionDefaults } from "./Limits.ts"
import type { AcceptLimits, SessionLimits } from "./Limits.ts"
import type * as PortMapping from "./PortMapping.ts"
import * as Reservations from "./Reservations.ts"

/** The port a node listens on unless told otherwise. */
export const DEFAULT_PORT = 7878

/** How the transport listens, and what it lets others do. */
export interface Options {
  /** Default `DEFAULT_PORT`; 0 takes any free one. */
  readonly port?: number
  /** What to bind: `0.0.0.0` (all of IPv4, the default), `::` (IPv6 too), or one address of this machine. */
  readonly host?: string
  /** Addresses to publish instead of this machine's, such as a forwarded port's. */
  readonly advertise?: ReadonlyArray<Address>
  /** False: only dials. */
  readonly listen?: boolean
  /** The port to dial from; any free one unless given. Two dials from one port show what a NAT makes of it. */
  readonly localPort?: number
  /** 32 random bytes that every node of a closed network has; nobody without them learns anything of this node. */
  readonly networkKey?: Uint8Array | Redacted.Redacted<Uint8Array>
  /** Who belongs to the network, where it has a root: nobody else is let in, nor told anything. */
  readonly members?: Pick<Network.Members, "admit" | "certificate">
  /** Which hosts may be dialled, and dial. Default: everywhere; `layer` takes the deployment's. */
  readonly perimeter?: Perimeter.Rules
  /** Trackers through which this node can be reached: `tcp://HOST:PORT`, or `tcp://HOST:PORT/NODE` where only that key will do. */
  readonly relays?: ReadonlyArray<Address>
  /** At how many of them at once, the best ones. Default: `Reservations.DEFAULT_SLOTS`. */
  readonly relaySlots?: number
  /** Hears how those do, whenever something happened at one. May not throw. */
  readonly onRelays?: (health: ReadonlyArray<Reservations.Health>) => void
  /** Whether relayed connections are replaced by direct ones where a way is found, through routers too (`Punch`). Default: as `listen`. */
  readonly punch?: boolean
  /**
   * Has this machine's router let the port through (`PortMapping`). Default: false, since it changes somebody's router, and lets
   * the whole Internet knock here.
   */
  readonly portMapping?: boolean
  /** Hears what the router did, each time that it was asked. May not throw. */
  readonly onPortMapping?: (outcome: PortMapping.Mapping | PortMapping.PortMappingError) => void
  /** Ciphers in order of preference; default: those this runtime has natively, fastest first. */
  readonly ciphers?: ReadonlyArray<Cipher>
  /** Limits other than `Limits.ts` gives. */
  readonly limits?: Partial<SessionLimits & AcceptLimits>
}

/** Where the transport listens. */
interface Bound {
  readonly host: string
  readonly port: number
  readonly where: () => ReadonlyArray<Address>
}

const fail = (reason: TransportErrorReason): Effect.Effect<never, TransportError> =>
  Effect.fail(new TransportError({ reason }))

const listenDetail = (error: NodeJS.ErrnoException, port: number): string => {
  switch (error.code) {
    case "EADDRINUSE":
      return `port ${port} is in use: stop the program that listens there, or choose another port (0 takes any free one)`
    case "EACCES":
      return `this user may not listen on port ${port}: choose one above 1023`
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return "no interface of this machine has that host address: check `host`"
    default:
      return error.message
  }
}

/** Makes the transport of an identity. Throws `RangeError` for a network key that has not 32 bytes. */
export const make = (identity: Identity["Service"], options: Options = {}): Transport["Service"] => {
  const accept: AcceptLimits = { ...acceptDefaults, ...options.limits }
  const limits: SessionLimits = { ...sessionDefaults, ...options.limits }
  const networkKey = Redacted.isRedacted(options.networkKey) ? Redacted.value(options.networkKey) : options.networkKey
  if (networkKey !== undefined && networkKey.length !== 32) {
    throw new RangeError(`a network key has 32 bytes, this one has ${networkKey.length}`)
  }
  const { members, perimeter = Perimeter.open } = options
  const endpoint = new Endpoint({
    identity,
    networkKey,
    members,
    ciphers: options.ciphers,
    handshakeTimeoutMs: accept.handshakeTimeoutMs,
    maxHeldBytes: accept.maxHeldBytes,
    limits
  })

  const admission = new Admission(accept)
  /** Sockets that were told in this second why they are refused. */
  let refusing = 0
  let puncher: Puncher | undefined

  const refuse = (link: SocketLink): void => {
    refusing++
    setTimeout(() => refusing--, CLOSE_GRACE_MS).unref()
    link.write(Handshake.busy)
    link.close()
  }

  // Who comes with thousands of sockets a second costs as little as can be for each that is not let in.
  const onSocket = (socket: Socket): void => {
    const host = Addresses.remote(socket.remoteAddress)
    const address = Addresses.format(host, socket.remotePort ?? 0)
    if (!perimeter.allows(host)) {
      socket.destroy()
      return endpoint.refused(address, { _tag: "DialFailed", address, detail: Addresses.beyond(host, perimeter) })
    }
    const guest = admission.admit(host, performance.now(), () => socket.destroy())
    if (!("left" in guest)) {
      if (refusing < MAX_REFUSING) refuse(new SocketLink(socket))
      else socket.destroy()
      return endpoint.full(address, guest)
    }
    const link = new SocketLink(socket)
    socket.once("close", guest.left)
    const begin = (): void =>
      void endpoint.accept({
        link,
        address,
        relayed: false,
        onResult: (_session, reason) => {
          guest.proven()
          if (reason !== undefined) endpoint.refused(address, reason)
        }
      })
    if (puncher?.observer.expects) puncher.observer.look(link, socket, accept.handshakeTimeoutMs, begin, guest.proven)
    else begin()
  }

  /** Listens; gives the port, and what tells where this node can be reached now. */
  const bind = (): Effect.Effect<Bound, TransportError, Scope.Scope> => {
    const port = options.port ?? DEFAULT_PORT
    const host = options.host ?? "0.0.0.0"
    const acquire = Effect.callback<Server, TransportError>((resume) => {
      const server = createServer({ noDelay: true }, onSocket)
      server.once("error", (error: NodeJS.ErrnoException) => {
        const reason = { address: Addresses.format(host, port), detail: listenDetail(error, port) }
        resume(fail({ _tag: "ListenFailed", ...reason }))
      })
      server.listen({ port, host }, () => {
        // A server that fails to accept (no file handles left) goes on with those it has.
        server.on("error", () => {})
        resume(Effect.succeed(server))
      })
    })
    return Effect.map(
      Effect.acquireRelease(acquire, (server) => Effect.sync(() => void server.close())),
      (server) => {
        const bound = server.address()
        const actual = bound !== null && typeof bound === "object" ? bound.port : port
        return {
          host,
          port: actual,
          where: () => options.advertise ?? Addresses.published(host, actual, perimeter)
        }
      }
    )
  }

  const listen = (owner: Owner): Effect.Effect<ReadonlyArray<Address>, TransportError, Scope.Scope> =>
    Effect.gen(function* () {
      yield* Effect.acquireRelease(
        Effect.sync(() =>
          endpoint.open({
            ...owner,
            onClosed: (connection, why) => {
              puncher?.closed(connection)
              owner.onClosed(connection, why)
            }
          })
        ),
        () => endpoint.close("this node shut down")
      )
      const bound = options.listen === false ? undefined : yield* bind()
      const where = bound?.where ?? (() => options.advertise ?? [])
      let direct = where()
      let mapped: ReadonlyArray<Address> = []
      let relayed: ReadonlyArray<Address> = []
      const publish = (): void => owner.onAddresses([...new Set([...direct, ...mapped, ...relayed])])
      // On another network: what stood may be dead, and this node is found elsewhere.
      const moved = (): void => {
        endpoint.probe()
        const now = where()
        if (now.length === direct.length && now.every((address, at) => address === direct[at])) return
        direct = now
        publish()
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => watch.listen(moved)),
        (stop) => Effect.sync(stop)
      )
      if (options.punch ?? options.listen !== false) yield* punching(owner, () => direct)
      if (options.portMapping === true && bound !== undefined) {
        yield* PortMapper.keep({
          host: bound.host,
          port: bound.port,
          perimeter,
          onAddresses: (addresses) => {
            mapped = addresses
            publish()
          },
          onMapping: options.onPortMapping ?? (() => {})
        })
      }
      const relays = options.relays ?? []
      if (relays.length > 0) {
        yield* RelaySlots.reserve({
          endpoint,
          owner,
          relays,
          slots: options.relaySlots ?? Reservations.DEFAULT_SLOTS,
          accept,
          onAddresses: (addresses) => {
            relayed = addresses
            publish()
          },
          onHealth: options.onRelays ?? (() => {})
        })
      }
      return direct
    })

  const punching = (owner: Owner, addresses: () => ReadonlyArray<Address>): Effect.Effect<void, never, Scope.Scope> =>
    Effect.gen(function* () {
      const run = Effect.runForkWith(yield* Effect.context())
      const { handshakeTimeoutMs } = accept
      const made = yield* Effect.acquireRelease(
        Effect.sync(() => new Puncher({ endpoint, owner, perimeter, handshakeTimeoutMs, addresses, run })),
        (mine) => Effect.sync(() => mine.close())
      )
      yield* owner.handle(Protocol.PUNCH, (connection, stream) => made.accept(connection, stream))
      puncher = made
      // Another transport of this node has it already.
    }).pipe(
      Effect.catch((error) => Effect.logDebug(`no direct connections are made of relayed ones: ${error.message}`))
    )

  const dialTcp = (address: Address, expect: NodeId | undefined): Effect.Effect<Connection, TransportError> =>
    Effect.callback<Connection, TransportError>((resume) => {
      const target = Addresses.parse(address)
      if (target === undefined) {
        const detail = "that is no address of the form tcp://HOST:PORT, with [ ] around IPv6"
        return resume(fail({ _tag: "DialFailed", address, detail }))
      }
      // Before anything is resolved or sent.
      if (!perimeter.allows(target.host))
        return resume(fail({ _tag: "DialFailed", address, detail: Addresses.beyond(target.host, perimeter) }))
      const socket = connectSocket({
        ...target,
        noDelay: true,
        ...(options.localPort === undefined ? {} : { localPort: options.localPort })
      })
      const started = performance.now()
      const onError = (error: NodeJS.ErrnoException): void => {
        clearTimeout(timer)
        const refused = error.code === "ECONNREFUSED"
        resume(fail({ _tag: "DialFailed", address, detail: error.message || (error.code ?? "no connection"), refused }))
      }
      const timer = setTimeout(() => {
        socket.destroy()
        resume(fail({ _tag: "TimedOut", address, afterMs: accept.handshakeTimeoutMs }))
      }, accept.handshakeTimeoutMs)
      let abandon = (): void => void socket.destroy()
      socket.on("error", onError)
      socket.once("connect", () => {
        clearTimeout(timer)
        socket.off("error", onError)
        const left = Math.max(1, accept.handshakeTimeoutMs - Math.round(performance.now() - started))
        abandon = endpoint.dial(
          {
            link: new SocketLink(socket),
            address,
            relayed: false,
            onResult: (session, reason) =>
              resume(session === undefined ? fail(reason!) : Effect.succeed<Connection>(session))
          },
          expect,
          left
        )
      })
      return Effect.sync(() => {
        clearTimeout(timer)
        socket.on("error", () => {})
        abandon()
      })
    })

  return Transport.of({
    schemes: ["tcp", "relay"],
    listen,
    dial: (address, expect) =>
      Effect.suspend(() => {
        const owner = endpoint.owner
        if (owner === undefined) return fail({ _tag: "NotListening", address })
        switch (schemeOf(address)) {
          case "tcp":
            return dialTcp(address, expect)
          case "relay":
            return Effect.map(
              RelayClient.dial(endpoint, owner, address, expect, accept.handshakeTimeoutMs),
              (connection) => {
                puncher?.lead(connection)
                return connection
              }
            )
          default:
            return fail({ _tag: "UnknownScheme", address, known: ["tcp", "relay"] })
        }
      })
  })
}

/** The TCP transport of this identity. */
export const layer = (options: Options = {}): Layer.Layer<Transport, never, Identity> =>
  Layer.effect(
    Transport,
    Effect.gen(function* () {
      const members = Option.getOrUndefined(yield* Effect.serviceOption(Network.Network))
      const perimeter = yield* Perimeter.Perimeter
      return make(yield* Identity, { perimeter, ...(members === undefined ? {} : { members }), ...options })
    })
  )
