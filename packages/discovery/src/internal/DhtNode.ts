/** A node of the DHT at work: it stores for others, and looks up, announces and puts for its own. */
import { Buffer } from "node:buffer"
import type { Contact } from "k-rpc"
import type { Rules } from "@parley/core/Perimeter"
import * as Signature from "@parley/core/Signature"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type { DhtNetwork } from "./DhtNetwork.ts"
import { ANNOUNCED_MS } from "./Announcers.ts"
import { ITEM_MS } from "./ItemShares.ts"
import { KrpcSocket } from "./KrpcSocket.ts"
import * as Bencode from "./Bencode.ts"
import * as Message from "./KrpcMessage.ts"
import * as Lookup from "./Lookup.ts"
import type { PacketSeal } from "./PacketSeal.ts"
import { TokenBucket } from "./TokenBucket.ts"

/** Items stored for others at once: 20 MB. Past it, the one longest unread goes. */
export const MAX_ITEMS = 10_000
/** How long a search for an item goes on after its first answer, in milliseconds: another node may hold a newer version. */
export const SETTLE_MS = 300
/** So many nodes with the same version, and none with a newer one, end a search for an item at once. */
export const QUORUM = 3
/** Nodes that asked us and are asked back whether they are there, a second: only so do they get into the routing table. */
export const PINGS_PER_SECOND = 20
/** Announced endpoints that one search asks itself, where those who store them do not know the keys. */
export const MAX_ASKED = 32
/** How often a node that knows hardly anybody asks its bootstrap nodes again, in milliseconds. */
export const LONELY_MS = 2_000
/** How often the routing table is renewed, in milliseconds. */
export const RENEW_MS = 300_000

/** Where a DHT node is. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

/** How a node takes part. */
export interface Options {
  /** UDP port, 0 for any. */
  readonly port: number
  readonly host: string
  readonly bootstrap: ReadonlyArray<HostPort>
  /** Nodes that are asked and told of every announcement, whatever is closest: they know keys, where others' nodes do not. */
  readonly always?: ReadonlyArray<HostPort>
  readonly network: DhtNetwork
  readonly seal: PacketSeal
  readonly rules: Rules
  /** Hosts that many nodes share, each counted by itself. Default: this machine. */
  readonly isShared?: (host: string) => boolean
  /** The key to announce; absent for a node that only stores. */
  readonly publicKey?: Uint8Array
}

/** A signed value, newest version found. */
export interface Stored {
  readonly value: Buffer
  readonly seq: number
}

/** Who holds an item, of the nodes closest to it. */
export interface Copies {
  /** The newest version; 0 where there is none. */
  readonly seq: number
  /** How many of the closest answered. */
  readonly asked: number
  /** How many of those hold that version. */
  readonly held: number
}

/** A node of the DHT. */
export interface DhtNode {
  readonly address: HostPort
  /** Nodes in its routing table. */
  readonly known: () => number
  /** Ends once there has been one. */
  readonly met: Effect.Effect<void>
  /** What strangers sent that was not taken. */
  readonly dropped: KrpcSocket["dropped"]
  /** Others can reach it, so it stores for them. */
  readonly isReachable: () => boolean
  /** Fails with a text for people: nobody answered, or the port is taken. */
  readonly get: (publicKey: Uint8Array) => Effect.Effect<Stored | undefined, string>
  /** Who holds the item of a key, among the nodes closest to it. */
  readonly copies: (publicKey: Uint8Array) => Effect.Effect<Copies, string>
  /** Stores a value under a key; how many nodes took it. */
  readonly put: (
    publicKey: Uint8Array,
    sign: (message: Uint8Array) => Uint8Array,
    stored: Stored
  ) => Effect.Effect<number, string>
  /** Announces the own key under a hash; how many nodes took it. */
  readonly announce: (hash: Buffer) => Effect.Effect<number, string>
  /** Keys announced under a hash, each told once, as they come in; ends with the search. */
  readonly lookup: (hash: Buffer, tell: (publicKey: Buffer) => void) => Effect.Effect<void, string>
}

const verify = (signature: Buffer, message: Buffer, publicKey: Buffer): boolean =>
  Signature.best.verify(publicKey, message, signature)

/** What the signature of an item covers (BEP 44). */
const signedBytes = (salt: Buffer, seq: number, v: Buffer): Buffer => Bencode.encode({ salt, seq, v }).subarray(1, -1)

const isLoopback = (host: string): boolean => host.startsWith("127.")

const NOBODY = "no DHT node answered; is there one at the bootstrap address, of the same network?"

