/** Drives `Reservations` over connections: slots at relays, and the circuits that peers make through them to this node. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Action, Event } from "@parley/core/Machine"
import * as NodeId from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode } from "@parley/core/Transport"
import type { Address, Connection, Owner, Stream, StreamHandler, Target, TransportError } from "@parley/core/Transport"
import type { AcceptLimits } from "../Limits.ts"
import * as Reservations from "../Reservations.ts"
import { Admission } from "./Admission.ts"
import type { Endpoint } from "./Endpoint.ts"
import { watch } from "./NetworkWatch.ts"
import { formatAddress } from "./RelayClient.ts"
import { RelayLink } from "./RelayLink.ts"
import * as Wire from "./RelayWire.ts"

export interface ReserveOptions {
  readonly endpoint: Endpoint
  readonly owner: Owner
  /** `tcp://HOST:PORT`, or `tcp://HOST:PORT/NODE` where only that key will do. */
  readonly relays: ReadonlyArray<Address>
  readonly slots: number
  /** What strangers may have who come through relays: a relay counts as one network address. */
  readonly accept: AcceptLimits
  /** Addresses through relays, best first, whenever they change. */
  readonly onAddresses: (addresses: ReadonlyArray<Address>) => void
  /** How the relays do, whenever something happened at one. */
  readonly onHealth: (health: ReadonlyArray<Reservations.Health>) => void
}

type Happening = Event<Reservations.Message, Reservations.Timer, Reservations.Command>
type Deed = Action<Reservations.Message, Reservations.Timer, Reservations.Told>

/** Where a relay is, and whose key it must have: the one it was given with, or for a first try the one it had. */
interface Relay {
  readonly via: Address
  readonly address: Address
  readonly node: NodeId.NodeId | undefined
  learned: NodeId.NodeId | undefined
  /** Abandons what is under way, or lets the slot go. */
  end: (() => void) | undefined
  connection: Connection | undefined
  stream: Stream | undefined
}

const parse = (via: Address): Relay => {
  const slash = via.lastIndexOf("/")
  const node = NodeId.parse(via.slice(slash + 1))
  return {
    via,
    address: node === undefined ? via : via.slice(0, slash),
    node,
    learned: node,
    end: undefined,
    connection: undefined,
    stream: undefined
  }
}

const refused = (refusal: Wire.Refusal): Reservations.Message => ({
  _tag: "Refused",
  reason: Wire.refusals[refusal][1],
  understood: refusal !== "Malformed"
})

class Slots {
  readonly #options: ReserveOptions
  readonly #relays: ReadonlyMap<Address, Relay>
  readonly #run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly #events: Array<Happening> = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #state: Reservations.State
  #busy = false
  #over = false

  constructor(options: ReserveOptions, run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.#options = options
    this.#run = run
    this.#relays = new Map(options.relays.map((via) => [via, parse(via)]))
    this.#state = Reservations.make([...this.#relays.keys()], Math.random, options.slots)
  }

