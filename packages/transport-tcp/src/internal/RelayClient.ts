/** A node's side of relaying: slots at trackers, circuits to peers, and circuits that peers make to it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as NodeId from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode, TransportError } from "@parley/core/Transport"
import type { Address, Connection, Owner, Stream, StreamHandler, TransportErrorReason } from "@parley/core/Transport"
import type { AcceptLimits } from "../Limits.ts"
import * as Addresses from "./Addresses.ts"
import { Admission } from "./Admission.ts"
import type { Endpoint } from "./Endpoint.ts"
import { explain, RelayLink } from "./RelayLink.ts"
import * as Wire from "./RelayWire.ts"

/** First and longest pause before a lost slot is asked for again; each doubles, with up to a half taken off at random. */
const BACKOFF_MS = { first: 250, longest: 30_000 }
/** A relay that does not answer a request in this time is given up. */
export const ANSWER_TIMEOUT_MS = 5_000

const shape = /^relay:\/\/([^/]+)\/(z6Mk[1-9A-HJ-NP-Za-km-z]{44})\/(z6Mk[1-9A-HJ-NP-Za-km-z]{44})$/
const MAX_ADDRESS_LENGTH = 420

export interface RelayAddress {
  readonly via: Address
  readonly tracker: NodeId.NodeId
  readonly node: NodeId.NodeId
}

/** `relay://HOST:PORT/TRACKER/NODE`; undefined when it is none. */
export const parseAddress = (address: Address): RelayAddress | undefined => {
  const match = address.length > MAX_ADDRESS_LENGTH ? null : shape.exec(address)
  if (match === null) return undefined
  const via = `tcp://${match[1]!}`
  const tracker = NodeId.parse(match[2]!)
  const node = NodeId.parse(match[3]!)
  return Addresses.parse(via) === undefined || tracker === undefined || node === undefined
    ? undefined
    : { via, tracker, node }
}

export const formatAddress = (via: Address, tracker: NodeId.NodeId, node: NodeId.NodeId): Address =>
  `relay://${via.slice("tcp://".length).replace(/\/$/, "")}/${tracker}/${node}`

const fail = (reason: TransportErrorReason): Effect.Effect<never, TransportError> =>
  Effect.fail(new TransportError({ reason }))

/** Asks a relay, and hands its stream on when the answer is yes. Stops asking when told so. */
const ask = (
  connection: Connection,
  request: Uint8Array,
  timeoutMs: number,
  on: {
    readonly yes: (stream: Stream) => StreamHandler
    readonly no: (detail: string) => void
  }
): (() => void) => {
  let handler: StreamHandler | undefined
  let over = false
  const refuse = (detail: string): void => {
    if (over) return
    over = true
    clearTimeout(timer)
    on.no(detail)
  }
  const stream = connection.open(Protocol.RELAY, {
    onMessage: (message, last) => {
      if (handler !== undefined) return handler.onMessage(message, last)
      if (over || stream === undefined) return
      const answer = Wire.readAnswer(message)
      if (answer !== true || last) {
        stream.reset(ResetCode.Cancelled)
        const reason = answer === true ? "Malformed" : answer
        return refuse(`the relay ${connection.peer} refused (${reason}): ${Wire.refusals[reason][1]}`)
      }
      over = true
      clearTimeout(timer)
      handler = on.yes(stream)
    },
    onWritable: () => handler?.onWritable(),
    onClosed: (code) => (handler === undefined ? refuse(explain(code)) : handler.onClosed(code))
  })
  const timer = setTimeout(() => {
    stream?.reset(ResetCode.Cancelled)
    refuse(`the relay ${connection.peer} did not answer within ${timeoutMs} ms`)
  }, timeoutMs)
  if (stream === undefined) refuse(`the connection to the relay ${connection.peer} takes no more streams`)
  else stream.send(request, undefined, false)
  return () => {
    if (over) return
    over = true
    clearTimeout(timer)
    stream?.reset(ResetCode.Cancelled)
  }
}

/** Connects to a node through the relay that its address names. */
export const dial = (
  endpoint: Endpoint,
  owner: Owner,
  address: Address,
  expect: NodeId.NodeId | undefined,
  timeoutMs: number
): Effect.Effect<Connection, TransportError> => {
  const target = parseAddress(address)
  if (target === undefined) {
    const detail = "that is no address of the form relay://HOST:PORT/TRACKER/NODE"
    return fail({ _tag: "DialFailed", address, detail })
  }
  if (expect !== undefined && expect !== target.node) {
    return fail({ _tag: "DialFailed", address, detail: `that is an address of another node than ${expect}` })
  }
  if (target.tracker === target.node || target.tracker === owner.nodeId) {
    return fail({ _tag: "DialFailed", address, detail: "a circuit needs a third node as its relay" })
  }
  const throughRelay = (relay: Connection): Effect.Effect<Connection, TransportError> =>
    Effect.callback<Connection, TransportError>((resume) => {
      let abandon = ask(relay, Wire.connect(target.node), timeoutMs, {
        no: (detail) => resume(fail({ _tag: "DialFailed", address, detail })),
        yes: (stream) => {
          const link = new RelayLink(stream)
          abandon = endpoint.dial(
            {
              link,
              address,
              relayed: true,
              onResult: (session, reason) =>
                resume(session === undefined ? fail(reason!) : Effect.succeed<Connection>(session))
            },
            target.node,
            timeoutMs
          )
          return link
        }
      })
      return Effect.sync(() => abandon())
    })
  return owner
    .connect({ node: target.tracker, addresses: [target.via] })
    .pipe(
      Effect.flatMap((relay) =>
        relay.relayed
          ? fail({ _tag: "DialFailed", address, detail: "its relay can be reached through another relay only" })
          : throughRelay(relay)
      )
    )
}

