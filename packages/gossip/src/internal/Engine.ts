/**
 * Engine: the gossip machine of one node at work. Turns what comes on links into its events, and what it wants done into
 * frames, timers and news; believes payloads before the machine sees them; and holds what every source may cost.
 */
import * as AgentRecord from "@parley/core/AgentRecord"
import { BroadcastError, type Heard, MAX_BROADCAST_BYTES } from "@parley/core/Broadcast"
import type { Found } from "@parley/core/Discovery"
import * as Feed from "@parley/core/Feed"
import type { Identity } from "@parley/core/Identity"
import type { Action, Event, Machine } from "@parley/core/Machine"
import type { NodeId } from "@parley/core/NodeId"
import type { Address } from "@parley/core/Transport"
import * as Envelope from "../Envelope.ts"
import type * as AntiEntropy from "../AntiEntropy.ts"
import type { Command, Message, Timer, Told } from "../GossipMachine.ts"
import * as Payload from "../Payload.ts"
import type { Carried } from "../Plumtree.ts"
import * as Statement from "../Statement.ts"
import type * as Swim from "../Swim.ts"
import { MAX_MEMBERS } from "../SwimTimes.ts"
import * as Wire from "../Wire.ts"
import { AddressBook } from "./AddressBook.ts"
import { type Deps as LinksDeps, Links } from "./Links.ts"
import { Ordering } from "./Ordering.ts"
import { PUBLISH, Rates } from "./Rates.ts"
import { Recent } from "./Recent.ts"
import { countsUntil, Records } from "./Records.ts"

/** How this source is named in messages. */
export const SOURCE = "gossip"
/** Pause between two broadcasts of this node's own record, in ms: a node that starts serves one capability after the other. */
export const ADVERTISE_MS = 250
/** Topics on which this node's messages are counted; past it the one published on longest ago begins anew, in a later epoch. */
export const MAX_TOPICS = 4_096
/** Ids of payloads that were believed lately: those of some minutes at 50 a second. What was forgotten is verified once more. */
export const MAX_BELIEVED = 16_384
/** Nodes known to be dead or gone, as many as members; past it the one of longest ago counts as there again. */
export const MAX_DEAD = MAX_MEMBERS
/** How often gaps are looked at, and records that have expired, in ms. */
const TICK_MS = 100
/** How long messages of topics are held for who missed them, in ms: a partition of a minute and a half, and time to meet again. */
export const HELD_MS = 120_000
const PRUNE_MS = 30_000
/** What a payload was read as. One that came before is not read again. */
type Reading = Payload.Read | { readonly _tag: "Again"; readonly origin: NodeId }
type Happening = Event<Message, Timer, Command>

/** What came and went, since the start. */
export interface Counts {
  /** Messages of all kinds that came, and their bytes. */
  readonly messages: number
  readonly bytes: number
  /** Payloads among them, each time that one came. */
  readonly payloads: number
  /** Payloads that were new. */
  readonly fresh: number
  /** Connections made for gossip. */
  readonly dials: number
}

/** What the engine needs of its node. */
export interface Deps<State> {
  readonly identity: Identity["Service"]
  readonly connections: LinksDeps["connections"]
  /** Where the node listens. */
  readonly addresses: () => ReadonlyArray<Address>
  readonly fork: LinksDeps["fork"]
  /** The machine and the state in which it begins. `verify`: whether a statement of failure detection is signed. */
  readonly start: (verify: (statement: Swim.Statement) => boolean) => {
    readonly machine: Machine<State, Message, Timer, Command, Told>
    readonly state: State
  }
}