  /** Events are handled one after the other, also those that an action brings about at once. */
  happen(event: Happening): void {
    if (this.#over) return
    this.#events.push(event)
    if (this.#busy) return
    this.#busy = true
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      const [state, actions] = Reservations.machine.step(this.#state, next)
      this.#state = state
      for (const action of actions) this.#carryOut(action)
    }
    this.#busy = false
    this.#options.onHealth(Reservations.health(this.#state))
  }

  stop(): void {
    this.#over = true
    clearTimeout(this.#timer)
    for (const relay of this.#relays.values()) this.#end(relay)
  }

  /** Under which address this node holds a slot at a relay now. */
  heldAt(relay: NodeId.NodeId): Address | undefined {
    const via = Reservations.heldAt(this.#state, relay, performance.now())
    return via === undefined ? undefined : this.#relays.get(via)?.address
  }

  #carryOut(action: Deed): void {
    switch (action._tag) {
      case "Send":
        return this.#send(this.#relays.get(action.to)!, action.message._tag === "AskPlain")
      case "Close":
        return this.#end(this.#relays.get(action.peer)!)
      case "After":
        // The machine asks for another look only where that is due before the one it has asked for.
        clearTimeout(this.#timer)
        this.#timer = setTimeout(
          () => this.happen({ _tag: "Timer", now: performance.now(), timer: action.timer }),
          action.ms
        )
        return
      case "Tell":
        return this.#tell(action.told)
    }
  }

  #tell(told: Reservations.Told): void {
    const { onAddresses, owner } = this.#options
    switch (told._tag) {
      case "Slots":
        return onAddresses(
          told.slots.map(({ tracker, via }) => formatAddress(this.#relays.get(via)!.address, tracker, owner.nodeId))
        )
      case "Silent": {
        const relay = this.#relays.get(told.via)!
        const learned = relay.learned
        // Its streams would wait for half a minute until the connection itself notices.
        if (relay.connection?.peer === learned) relay.connection?.close("the relay there does not answer")
        relay.connection = undefined
        return
      }
      case "Replaced":
        this.#run(
          Effect.logWarning(
            `another process with this node's key took its slot at the relay ${told.via}: two nodes need two keys`
          )
        )
    }
  }

  #end(relay: Relay): void {
    const { end } = relay
    relay.end = relay.stream = undefined
    end?.()
  }

  #send(relay: Relay, plain: boolean): void {
    if (!plain && relay.stream !== undefined) return void relay.stream.send(Wire.lease, undefined, false)
    this.#end(relay)
    const { via } = relay
    const down = (error: TransportError): Effect.Effect<void> => {
      if (error.reason._tag === "HandshakeFailed") relay.learned = relay.node
      relay.end = undefined
      this.happen({ _tag: "LinkDown", now: performance.now(), peer: via })
      return Effect.logDebug(`no slot at the relay ${via}: ${error.message}`)
    }
    const { address, learned } = relay
    const target: Target = { addresses: [address], ...(learned === undefined ? {} : { node: learned }) }
    const fiber = this.#run(
      this.#options.owner.connect(target).pipe(
        Effect.matchEffect({
          onFailure: down,
          onSuccess: (connection) => Effect.sync(() => this.#open(relay, connection, plain))
        })
      )
    )
    // It may all have happened at once.
    if (relay.end === undefined && fiber.pollUnsafe() === undefined) relay.end = () => fiber.interruptUnsafe()
  }

  #open(relay: Relay, connection: Connection, plain: boolean): void {
    const { via } = relay
    relay.connection = connection
    relay.learned = connection.peer
    const say = (message: Reservations.Message): void =>
      this.happen({ _tag: "Message", now: performance.now(), from: via, message })
    if (connection.relayed) return say(refused("Relayed"))
    const isMine = (): boolean => relay.stream === stream && stream !== undefined
    const stream = connection.open(Protocol.RELAY, {
      onMessage: (message, last) => {
        if (!isMine()) return
        const answer = Wire.readGrant(message)
        if (typeof answer !== "string" && !last) {
          const lease = answer === true ? {} : { leaseMs: answer.leaseMs, quota: answer }
          return say({ _tag: "Granted", tracker: connection.peer, ...lease })
        }
        this.#end(relay)
        say(refused(typeof answer === "string" ? answer : "Malformed"))
      },
      onWritable: () => {},
      onClosed: (code) => {
        if (!isMine()) return
        relay.end = relay.stream = undefined
        if (code === ResetCode.UnknownProtocol) {
          return say({ _tag: "Refused", reason: "the node there does not relay", understood: true })
        }
        if (code === ResetCode.Cancelled) say({ _tag: "Replaced" })
        this.happen({ _tag: "LinkDown", now: performance.now(), peer: via })
      }
    })
    if (stream === undefined) return this.happen({ _tag: "LinkDown", now: performance.now(), peer: via })
    relay.stream = stream
    relay.end = () => stream.reset(ResetCode.Cancelled)
    stream.send(plain ? Wire.reserve : Wire.lease, undefined, false)
  }
}

/** Holds slots at the best of some relays, and takes circuits from those, until the scope closes. */
export const reserve = (options: ReserveOptions): Effect.Effect<void, TransportError, Scope.Scope> =>
  Effect.gen(function* () {
    const { endpoint, owner } = options
    const slots = new Slots(options, Effect.runForkWith(yield* Effect.context()))
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

    const accept = (relay: Connection, stream: Stream): StreamHandler | undefined => {
      const via = slots.heldAt(relay.peer)
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
            return endpoint.full(address, guest)
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

    yield* owner.handle(Protocol.CIRCUIT, accept)
    const command = (what: Reservations.Command): void =>
      slots.happen({ _tag: "Command", now: performance.now(), command: what })
    yield* Effect.acquireRelease(
      Effect.sync(() => command("Start")),
      () => Effect.sync(() => slots.stop())
    )
    yield* Effect.acquireRelease(
      Effect.sync(() => watch.listen(() => command("Hurry"))),
      (stop) => Effect.sync(stop)
    )
  })