export interface ReserveOptions {
  readonly endpoint: Endpoint
  readonly owner: Owner
  readonly relays: ReadonlyArray<Address>
  /** What strangers may have who come through relays: a relay counts as one network address. */
  readonly accept: AcceptLimits
  /** Addresses through relays, whenever they change. */
  readonly onAddresses: (addresses: ReadonlyArray<Address>) => void
}

/** Holds a slot at every relay, asking again when one is lost, and takes circuits from them, until the scope closes. */
export const reserve = (options: ReserveOptions): Effect.Effect<void, TransportError, Scope.Scope> => {
  const { endpoint, owner } = options
  /** By the relay as configured: its NodeId, while a slot there is held. */
  const held = new Map<Address, NodeId.NodeId>()
  // Whoever fills all places with handshakes that lead nowhere loses the oldest of them to those who come after; and what
  // one relay brings never stands in the way of another one.
  const boundless = Number.POSITIVE_INFINITY
  const admission = new Admission(
    {
      ...options.accept,
      maxPendingPerAddress: boundless,
      maxConnectionsPerAddress: boundless,
      maxConnections: boundless
    },
    true
  )

  const publish = (): void => {
    const found = new Set([...held].map(([via, tracker]) => formatAddress(via, tracker, owner.nodeId)))
    options.onAddresses([...found])
  }

  const accept = (relay: Connection, stream: Stream): StreamHandler | undefined => {
    const via = [...held].find(([, tracker]) => tracker === relay.peer)?.[0]
    if (via === undefined) return undefined
    const link = new RelayLink(stream)
    let begun = false
    return {
      onMessage: (message, last) => {
        if (begun) return link.onMessage(message, last)
        const dialler = Wire.readIncoming(message)
        if (dialler === undefined || last) return stream.reset(ResetCode.Malformed)
        const address = formatAddress(via, relay.peer, dialler)
        let abandon = (): void => {}
        const guest = admission.admit(relay.peer, performance.now(), () => abandon())
        if (!("left" in guest)) {
          stream.reset(ResetCode.Overloaded)
          return endpoint.refused(address, { _tag: "LimitReached", limit: guest[0], value: guest[1] })
        }
        begun = true
        abandon = endpoint.accept({
          link,
          address,
          relayed: true,
          onResult: (_session, reason) => {
            guest.left()
            if (reason !== undefined) endpoint.refused(address, reason)
          }
        })
      },
      onWritable: () => link.onWritable(),
      onClosed: (code) => link.onClosed(code)
    }
  }

  /** One slot, from request to loss; fails when it was refused. */
  const slot = (via: Address, relay: Connection): Effect.Effect<void, TransportError> =>
    Effect.callback<void, TransportError>((resume) => {
      let release = ask(relay, Wire.reserve, ANSWER_TIMEOUT_MS, {
        no: (detail) => resume(fail({ _tag: "DialFailed", address: via, detail })),
        yes: (stream) => {
          const lost = (): void => {
            held.delete(via)
            publish()
            resume(Effect.void)
          }
          release = () => {
            held.delete(via)
            stream.reset(ResetCode.Cancelled)
          }
          held.set(via, relay.peer)
          publish()
          return {
            onMessage: (_message, last) => {
              if (!last) return
              stream.reset(ResetCode.Cancelled)
              lost()
            },
            onWritable: () => {},
            onClosed: lost
          }
        }
      })
      return Effect.sync(() => release())
    })

  const keep = (via: Address): Effect.Effect<void> => {
    let pause = BACKOFF_MS.first
    return owner.connect({ addresses: [via] }).pipe(
      Effect.flatMap((relay) => slot(via, relay)),
      Effect.tap(() =>
        Effect.sync(() => {
          pause = BACKOFF_MS.first
        })
      ),
      Effect.catch((error) => Effect.logDebug(`no slot at the relay ${via}: ${error.message}`)),
      Effect.andThen(Effect.suspend(() => Effect.sleep(pause * (0.5 + Math.random() / 2)))),
      Effect.tap(() =>
        Effect.sync(() => {
          pause = Math.min(2 * pause, BACKOFF_MS.longest)
        })
      ),
      Effect.forever
    )
  }

  return Effect.gen(function* () {
    yield* owner.handle(Protocol.CIRCUIT, accept)
    for (const via of options.relays) yield* Effect.forkScoped(keep(via))
  })
}