/** The gossip of one node. */
export class Engine<State = unknown> {
  readonly nodeId: NodeId
  /** When this run began, in ms since 1970. */
  readonly epoch = Date.now()
  readonly records = new Records()
  readonly links: Links
  /** Nodes that have come, changed and gone. */
  readonly feed: Feed.Feed<Found>
  readonly neighbors = new Set<NodeId>()
  readonly #deps: Deps<State>
  readonly #book = new AddressBook()
  /** The origins of payloads whose signature held: what comes again is not looked at again. */
  readonly #believed = new Recent<string, NodeId>(MAX_BELIEVED)
  readonly #ordering: Ordering
  /** Who listens to each topic, and since when, in ms since 1970. */
  readonly #topics = new Map<string, { readonly since: number; readonly hears: Set<(heard: Heard) => void> }>()
  /** What this node has published on each topic: since when, and the next number. */
  readonly #counts = new Recent<string, { readonly epoch: number; readonly next: number }>(MAX_TOPICS)
  readonly #rates = new Rates()
  readonly #dead = new Recent<NodeId, true>(MAX_DEAD)
  readonly #events: Array<{ readonly event: Happening; readonly read: Reading | undefined }> = []
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  readonly #ticks: ReadonlyArray<ReturnType<typeof setInterval>>
  readonly #machine: Machine<State, Message, Timer, Command, Told>
  #state: State
  #stepping = false
  /** What the payload of the event under way was read as. */
  #reading: Reading | undefined
  /** A statement of the message under way was forged. */
  #forged = false
  #stopped = false
  #own: AgentRecord.AgentRecord | undefined
  #advertisedAt = Number.NEGATIVE_INFINITY
  #advertising = false
  #lastEpoch = 0
  readonly #tally = { messages: 0, bytes: 0, payloads: 0, fresh: 0 }

