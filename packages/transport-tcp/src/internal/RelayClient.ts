/** Addresses through relays, and circuits that this node makes to peers. `RelaySlots` takes those that peers make to it. */
import * as Effect from "effect/Effect"
import * as NodeId from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode, TransportError } from "@parley/core/Transport"
import type { Address, Connection, Owner, Stream, StreamHandler, TransportErrorReason } from "@parley/core/Transport"
import * as Addresses from "./Addresses.ts"
import type { Endpoint } from "./Endpoint.ts"
import { explain, RelayLink } from "./RelayLink.ts"
import * as Wire from "./RelayWire.ts"

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
