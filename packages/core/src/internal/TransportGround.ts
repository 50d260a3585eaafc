/** The ground on which the laws of Transport are tried: two nodes that listen, and everything that they hear. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { NodeId } from "../NodeId.ts"
import type {
  Acceptor,
  Address,
  Connection,
  Owner,
  ResetCode,
  Stream,
  StreamHandler,
  Transport,
  TransportError
} from "../Transport.ts"

/** One node's transport, not listening yet. */
export interface Party {
  readonly nodeId: NodeId
  readonly transport: Transport["Service"]
}

/** One implementation under test. */
export interface Harness {
  readonly name: string
  /** Two fresh nodes that can reach each other once both listen; the scope ends with the law. */
  readonly pair: Effect.Effect<readonly [Party, Party], unknown, Scope.Scope>
  /** Which address of the second node the laws dial; the first one where absent. */
  readonly choose?: (addresses: ReadonlyArray<Address>) => Address | undefined
}

/** Longest wait for anything that must happen. */
export const PATIENCE_MS = 8_000
/** How often a condition is looked at besides. */
const POLL_MS = 5
/** The protocol whose streams the nodes take. */
export const protocol = 200
const decoder = new TextDecoder()

/** Wakes whoever waits for a condition, after every event. */
export class Events {
  readonly #waiting = new Set<() => void>()

  readonly happened = (): void => {
    for (const look of [...this.#waiting]) look()
  }

  /** Waits until the condition holds; dies with `what` when it does not in time. */
  readonly until = (what: string, condition: () => boolean): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      const timer = setTimeout(() => {
        clearInterval(poll)
        this.#waiting.delete(look)
        resume(Effect.die(new Error(`after ${PATIENCE_MS} ms still not so: ${what}`)))
      }, PATIENCE_MS)
      const look = (): void => {
        if (!condition()) return
        clearTimeout(timer)
        clearInterval(poll)
        this.#waiting.delete(look)
        resume(Effect.void)
      }
      // Some of what laws wait for changes just after the event that they hear of.
      const poll = setInterval(() => look(), POLL_MS)
      this.#waiting.add(look)
      look()
      return Effect.sync(() => {
        clearTimeout(timer)
        clearInterval(poll)
        this.#waiting.delete(look)
      })
    })
}

/** Everything a stream was told. */
export class Heard implements StreamHandler {
  readonly messages: Array<Uint8Array> = []
  readonly codes: Array<ResetCode> = []
  readonly #events: Events
  bytes = 0
  writable = 0
  ended = false
  stream: Stream | undefined
  onText: ((text: string, last: boolean) => void) | undefined
  keep = true

  constructor(events: Events) {
    this.#events = events
  }

  onMessage(message: Uint8Array, last: boolean): void {
    this.bytes += message.length
    if (this.keep) this.messages.push(Uint8Array.from(message))
    if (last) this.ended = true
    this.onText?.(decoder.decode(message), last)
    this.#events.happened()
  }

  onWritable(): void {
    this.writable++
    this.#events.happened()
  }

  onClosed(code: ResetCode): void {
    this.codes.push(code)
    this.#events.happened()
  }

  get texts(): ReadonlyArray<string> {
    return this.messages.map((message) => decoder.decode(message))
  }
}

/** One node of a law, and everything its transport told it. */
export class Node {
  readonly nodeId: NodeId
  readonly transport: Transport["Service"]
  readonly events: Events
  readonly connections: Array<Connection> = []
  readonly closed: Array<Connection> = []
  readonly refused: Array<TransportError> = []
  readonly streams: Array<Heard> = []
  readonly acceptors = new Map<number, Acceptor>()
  /** Links to helpers of the transport, such as a relay's tracker, which no law is about. */
  readonly #helpers = new Set<Connection>()
  addresses: ReadonlyArray<Address> = []
  /** What happens to streams of the laws' protocol before they are recorded. */
  onStream: (heard: Heard, stream: Stream) => void = () => {}