  constructor(deps: Deps<State>) {
    this.#deps = deps
    const { machine, state } = deps.start((statement) => this.#isGenuine(statement))
    this.#machine = machine
    this.#state = state
    this.nodeId = deps.identity.nodeId
    this.#ordering = new Ordering((heard) => this.#tell(heard))
    this.feed = Feed.make<Found>(() => this.#live())
    this.links = new Links({
      connections: deps.connections,
      fork: deps.fork,
      addressesOf: this.addressesOf,
      hello: () => Wire.encodeHello({ epoch: this.epoch, addresses: deps.addresses() }),
      onHello: (peer, bytes) => {
        const hello = Wire.decodeHello(bytes)
        if (hello instanceof Wire.WireRefused) return undefined
        this.#book.add(peer, hello.addresses, "itself")
        return hello.epoch
      },
      time: {
        pauseFor: (peer) => this.#rates.pauseFor(peer, this.neighbors.has(peer), performance.now()),
        spent: (peer, began) => this.#rates.spent(peer, this.neighbors.has(peer), began, performance.now())
      },
      onMessage: (peer, bytes) => this.#receive(peer, bytes),
      onUp: (peer) => this.#happen({ _tag: "LinkUp", now: performance.now(), peer }),
      onDown: (peer) => this.#happen({ _tag: "LinkDown", now: performance.now(), peer })
    })
    this.#ticks = [
      setInterval(() => this.#ordering.tick(performance.now()), TICK_MS),
      setInterval(() => this.records.prune(Date.now()), PRUNE_MS)
    ]
  }

  /** Where a node may be reached: what its record says, else what peers say. */
  readonly addressesOf = (node: NodeId): ReadonlyArray<Address> => {
    if (node === this.nodeId) return this.#deps.addresses()
    const record = this.records.get(node)
    const told = this.#book.get(node)
    return record === undefined || record.addresses.length === 0 ? told : [...new Set([...record.addresses, ...told])]
  }

  /** Somebody who may take this node into the mesh, or another part of it. */
  contact(node: NodeId, addresses: ReadonlyArray<Address> = []): void {
    if (node === this.nodeId || this.#stopped) return
    this.#book.add(node, addresses, "another")
    if (this.links.isShunned(node)) return
    this.command({ _tag: "Join", contacts: [node] })
  }

  command(command: Command): void {
    this.#happen({ _tag: "Command", now: performance.now(), command })
  }

  isDown(node: NodeId): boolean {
    return this.#dead.has(node)
  }

  // --- topics

  /** Sends a message to all who listen to its topic, this node included; to how many neighbours, or why not. */
  publish(topic: string, text: string): number | BroadcastError {
    const bytes = Buffer.byteLength(text)
    const fail = (code: BroadcastError["code"], detail: string) => new BroadcastError({ code, detail })
    if (this.#stopped) return fail("Closed", "the node is leaving, and publishes nothing any more")
    if (bytes > MAX_BROADCAST_BYTES)
      return fail("TooLarge", `the message has ${bytes} bytes, at most ${MAX_BROADCAST_BYTES} are broadcast: send less`)
    const topicBytes = Buffer.byteLength(topic)
    if (topicBytes === 0 || topicBytes > Envelope.MAX_TOPIC_BYTES)
      return fail("TooLarge", `the topic has ${topicBytes} bytes: it takes 1 to ${Envelope.MAX_TOPIC_BYTES}`)
    const now = performance.now()
    if (!this.#rates.publish(bytes, now))
      return fail(
        "TooMany",
        `more than ${PUBLISH.perSecond} messages or ${PUBLISH.bytesPerSecond} bytes a second: send less often`
      )
    const { epoch, next: seq } = this.#count(topic)
    const sealed = Envelope.seal(this.#deps.identity, { epoch, seq, at: Date.now(), topic, text })
    this.#send(Payload.ofEnvelope(sealed), { _tag: "Topic", origin: this.nodeId, envelope: sealed })
    this.#tell({ topic, from: this.nodeId, seq, text })
    return this.neighbors.size
  }

  /** Hears a topic, until what it gives is called. */
  subscribe(topic: string, hear: (heard: Heard) => void): () => void {
    const own = (heard: Heard): void => hear(heard)
    const all = this.#topics.get(topic) ?? { since: Date.now(), hears: new Set() }
    this.#topics.set(topic, all)
    all.hears.add(own)
    return () => {
      all.hears.delete(own)
      if (all.hears.size > 0 || this.#topics.get(topic) !== all) return
      this.#topics.delete(topic)
      this.#ordering.forget(topic)
    }
  }

  /** The place of the next message on a topic. */
  #count(topic: string): { readonly epoch: number; readonly next: number } {
    const place = this.#counts.get(topic) ?? {
      epoch: (this.#lastEpoch = Math.max(Date.now(), this.#lastEpoch + 1)),
      next: 0
    }
    this.#counts.set(topic, { epoch: place.epoch, next: place.next + 1 })
    return place
  }

  #tell(heard: Heard): void {
    for (const hear of [...(this.#topics.get(heard.topic)?.hears ?? [])]) hear(heard)
  }

  // --- records

  /** Makes this node's record known to all; why not, where it is no such record. */
  advertise(record: AgentRecord.AgentRecord): AgentRecord.RecordRefused | undefined {
    if (this.#stopped) return undefined
    const known = this.#own
    const verified = AgentRecord.verify(record, {
      now: Date.now(),
      expect: this.nodeId,
      ...(known === undefined ? {} : { known })
    })
    if (verified instanceof AgentRecord.RecordRefused) return verified
    if (verified === known) return undefined
    this.#own = verified
    this.records.put(verified, JSON.stringify(verified).length, Date.now())
    this.#advertise(AgentRecord.isTombstone(verified))
    return undefined
  }

  #advertise(atOnce: boolean): void {
    if (this.#advertising && !atOnce) return
    const wait = atOnce ? 0 : this.#advertisedAt + ADVERTISE_MS - performance.now()
    if (wait > 0) {
      this.#advertising = true
      return this.#after(wait, () => {
        this.#advertising = false
        this.#advertise(true)
      })
    }
    if (this.#own === undefined) return
    this.#advertisedAt = performance.now()
    this.#send(Payload.ofRecord(this.#own), { _tag: "Record", origin: this.nodeId, record: this.#own })
  }

  /** Takes in a record that its node's signature vouches for. */
  #learn(record: AgentRecord.AgentRecord, bytes: number): void {
    const now = Date.now()
    if (this.records.put(record, bytes, now) !== "new" || record.node === this.nodeId) return
    this.feed.publish(this.#foundOf(record, now))
  }

  #foundOf(record: AgentRecord.AgentRecord, now: number): Found {
    const gone = AgentRecord.isTombstone(record) || record.expiresAt <= now
    return { source: SOURCE, node: record.node, addresses: record.addresses, record, ...(gone ? { gone } : {}) }
  }

  /** Nodes that are there and asked for, at most so many. */
  *find(isAsked: (found: Found) => boolean, most: number): Iterable<Found> {
    let left = most
    for (const found of this.#live()) {
      if (!isAsked(found)) continue
      if (left-- === 0) return
      yield found
    }
  }

  *#live(): Iterable<Found> {
    const now = Date.now()
    for (const record of this.records.live(now)) if (record.node !== this.nodeId) yield this.#foundOf(record, now)
  }

  // --- the machine

  #send({ id, payload }: Carried, read: Payload.Read): void {
    this.#believed.set(id, this.nodeId)
    this.command({ _tag: "Publish", id, payload })
    this.#hold(read, id, payload, undefined)
  }

  /** What came and went, since the start. */
  counts(): Counts {
    return { ...this.#tally, dials: this.links.dials }
  }

  /** Handles a message of a peer; false when it broke the protocol. */
  #receive(peer: NodeId, bytes: Uint8Array): boolean {
    if (this.#stopped) return true
    const began = performance.now()
    this.#tally.messages++
    this.#tally.bytes += bytes.length
    const decoded = Wire.decode(bytes)
    if (decoded instanceof Wire.WireRefused) return false
    for (const { addresses, node } of decoded.hints)
      if (node !== this.nodeId) this.#book.add(node, addresses, "another")
    const { message } = decoded
    if (message._tag === "Gossip") {
      this.#tally.payloads++
      const read = this.#believe(message.id, message.payload, began)
      if (read === "hostile") return false
      if (read !== "dropped")
        this.#happen({ _tag: "Message", now: began, from: peer, message: { ...message, origin: read.origin } }, read)
    } else this.#happen({ _tag: "Message", now: began, from: peer, message })
    const isGenuine = !this.#forged
    this.#forged = false
    return isGenuine
  }

  /** What a payload is, by a signature that holds; of one that came before, only whose. */
  #believe(id: string, payload: Uint8Array, now: number): Reading | "dropped" | "hostile" {
    const known = this.#believed.get(id)
    if (known !== undefined) return { _tag: "Again", origin: known }
    const read = Payload.read(payload, {
      now: Date.now(),
      known: (node) => this.records.get(node),
      admits: (origin, kind) => this.#rates.admits(origin, kind, now)
    })
    if (read._tag === "Refused") return read.isHostile ? "hostile" : "dropped"
    if (read._tag === "Record") {
      // One's own comes back from who held it in an earlier run; the one that is known already is a late copy, or a replay.
      if (read.origin === this.nodeId && !this.#outlive(read.record)) return "dropped"
      if (read.record === this.records.get(read.origin) && Date.now() - read.record.issuedAt > Envelope.MAX_AGE_MS)
        return "dropped"
    } else if (read.origin === this.nodeId) return "dropped"
    this.#rates.took(read.origin, read._tag, payload.length, now)
    this.#believed.set(id, read.origin)
    this.#tally.fresh++
    return read
  }

  /** Whether a statement is its maker's. One that is not, no honest node passes on. */
  #isGenuine(statement: Swim.Statement): boolean {
    if (statement.incarnation > Date.now() + Statement.CLOCK_SKEW_MS) return false
    const isGenuine = Statement.isGenuine(statement)
    if (!isGenuine) this.#forged = true
    return isGenuine
  }

  /** A record of an earlier run of this node is not passed on once this run has said more. */
  #outlive(record: AgentRecord.AgentRecord): boolean {
    return this.#own === undefined || record.seq > this.#own.seq
  }

  #happen(event: Happening, read?: Reading): void {
    if (this.#stopped) return
    this.#events.push({ event, read })
    if (this.#stepping) return
    this.#stepping = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const [state, actions] = this.#machine.step(this.#state, next.event)
        this.#state = state
        this.#reading = next.read
        for (const action of actions) this.#act(action)
      }
    } finally {
      this.#stepping = false
    }
  }

  #act(action: Action<Message, Timer, Told>): void {
    switch (action._tag) {
      case "Send":
        if (action.to !== this.nodeId)
          this.links.send(action.to as NodeId, Wire.encode(action.message, this.addressesOf))
        return
      case "Close":
        return this.links.close(action.peer as NodeId)
      case "After":
        return this.#after(action.ms, () =>
          this.#happen({ _tag: "Timer", now: performance.now(), timer: action.timer })
        )
      case "Tell":
        return this.#told(action.told)
    }
  }

  #told(told: Told): void {
    switch (told._tag) {
      case "NeighborUp":
        this.neighbors.add(told.peer as NodeId)
        return
      case "NeighborDown":
        this.neighbors.delete(told.peer as NodeId)
        return
      case "Deliver": {
        const read = this.#reading
        if (read === undefined || read._tag === "Again") return
        this.#take(read, told.payload.length)
        return this.#hold(read, told.id, told.payload, undefined)
      }
      case "Came":
        return this.#came(told.item, told.from as NodeId)
      case "MemberDown":
      case "MemberLeft":
        this.#dead.set(told.peer as NodeId, true)
        return
      case "MemberUp":
        this.#dead.delete(told.peer as NodeId)
        return
      default:
        return
    }
  }