/** Opens the socket and takes part until the scope closes. */
export const open = Effect.fnUntraced(function* (options: Options): Effect.fn.Return<DhtNode, string, Scope.Scope> {
  const [{ default: DHT }, { default: krpc }] = yield* Effect.promise(() =>
    Promise.all([import("bittorrent-dht"), import("k-rpc")])
  )
  const { always = [], bootstrap, isShared = isLoopback, network, publicKey, rules, seal } = options
  const socket = new KrpcSocket({ rules, seal, publicKey, isShared })
  const rpc = krpc({ krpcSocket: socket, bootstrap: [], k: Lookup.K, concurrency: 64 })
  socket.closest = (target) =>
    Buffer.concat(
      rpc.nodes
        .closest(target, Message.MAX_NODES)
        .map(({ host, id, port }) => Buffer.concat([id, Message.endpointBytes(host, port)]))
    )
  const met = Latch.makeUnsafe()
  rpc.nodes.once("added", () => met.openUnsafe())
  const running = new Set<() => void>()

  const seeds = (target: Buffer): ReadonlyArray<Contact | HostPort> => {
    const known = rpc.nodes.closest(target, Lookup.K)
    return known.length >= Lookup.K ? known : [...known, ...bootstrap, ...self()]
  }
  /** Where the node asks itself: it may be among the closest, too. */
  const self = (): ReadonlyArray<HostPort> =>
    bootstrap.length === 0 || socket.isReachable ? [{ host: ownHost(), port: socket.address().port }] : []
  const ownHost = (): string => {
    const { address } = socket.address()
    return address === "0.0.0.0" ? "127.0.0.1" : address
  }
  const search = (
    target: Buffer,
    message: Lookup.Options["message"],
    visit: Lookup.Options["visit"],
    done: (answered: number) => void,
    from: ReadonlyArray<HostPort> = []
  ): (() => void) => {
    const finish = (answered: number): void => {
      running.delete(stop)
      done(answered)
    }
    const first = message.q === "get_peers" ? [...from, ...always] : from
    const stop = Lookup.start({
      socket,
      target,
      message,
      seeds: [...first, ...seeds(target)],
      ownId: rpc.id,
      isShared,
      visit,
      done: finish
    })
    running.add(stop)
    return () => {
      running.delete(stop)
      stop()
    }
  }
  const dht = new DHT({
    krpc: rpc,
    bootstrap: false,
    verify,
    maxValues: { max: MAX_ITEMS, maxAge: ITEM_MS },
    maxPeers: MAX_ITEMS,
    maxAge: ANNOUNCED_MS
  })
  dht.on("warning", () => undefined)
  dht.on("announce_peer", () => socket.announced())
  dht.on("put", () => socket.stored())
  const clock = yield* Clock.Clock
  const pings = new TokenBucket(PINGS_PER_SECOND, PINGS_PER_SECOND, clock.currentTimeMillisUnsafe())
  socket.on("seen", (id: Buffer, peer: Message.Peer) => {
    if (rpc.nodes.get(id) !== null || id.equals(rpc.id) || !pings.take(clock.currentTimeMillisUnsafe())) return
    socket.query(peer, { q: "ping", a: { id: rpc.id } })
  })

  const meet = (done: () => void = () => undefined): void =>
    void search(rpc.id, { q: "find_node", a: { id: rpc.id, target: rpc.id } }, () => undefined, done)
  const lonely = setInterval(() => {
    if (rpc.nodes.count() === 0 && bootstrap.length > 0) meet()
  }, LONELY_MS)
  const renew = setInterval(() => meet(), RENEW_MS)

  yield* Effect.acquireRelease(
    Effect.callback<void, string>((resume) => {
      dht.on("error", (error: Error) => resume(Effect.fail(`cannot open UDP port ${options.port}: ${error.message}`)))
      dht.listen(options.port, options.host, () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        for (const stop of running) stop()
        dht.destroy(() => resume(Effect.void))
      })
  ).pipe(Effect.onExit((exit) => (exit._tag === "Failure" ? Effect.sync(() => socket.destroy()) : Effect.void)))
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      clearInterval(lonely)
      clearInterval(renew)
    })
  )
  // Who has seen where we are lets us in only if asked again by one who may be asked.
  socket.on("reachable", () => meet())
  if (bootstrap.length > 0) meet()

  /** Searches for an item; `isEnough` may end it, and is asked with every copy. */
  const look = (key: Uint8Array, isEnough: (copies: number) => boolean) =>
    Effect.callback<Copies & { readonly value: Buffer | undefined }, string>((resume) => {
      const answered: Array<{ readonly id: Buffer; readonly version: number }> = []
      let [seq, count] = [0, 0]
      let value: Buffer | undefined
      let [first, over] = [Number.POSITIVE_INFINITY, false]
      const end = (): void => {
        if (over) return
        over = true
        clearInterval(settling)
        stop()
        if (answered.length === 0) return resume(Effect.fail(NOBODY))
        const closest = answered.sort((a, b) => Lookup.closer(target, a.id, b.id)).slice(0, Lookup.K)
        const held = closest.filter(({ version }) => value !== undefined && version === seq).length
        resume(Effect.succeed({ seq, asked: closest.length, held, value }))
      }
      const target = network.target(key)
      // Copies are told apart by their version; one more of a version that was verified is not verified again.
      const take = (answer: Message.Answer): boolean => {
        const { k, sig, v } = answer
        if (k === undefined || sig === undefined || answer.seq === undefined || v === undefined) return false
        if (!k.equals(key) || answer.seq < seq) return false
        if (answer.seq === seq && value !== undefined) return v.equals(value)
        if (!verify(sig, signedBytes(network.salt, answer.seq, v), k)) return false
        ;[count, seq, value] = [0, answer.seq, Buffer.from(v)]
        return true
      }
      const stop = search(
        target,
        { q: "get", a: { id: rpc.id, target } },
        ({ r }) => {
          const isCopy = take(r)
          answered.push({ id: Buffer.from(r.id), version: isCopy ? seq : 0 })
          if (!isCopy) return
          count++
          first = Math.min(first, performance.now())
          if (isEnough(count)) end()
        },
        end
      )
      const settling = setInterval(() => {
        if (performance.now() - first >= SETTLE_MS && isEnough(QUORUM)) end()
      }, SETTLE_MS / 4)
      return Effect.sync(() => {
        over = true
        clearInterval(settling)
        stop()
      })
    })

  /**
   * Looks for the nodes closest to a target and tells them, each with the write token that it gave; how many took it. The
   * node itself keeps it too where others reach it, and bootstrap nodes that were asked by their address, however far they are.
   */
  const store = (
    target: Buffer,
    find: Lookup.Options["message"],
    write: (token: Buffer) => { readonly q: string; readonly a: Bencode.Encodable }
  ) =>
    Effect.callback<number, string>((resume) => {
      const givers: Array<{ readonly id: Buffer; readonly peer: Message.Peer; readonly token: Buffer }> = []
      const stop = search(
        target,
        find,
        ({ r: { id, token } }, peer) => {
          if (token !== undefined) givers.push({ id: Buffer.from(id), peer, token: Buffer.from(token) })
        },
        () => {
          givers.sort((a, b) => Lookup.closer(target, a.id, b.id))
          const told = givers.filter(({ peer }, i) => i < Lookup.K || peer.id === undefined)
          if (told.length === 0) return resume(Effect.fail(NOBODY))
          let [left, taken] = [told.length, 0]
          for (const { peer, token } of told) {
            socket.query(peer, write(token), (error) => {
              if (error === null) taken++
              if (--left > 0) return
              const refusal = `none of ${told.length} DHT nodes took it, the last because ${error?.message}`
              resume(taken > 0 ? Effect.succeed(taken) : Effect.fail(refusal))
            })
          }
        },
        self()
      )
      return Effect.sync(stop)
    })

  return {
    address: { host: ownHost(), port: socket.address().port },
    known: () => rpc.nodes.count(),
    met: met.await,
    dropped: socket.dropped,
    isReachable: () => socket.isReachable,
    get: (key) =>
      Effect.map(
        look(key, (count) => count >= QUORUM),
        ({ seq, value }) => (value === undefined ? undefined : { seq, value })
      ),
    copies: (key) => look(key, () => false),
    put: (key, sign, { seq, value }) =>
      Effect.suspend(() => {
        const target = network.target(key)
        const sig = sign(signedBytes(network.salt, seq, value))
        return store(target, { q: "get", a: { id: rpc.id, target } }, (token) => ({
          q: "put",
          a: { id: rpc.id, k: Buffer.from(key), salt: network.salt, seq, sig, token, v: value }
        }))
      }),
    announce: (hash) =>
      Effect.suspend(() => {
        socket.own.add(hash.toString("latin1"))
        return store(hash, { q: "get_peers", a: { id: rpc.id, info_hash: hash } }, (token) => ({
          q: "announce_peer",
          a: { id: rpc.id, info_hash: hash, port: socket.address().port, implied_port: 1, token }
        }))
      }),
    lookup: (hash, tell) =>
      Effect.callback((resume) => {
        const told = new Set<string>()
        const asked = new Set<string>()
        const message = { q: "get_peers", a: { id: rpc.id, info_hash: hash } }
        let [answers, underWay, over] = [0, 1, false]
        const see = ({ r }: Message.Reply): void => {
          answers++
          for (let at = 0; at < (r.pks?.length ?? 0); at += 32) {
            const key = Buffer.from(r.pks!.subarray(at, at + 32))
            const name = key.toString("latin1")
            if (told.has(name)) continue
            told.add(name)
            tell(key)
          }
          // Nodes that do not know of keys tell endpoints alone: whoever is there is asked itself.
          if (r.pks === undefined) for (const value of r.values ?? []) askItself(value)
        }
        const askItself = (value: Buffer): void => {
          const name = value.toString("latin1")
          if (asked.size >= MAX_ASKED || asked.has(name)) return
          asked.add(name)
          underWay++
          socket.query(Message.endpointOf(value), message, (_error, reply) => {
            if (over) return
            if (reply?.r.pks !== undefined) see(reply)
            end()
          })
        }
        const end = (): void => {
          if (over || --underWay > 0) return
          over = true
          resume(answers === 0 ? Effect.fail(NOBODY) : Effect.void)
        }
        const stop = search(hash, message, see, end)
        return Effect.sync(() => {
          over = true
          stop()
        })
      })
  }
})
