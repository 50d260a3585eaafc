/**
 * A Transport of one's own: connections between processes of one user over Unix domain sockets, at `unix:///path/x.sock`.
 *
 * Trust domain: the folder is 0700 and the sockets are 0600, so only this user (and root) reaches them. Within it nobody is
 * believed without proof: both ends prove their keys in every session, and everything after that is sealed (SecureSocket).
 *
 * A record can name any path, and a dial is a write to whatever listens there. Only sockets of this folder are dialled.
 */
import { chmodSync, mkdirSync, rmSync } from "node:fs"
import { connect, createServer, type Server, type Socket } from "node:net"
import { dirname, join, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Identity } from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import {
  type Address,
  type Connection,
  type Owner,
  Transport,
  TransportError,
  type TransportErrorReason
} from "@parley/core/Transport"
import { type Role, SecureSocket } from "./SecureSocket.ts"
import { UnixSession } from "./UnixSession.ts"

/** Longest path of a socket, in bytes: what macOS takes, and Linux (108) too. */
export const MAX_PATH_BYTES = 103
/** A handshake takes a millisecond; whoever needs this long (ms) is stuck. */
export const HANDSHAKE_MS = 5_000
/** Handshakes under way at once. */
export const MAX_PENDING = 64

const failed = (reason: TransportErrorReason) => new TransportError({ reason })
const toAddress = (path: string): Address => `unix://${encodeURI(path)}`
const toPath = (address: Address): string | undefined => {
  try {
    return address.startsWith("unix:///") ? decodeURI(address.slice("unix://".length)) : undefined
  } catch {
    return undefined
  }
}

/** Listens at a path. A socket that a dead process has left behind is replaced. */
const bind = (path: string, accept: (socket: Socket) => void): Effect.Effect<Server, TransportError> =>
  Effect.callback<Server, TransportError>((resume) => {
    const refuse = (detail: string) =>
      resume(Effect.fail(failed({ _tag: "ListenFailed", address: toAddress(path), detail })))
    const bytes = Buffer.byteLength(path)
    if (bytes > MAX_PATH_BYTES) return refuse(`the path has ${bytes} bytes, at most ${MAX_PATH_BYTES} are possible`)
    const attempt = (again: boolean): void => {
      const server = createServer(accept)
      server.once("error", (error: NodeJS.ErrnoException) => {
        if (error.code !== "EADDRINUSE" || !again) return refuse(error.message)
        const probe = connect(path)
        probe.once("connect", () => {
          probe.destroy()
          refuse("another process listens there with the same identity")
        })
        probe.once("error", () => {
          rmSync(path, { force: true })
          attempt(false)
        })
      })
      server.listen({ path }, () => {
        chmodSync(path, 0o600)
        resume(Effect.succeed(server))
      })
    }
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      chmodSync(dirname(path), 0o700)
      attempt(true)
    } catch (cause) {
      refuse(cause instanceof Error ? cause.message : String(cause))
    }
  })

/** The transport of an identity. */
export const make = (identity: Identity["Service"], options: { readonly folder: string }): Transport["Service"] => {
  const folder = resolve(options.folder)
  const path = join(folder, `${identity.nodeId.slice(-16)}.sock`)
  const sessions = new Set<UnixSession>()
  const pending = new Set<(reason: TransportErrorReason) => void>()
  let listening: Owner | undefined

  /** Runs a handshake; gives what abandons it, which says nothing to anyone unless it is given a reason. */
  const meet = (
    how: { socket: Socket; role: Role; address: Address; expect?: NodeId | undefined; owner: Owner },
    onResult: (result: UnixSession | TransportError) => void
  ): ((reason?: TransportErrorReason) => void) => {
    const { address, expect, owner, role, socket } = how
    const settle = (result: UnixSession | TransportError): void => {
      clearTimeout(timer)
      if (pending.delete(abandon)) onResult(result)
    }
    const abandon = (reason?: TransportErrorReason): void => {
      clearTimeout(timer)
      if (!pending.delete(abandon)) return
      secure.destroy()
      if (reason !== undefined) onResult(failed(reason))
    }
    const secure: SecureSocket = new SecureSocket({
      socket,
      role,
      identity,
      expect,
      onProven: (peer) => {
        const direction = role === "dialler" ? "outbound" : "inbound"
        const session = new UnixSession({ socket: secure, owner, peer, address, direction })
        sessions.add(session)
        settle(session)
        return session
      },
      onFailed: (code, detail) => settle(failed({ _tag: "HandshakeFailed", address, code, detail }))
    })
    pending.add(abandon)
    const timer = setTimeout(() => abandon({ _tag: "TimedOut", address, afterMs: HANDSHAKE_MS }), HANDSHAKE_MS)
    return abandon
  }

  const listen = (owner: Owner): Effect.Effect<ReadonlyArray<Address>, TransportError, Scope.Scope> => {
    const address = toAddress(path)
    const tracked: Owner = {
      ...owner,
      onClosed: (connection, why) => {
        sessions.delete(connection as UnixSession)
        owner.onClosed(connection, why)
      }
    }
    const accept = (socket: Socket): void => {
      if (pending.size >= MAX_PENDING) {
        socket.destroy()
        return owner.onRefused(address, failed({ _tag: "LimitReached", limit: "MAX_PENDING", value: MAX_PENDING }))
      }
      meet({ socket, role: "acceptor", address, owner: tracked }, (result) =>
        result instanceof TransportError ? owner.onRefused(address, result) : owner.onConnection(result)
      )
    }
    const close = (server: Server): void => {
      listening = undefined
      server.close()
      rmSync(path, { force: true })
      for (const abandon of pending) abandon({ _tag: "NotListening", address })
      for (const each of [...sessions]) each.close("the node closed")
    }
    return Effect.acquireRelease(bind(path, accept), (server) => Effect.sync(() => close(server))).pipe(
      Effect.map(() => {
        listening = tracked
        return [address]
      })
    )
  }

  const dial = (address: Address, expect: NodeId | undefined): Effect.Effect<Connection, TransportError> =>
    Effect.callback<Connection, TransportError>((resume) => {
      const refuse = (reason: TransportErrorReason) => resume(Effect.fail(failed(reason)))
      const owner = listening
      if (owner === undefined) return refuse({ _tag: "NotListening", address })
      const to = toPath(address)
      if (to === undefined || dirname(resolve(to)) !== folder) {
        return refuse({ _tag: "DialFailed", address, detail: `that is no socket in ${folder}` })
      }
      const socket = connect(to)
      const onError = (error: Error) => refuse({ _tag: "DialFailed", address, detail: error.message })
      socket.once("error", onError)
      let abandon = (): void => void socket.destroy()
      socket.once("connect", () => {
        socket.off("error", onError)
        abandon = meet({ socket, role: "dialler", address, expect, owner }, (result) =>
          resume(result instanceof TransportError ? Effect.fail(result) : Effect.succeed(result))
        )
      })
      return Effect.sync(() => abandon())
    })

  return Transport.of({ schemes: ["unix"], listen, dial })
}

/** Connections between the processes of one user whose sockets are in this folder. */
export const layer = (options: { readonly folder: string }): Layer.Layer<Transport, never, Identity> =>
  Layer.effect(
    Transport,
    Identity.useSync((identity) => make(identity, options))
  )