  /** Takes in what was believed. */
  #take(read: Payload.Read, bytes: number): void {
    if (read._tag === "Record") return this.#learn(read.record, bytes)
    const listened = this.#topics.get(read.envelope.topic)
    if (listened !== undefined) this.#ordering.take(read.envelope, performance.now(), listened.since)
  }

  /** Has anti-entropy hold what was believed; `from` tells who brought it that way, and then it is offered to neighbours. */
  #hold(read: Payload.Read, id: string, payload: Uint8Array, from: NodeId | undefined): void {
    const now = Date.now()
    const isRecord = read._tag === "Record"
    const until = isRecord ? countsUntil(read.record) : read.envelope.at + HELD_MS
    if (until <= now) return
    const key = isRecord ? `r${read.record.node}` : `m${id}`
    this.command({
      _tag: "Put",
      item: { key, version: isRecord ? read.record.seq : 0, payload, bytes: payload.length },
      ttlMs: until - now,
      spread: from !== undefined,
      ...(from === undefined ? {} : { from })
    })
  }

  /** Something that broadcast has missed, or that came this way first. */
  #came({ key, payload, version }: AntiEntropy.Item<Uint8Array>, from: NodeId): void {
    const id = Payload.idOf(payload)
    const read = this.#believe(id, payload, performance.now())
    if (read === "hostile") return this.links.shun(from)
    if (read === "dropped") return
    if (read._tag === "Again") return this.command({ _tag: "Ignore", key, version, ttlMs: HELD_MS })
    const isNamedSo =
      read._tag === "Record" ? key === `r${read.record.node}` && version === read.record.seq : key === `m${id}`
    if (!isNamedSo) return this.links.shun(from)
    this.#take(read, payload.length)
    this.#hold(read, id, payload, from)
  }

  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      if (!this.#stopped) run()
    }, ms)
    this.#timers.add(timer)
  }

  /** Says goodbye and ends. `last`: the node's record, which may be a goodbye already. */
  stop(last: AgentRecord.AgentRecord): void {
    if (this.#stopped) return
    const now = Date.now()
    if (AgentRecord.isTombstone(last)) this.advertise(last)
    const own = this.#own
    if (own !== undefined && !AgentRecord.isTombstone(own))
      this.advertise(AgentRecord.tombstone(this.#deps.identity, Math.max(now, own.seq + 1), now))
    this.command({ _tag: "Leave" })
    this.#stopped = true
    for (const tick of this.#ticks) clearInterval(tick)
    for (const timer of this.#timers) clearTimeout(timer)
    this.links.stop()
    this.feed.end()
  }
}
