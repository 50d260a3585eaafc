/**
 * One search through the DHT for the nodes closest to a target (Kademlia; BEP 5), in place of the library's own, which believes
 * every node that an answer names to be there, and has no end when answers go on naming closer ones.
 *
 * Here a node that does not answer makes room for the next one, one that is slow is not waited for while others can be asked, and
 * a search has a bound in time, in queries, and in queries to one host.
 */
import type { Contact } from "k-rpc"
import type { KrpcSocket } from "./KrpcSocket.ts"
import * as Message from "./KrpcMessage.ts"

/** Nodes that hold what is stored: K of BEP 5. */
export const K = 8
/** Queries of one search under way at once. */
export const ALPHA = 6
/** Queries of one search: in a network of ten million, one takes 40. */
export const MAX_QUERIES = 128
/** Nodes of one host that one search asks. */
export const MAX_OF_HOST = 8
/** Nodes that one search remembers, asked or not. */
export const MAX_CANDIDATES = 512
/** Longest search, in milliseconds. */
export const LOOKUP_MS = 2_000
/** After this time without an answer, others are asked in a node's place, in milliseconds. */
export const STALLED_MS = 250

interface Candidate {
  readonly id: Buffer | undefined
  readonly host: string
  readonly port: number
  state: "new" | "asked" | "stalled" | "answered" | "failed"
  askedAt: number
}

/** What a search needs. */
export interface Options {
  readonly socket: Pick<KrpcSocket, "query">
  readonly target: Buffer
  readonly message: { readonly q: string; readonly a: { readonly [name: string]: Buffer } }
  /** Where it begins: the closest known, and where there are few, bootstrap nodes. */
  readonly seeds: ReadonlyArray<Contact | { readonly host: string; readonly port: number }>
  readonly ownId: Buffer
  /** Hosts that many nodes share, which `MAX_OF_HOST` does not hold for. */
  readonly isShared: (host: string) => boolean
  /** Hears every answer; false ends the search. */
  readonly visit: (reply: Message.Reply, peer: Message.Peer) => boolean | void
  /** How many have answered. */
  readonly done: (answered: number) => void
}

/** Which of two ids is closer to the target: negative for the first. */
export const closer = (target: Uint8Array, a: Uint8Array, b: Uint8Array): number => {
  for (let i = 0; i < target.length; i++) {
    const [left, right] = [a[i]! ^ target[i]!, b[i]! ^ target[i]!]
    if (left !== right) return left - right
  }
  return 0
}

/** Starts a search; gives a way to stop it, after which nothing more is told. */
export const start = ({ done, isShared, message, ownId, seeds, socket, target, visit }: Options): (() => void) => {
  const known = new Map<string, Candidate>()
  const order: Array<Candidate> = []
  const ofHost = new Map<string, number>()
  const began = Date.now()
  let [asked, underWay, answered, over] = [0, 0, 0, false]

  const add = (id: Buffer | undefined, host: string, port: number): void => {
    const name = `${host}:${port}`
    if (known.size >= MAX_CANDIDATES || known.has(name) || id?.equals(ownId) === true) return
    const count = ofHost.get(host) ?? 0
    if (count >= MAX_OF_HOST && !isShared(host)) return
    ofHost.set(host, count + 1)
    const candidate: Candidate = { id, host, port, state: "new", askedAt: 0 }
    known.set(name, candidate)
    // Bootstrap nodes, whose id is not known, come first.
    const at =
      id === undefined ? 0 : order.findIndex((other) => other.id !== undefined && closer(target, id, other.id) < 0)
    order.splice(at < 0 ? order.length : at, 0, candidate)
  }
  const stop = (): void => {
    over = true
    clearInterval(timer)
  }
  const finish = (): void => {
    if (over) return
    stop()
    done(answered)
  }
  const ask = (candidate: Candidate): void => {
    candidate.state = "asked"
    candidate.askedAt = Date.now()
    asked++
    underWay++
    const { host, id, port } = candidate
    socket.query({ host, port, ...(id === undefined ? {} : { id }) }, message, (error, reply, peer) => {
      if (candidate.state === "asked") underWay--
      candidate.state = error === null ? "answered" : "failed"
      if (over) return
      if (reply !== null) {
        answered++
        if (reply.r.nodes !== undefined) {
          for (const node of Message.nodesOf(reply.r.nodes)) add(Buffer.from(node.id), node.host, node.port)
        }
        if (visit(reply, peer) === false) return finish()
      }
      step()
    })
  }
  const step = (): void => {
    if (over) return
    if (Date.now() - began >= LOOKUP_MS) return finish()
    let window = 0
    let isSettled = true
    for (const candidate of order) {
      if (window >= K) break
      if (candidate.state === "failed" || candidate.state === "stalled") continue
      // A bootstrap node may be far off: it is asked, and not counted.
      if (candidate.id !== undefined) window++
      if (candidate.state === "new" && underWay < ALPHA && asked < MAX_QUERIES) ask(candidate)
      if (candidate.state === "asked") isSettled = false
      if (candidate.state === "new") isSettled = isSettled && asked >= MAX_QUERIES
    }
    const isWaiting = order.some(({ state }) => state === "asked" || state === "stalled")
    if (isSettled && (window >= K || !isWaiting)) finish()
  }
  const timer = setInterval(() => {
    const before = Date.now() - STALLED_MS
    for (const candidate of order) {
      if (candidate.state !== "asked" || candidate.askedAt > before) continue
      candidate.state = "stalled"
      underWay--
    }
    step()
  }, STALLED_MS / 2)
  for (const seed of seeds) add("id" in seed ? seed.id : undefined, seed.host, seed.port)
  queueMicrotask(step)
  return stop
}