  constructor(party: Party, events: Events) {
    this.nodeId = party.nodeId
    this.transport = party.transport
    this.events = events
  }

  readonly listen: Effect.Effect<void, TransportError, Scope.Scope> = Effect.suspend(() => {
    const { events } = this
    const owner: Owner = {
      nodeId: this.nodeId,
      onConnection: (connection) => {
        this.connections.push(connection)
        events.happened()
      },
      onStream: (connection, number, stream) => {
        const acceptor = this.acceptors.get(number)
        if (acceptor !== undefined) return acceptor(connection, stream)
        if (number !== protocol) return undefined
        const heard = new Heard(events)
        heard.stream = stream
        this.streams.push(heard)
        this.onStream(heard, stream)
        events.happened()
        return heard
      },
      onClosed: (connection) => {
        if (!this.#helpers.delete(connection)) this.closed.push(connection)
        events.happened()
      },
      onRefused: (_address, error) => {
        this.refused.push(error)
        events.happened()
      },
      onAddresses: (addresses) => {
        this.addresses = addresses
        events.happened()
      },
      connect: (target) =>
        Effect.suspend(() => {
          const known = [...this.#helpers].find((helper) => helper.peer === target.node && helper.state() === "open")
          if (known !== undefined) return Effect.succeed(known)
          return Effect.map(this.transport.dial(target.addresses[0] ?? "", target.node), (helper) => {
            this.#helpers.add(helper)
            return helper
          })
        }),
      handle: (number, acceptor) =>
        Effect.acquireRelease(
          Effect.sync(() => void this.acceptors.set(number, acceptor)),
          () => Effect.sync(() => void this.acceptors.delete(number))
        )
    }
    return Effect.map(this.transport.listen(owner), (addresses) => {
      if (this.addresses.length === 0) this.addresses = addresses
    })
  })
}

/** What a law works with: two nodes that listen, and where the second is reached. */
export interface Ground {
  readonly a: Node
  readonly b: Node
  readonly address: Address
  readonly events: Events
  readonly scopes: { readonly a: Scope.Closeable; readonly b: Scope.Closeable }
  /** Dials from `a`; gives both ends. */
  readonly connect: Effect.Effect<readonly [Connection, Connection], TransportError>
  /** Opens a stream on a connection. */
  readonly open: (connection: Connection) => { readonly stream: Stream; readonly heard: Heard }
}

/** Has both nodes listen, in scopes of their own. */
export const makeGround = (harness: Harness): Effect.Effect<Ground, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const events = new Events()
    const [first, second] = yield* harness.pair
    const [a, b] = [new Node(first, events), new Node(second, events)]
    const closing = (scope: Scope.Closeable) => Scope.close(scope, Exit.void)
    const scopes = {
      a: yield* Effect.acquireRelease(Scope.make(), closing),
      b: yield* Effect.acquireRelease(Scope.make(), closing)
    }
    yield* a.listen.pipe(Scope.provide(scopes.a))
    yield* b.listen.pipe(Scope.provide(scopes.b))
    const choose = harness.choose ?? ((addresses) => addresses[0])
    yield* events.until("the second node has an address", () => choose(b.addresses) !== undefined)
    const address = choose(b.addresses)!
    const connect = Effect.gen(function* () {
      const before = b.connections.length
      const near = yield* a.transport.dial(address, b.nodeId)
      const accepted = () => b.connections.slice(before).find((connection) => connection.peer === a.nodeId)
      yield* events.until("the second node reports the connection", () => accepted() !== undefined)
      return [near, accepted()!] as const
    })
    const open = (connection: Connection) => {
      const heard = new Heard(events)
      const stream = connection.open(protocol, heard)
      if (stream === undefined) throw new Error("the connection gave no stream")
      heard.stream = stream
      return { stream, heard }
    }
    return { a, b, address, events, scopes, connect, open }
  })
