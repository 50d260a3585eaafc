/** Detector: the state of failure detection of one node, and how it goes on. The protocol is described in ../Swim.ts. */
import type { Action as MachineAction, Event as MachineEvent } from "@parley/core/Machine"
import { RateLimit } from "@parley/core/RateLimit"
import { Guests } from "./Guests.ts"
import { Helping } from "./Helping.ts"
import { Members } from "./Members.ts"
import { Outbox } from "./Outbox.ts"
import { Own } from "./Own.ts"
import { type Probe, Probes } from "./Probes.ts"
import { Random } from "./Random.ts"
import { keyOf, orderOf, versionOf } from "./Statements.ts"
import type { Suspicion } from "./Suspicion.ts"
import { Suspicions } from "./Suspicions.ts"
import { Watches } from "./Watches.ts"
import type { Accusation, Alive, Command, Message, Statement, Terms, Timer, Told } from "../Swim.ts"
import * as Times from "../SwimTimes.ts"

type Action = MachineAction<Message, Timer, Told>
type Event = MachineEvent<Message, Timer, Command>

const nothing: ReadonlyArray<never> = []

export class Detector {
  readonly self: string
  readonly #terms: Terms
  readonly #random: Random
  readonly #members: Members
  readonly #suspicions = new Suspicions()
  readonly #watched: Watches
  readonly #probes = new Probes()
  readonly #helping = new Helping()
  /** Peers that this node found silent itself, and when. */
  readonly #evidence = new Map<string, number>()
  readonly #guests = new Guests()
  readonly #outbox = new Outbox()
  readonly #accusers = new RateLimit(Times.ACCUSER_PER_SECOND, Times.ACCUSER_BURST)
  readonly #subjects = new RateLimit(Times.SUBJECT_PER_SECOND, Times.SUBJECT_BURST)
  readonly #own: Own
  /** Lifeguard's local health: 0 is well. */
  #health = 0
  #seq = 0
  #strangerAt = Number.POSITIVE_INFINITY
  #retryAt = Number.POSITIVE_INFINITY
  #armedAt = Number.POSITIVE_INFINITY
  #now = 0
  #actions: Array<Action> = []

  constructor(terms: Terms) {
    this.self = terms.self
    this.#terms = terms
    this.#random = new Random(terms.seed)
    this.#members = new Members(this.#random)
    this.#watched = new Watches(this.#random)
    this.#own = new Own(terms)
  }

  /** What is believed of a member; undefined for one that is not known. */
  status(peer: string): "alive" | "suspect" | "dead" | "left" | undefined {
    const alive = this.#members.get(peer)
    if (alive === undefined) return undefined
    if (alive.left) return "left"
    const suspicion = this.#suspicions.get(peer)
    return suspicion === undefined ? "alive" : suspicion.deadAt === undefined ? "suspect" : "dead"
  }

  /** The incarnation in which a member is known; the own one for the node itself. */
  incarnation(peer: string): number | undefined {
    return peer === this.self ? this.#own.said.incarnation : this.#members.get(peer)?.incarnation
  }

  /** How many are known, dead or alive. */
  get size(): number {
    return this.#members.size
  }

  /** Peers that count as silent. */
  get silent(): number {
    return this.#evidence.size
  }

  /** Local health, 0 to `MAX_HEALTH`; 0 is well. */
  get health(): number {
    return this.#health
  }

  step(event: Event): ReadonlyArray<Action> {
    const actions: Array<Action> = []
    this.#actions = actions
    const { now } = event
    this.#now = now
    if (now > this.#armedAt + Times.STALL_MS) this.#stalled()
    switch (event._tag) {
      case "Timer":
        if (event.timer.at === this.#armedAt) this.#armedAt = Number.POSITIVE_INFINITY
        break
      case "Message":
        this.#heard(event.from)
        this.#message(event.from, event.message)
        break
      case "LinkDown":
        this.#linkDown(event.peer)
        break
      case "Command":
        this.#command(event.command)
        break
      default:
    }
    this.#work()
    this.#arm()
    return actions
  }

  #command(command: Command): void {
    switch (command._tag) {
      case "SwimStart":
        if (this.#strangerAt !== Number.POSITIVE_INFINITY) return
        this.#strangerAt = this.#now + this.#random.about(Times.STRANGER_MS)
        this.#retryAt = this.#now + this.#random.about(Times.RETRY_MS)
        return this.#hold(this.#own.said)
      case "Watch":
        if (command.watched) return this.#watch(command.peer)
        this.#watched.delete(command.peer)
        return this.#outbox.forget(command.peer)
      case "Hear":
        for (const statement of command.statements) this.#hear(statement, command.from, true)
        return
      case "SwimLeave":
        this.#own.leave()
        this.#spread(this.#own.said, undefined)
        this.#outbox.dueAt = this.#now
    }
  }

  #message(from: string, message: Message): void {
    switch (message._tag) {
      case "Ping": {
        if (this.#own.hasLeft) return
        const before = this.#own.said
        for (const statement of message.about.slice(0, Times.MAX_ABOUT)) this.#hear(statement, from, false)
        const isDoubted = message.about.length > 0 || before !== this.#own.said
        return this.#send(from, { _tag: "Ack", seq: message.seq, about: isDoubted ? [this.#own.said] : nothing })
      }
      case "Ack":
      case "News": {
        const said = message._tag === "Ack" ? message.about : message.statements
        for (const statement of said.slice(0, Times.MAX_NEWS)) this.#hear(statement, from, false)
        return
      }
      case "PingRequest":
        return this.#help(from, message.seq, message.subject)
      case "PingResult": {
        const probe = this.#probes.get(message.subject)
        if (probe === undefined || probe.seq !== message.seq || !probe.helpers?.delete(from)) return
        if (message.reached) {
          this.#probes.end(message.subject)
          return this.#watched.seen(message.subject, this.#now)
        }
        probe.failed += 1
        if (probe.helpers.size === 0) this.#failed(probe)
      }
    }
  }

  /** Something came from the peer: it lives. */
  #heard(peer: string): void {
    this.#watched.seen(peer, this.#now)
    this.#evidence.delete(peer)
    const probe = this.#probes.end(peer)
    if (probe !== undefined) {
      this.#feel(-1)
      if (probe.isStranger && !this.#suspicions.has(peer)) this.#tell({ _tag: "Met", peer, returned: false })
    }
    this.#helped(peer, true)
    const suspicion = this.#suspicions.get(peer)
    if (suspicion?.deadAt !== undefined && this.#now >= suspicion.toldAt + Times.PERIOD_MS) {
      suspicion.toldAt = this.#now
      this.#send(peer, { _tag: "News", statements: [suspicion.first] })
      this.#tell({ _tag: "Met", peer, returned: true })
    }
  }

  #linkDown(peer: string): void {
    if (this.#helped(peer, false)) this.#silent(peer)
    const probe = this.#probes.get(peer)
    if (probe !== undefined) {
      if (probe.helpers === undefined) this.#askHelpers(probe)
      return
    }
    if (this.#watched.has(peer) && !this.#suspicions.has(peer)) this.#askHelpers(this.#probe(peer, false))
  }

  /** `synced`: it came by anti-entropy, which waits for what becomes of it. */
  #hear(statement: Statement, from: string, synced: boolean): void {
    if (statement._tag === "Alive") this.#hearAlive(statement, from)
    else this.#hearAccusation(statement, from, synced)
  }

  #hearAlive(alive: Alive, from: string): void {
    const { subject } = alive
    if (subject === this.self) {
      // An earlier life of this node, under a clock that was ahead.
      if (orderOf(alive) <= orderOf(this.#own.said) || this.#own.hasLeft || !this.#terms.verify(alive)) return
      this.#own.take(alive)
      return this.#refute()
    }
    const known = this.#members.get(subject)
    if (known !== undefined && orderOf(alive) <= orderOf(known)) return
    if (known === undefined && this.#members.size >= Times.MAX_MEMBERS) return
    if (!this.#subjects.has(subject, this.#now) || !this.#terms.verify(alive)) return
    this.#subjects.charge(subject, 1, this.#now)
    this.#members.set(alive)
    const suspicion = this.#suspicions.get(subject)
    if (suspicion !== undefined) this.#acquit(suspicion)
    if (alive.left) {
      this.#probes.end(subject)
      this.#members.end(subject, this.#now)
      if (known?.left !== true) this.#tell({ _tag: "MemberLeft", peer: subject })
    } else if (known === undefined || known.left || suspicion !== undefined)
      this.#tell({ _tag: "MemberUp", peer: subject })
    this.#hold(alive)
    this.#spread(alive, from)
  }

  #hearAccusation(accusation: Accusation, from: string, synced: boolean): void {
    const { accuser, incarnation, subject } = accusation
    if (subject === this.self) {
      if (accuser !== this.self && incarnation === this.#own.said.incarnation && !this.#own.hasLeft)
        this.#doubted(accusation)
      return
    }
    // What this node said in an earlier life does not bind it.
    if (accuser === this.self && from !== this.self) return
    const known = this.#members.get(subject)
    if (known === undefined) {
      if (synced) this.#tell({ _tag: "Pass", key: keyOf(accusation), version: incarnation })
      return
    }
    if (known.left || incarnation !== known.incarnation) return
    const suspicion = this.#suspicions.get(subject)
    if (suspicion?.wants(accuser) === false) return
    if (accuser !== this.self) {
      if (this.#members.get(accuser) === undefined || !this.#accusers.has(accuser, this.#now)) return
      if (!this.#terms.verify(accusation)) return
    }
    this.#accusers.charge(accuser, 1, this.#now)
    this.#suspicions.accuse(accusation, this.#now, this.#members.living + 1)
    if (suspicion === undefined) {
      this.#tell({ _tag: "MemberSuspect", peer: subject })
      this.#hold(accusation)
    }
    this.#spread(accusation, from)
    if (accuser === this.self) return
    if ((this.#evidence.get(subject) ?? Number.NEGATIVE_INFINITY) >= this.#now - Times.EVIDENCE_MS)
      return this.#accuse(subject, false)
    // The buddy system: whoever is beside the subject tells it at once.
    if (suspicion === undefined && this.#watched.has(subject) && !this.#probes.has(subject)) this.#probe(subject, false)
  }

  #acquit(suspicion: Suspicion): void {
    const { subject } = suspicion
    this.#suspicions.delete(subject)
    this.#evidence.delete(subject)
    this.#watched.dueAt = Math.min(this.#watched.dueAt, this.#now)
    this.#tell({ _tag: "Release", key: keyOf(suspicion.first) })
    if (suspicion.accused(this.self) && !this.#watched.has(subject)) this.#guests.mute(subject, this.#now)
  }

  /** This node is accused. */
  #doubted(accusation: Accusation): void {
    if (!this.#terms.verify(accusation)) return
    if (this.#own.mayRefute(this.#now)) this.#refute()
  }

  #refute(): void {
    this.#own.refute(this.#now)
    this.#feel(1)
    this.#hold(this.#own.said)
    this.#spread(this.#own.said, undefined)
    this.#outbox.dueAt = this.#now
  }

  #accuse(subject: string, isStranger: boolean): void {
    const known = this.#members.get(subject)
    if (known === undefined || known.left) return
    if (isStranger && this.#guests.isMuted(subject, this.#now)) return
    const suspicion = this.#suspicions.get(subject)
    if (suspicion?.wants(this.self) === false || !this.#accusers.has(this.self, this.#now)) return
    const accusation = this.#own.accuse(known)
    this.#hearAccusation(accusation, this.self, false)
    if (suspicion === undefined) this.#ping(subject, ++this.#seq)
  }

  #watch(peer: string): void {
    if (this.#own.hasLeft) return
    this.#watched.add(peer, this.#now)
    this.#guests.delete(peer)
    this.#outbox.post(peer, this.#own.said, this.#now)
  }

  #probe(peer: string, isStranger: boolean): Probe {
    const ms = isStranger ? Times.STRANGER_ACK_MS : Times.ACK_MS
    const probe = this.#probes.add(peer, ++this.#seq, isStranger, this.#now + this.#scaled(ms))
    this.#ping(peer, probe.seq)
    return probe
  }

  /** Asks it, and tells it what is said of it. */
  #ping(peer: string, seq: number): void {
    const suspicion = this.#suspicions.get(peer)
    this.#send(peer, { _tag: "Ping", seq, about: suspicion === undefined ? nothing : [suspicion.first] })
  }

  #askHelpers(probe: Probe): void {
    const { peer } = probe
    const beside = [...this.#watched.peers()].filter((other) => other !== peer && !this.#suspicions.has(other))
    const helpers = new Set(this.#random.sample(beside, Times.HELPERS))
    probe.helpers = helpers
    probe.due = this.#now + this.#scaled(probe.isStranger ? Times.STRANGER_ACK_MS : Times.INDIRECT_MS)
    for (const helper of helpers) this.#send(helper, { _tag: "PingRequest", seq: probe.seq, subject: peer })
  }

  /** Neither it nor those who were asked to ask have an answer. */
  #failed(probe: Probe): void {
    const { peer } = probe
    this.#probes.end(peer)
    const silent = probe.helpers?.size ?? 0
    // Helpers that say nothing either speak against this node; none at all say nothing for it.
    this.#feel(silent > 0 ? silent : probe.failed === 0 ? 1 : 0)
    this.#watched.seen(peer, this.#now)
    // Of a neighbour that never said a word nothing is known that could be doubted.
    if (this.#members.get(peer) === undefined) return
    this.#evidence.set(peer, this.#now)
    this.#accuse(peer, probe.isStranger)
  }

  #help(from: string, seq: number, subject: string): void {
    if (subject === this.self || subject === from || this.#members.get(subject) === undefined) return
    if (!this.#helping.add(subject, from, seq, this.#now)) return
    this.#visit(subject)
    this.#ping(subject, ++this.#seq)
  }

  /** Tells those who asked; false where nobody did. */
  #helped(subject: string, reached: boolean): boolean {
    const asking = this.#helping.end(subject)
    for (const { peer, seq } of asking ?? nothing) this.#send(peer, { _tag: "PingResult", seq, subject, reached })
    return asking !== undefined
  }

  /** It does not answer this node either, which confirms the accusation of another. */
  #silent(subject: string): void {
    this.#evidence.set(subject, this.#now)
    if (this.#suspicions.isOpen(subject)) this.#accuse(subject, false)
  }

  #work(): void {
    const now = this.#now
    if (now >= this.#own.refuteAt) this.#refute()
    if (!this.#own.hasLeft) {
      if (now >= this.#watched.dueAt) {
        const canAsk = (peer: string): boolean => !this.#probes.has(peer) && this.status(peer) !== "dead"
        for (const peer of this.#watched.due(now, canAsk)) this.#probe(peer, false)
      }
      for (const probe of this.#probes.silent(now)) {
        if (probe.helpers === undefined) this.#askHelpers(probe)
        else this.#failed(probe)
      }
      for (const subject of this.#helping.silent(now)) {
        this.#helped(subject, false)
        this.#silent(subject)
      }
      if (now >= this.#strangerAt) this.#meetStranger()
      if (now >= this.#retryAt) this.#retry()
    }
    if (now >= this.#suspicions.dueAt) this.#judge()
    for (const peer of this.#guests.gone(now)) if (!this.#watched.has(peer)) this.#actions.push({ _tag: "Close", peer })
    if (now < this.#outbox.dueAt) return
    this.#outbox.flush(
      (statement) => this.#isCurrent(statement),
      (peer, statements) => this.#send(peer, { _tag: "News", statements })
    )
  }

  /** Suspicions whose time is over. */
  #judge(): void {
    const isDead = (suspicion: Suspicion): boolean => {
      const { subject } = suspicion
      if (this.#watched.heardAt(subject) < this.#now - Times.FIRST_HAND_MS || this.#evidence.has(subject)) return true
      suspicion.postpone(this.#now + Times.PERIOD_MS)
      if (!this.#probes.has(subject)) this.#probe(subject, false)
      return false
    }
    for (const { subject } of this.#suspicions.judge(this.#now, isDead)) {
      this.#probes.end(subject)
      this.#members.end(subject, this.#now)
      this.#tell({ _tag: "MemberDown", peer: subject })
    }
  }

  #meetStranger(): void {
    this.#strangerAt = this.#now + this.#random.about(Times.STRANGER_MS)
    const peer = this.#members.next((other) => !this.#watched.has(other) && this.status(other) === "alive")
    if (peer === undefined || this.#probes.has(peer)) return
    this.#visit(peer)
    this.#probe(peer, true)
  }

  /** Asks one of the dead, since a partition may be over, and forgets those who have been dead for long. */
  #retry(): void {
    this.#retryAt = this.#now + this.#random.about(Times.RETRY_MS * Math.max(1, Math.log2(this.#members.living / 8)))
    for (const subject of this.#members.ended(this.#now - Times.FORGET_MS)) this.#forget(subject)
    const peer = this.#members.anyEnded((other) => this.#suspicions.has(other))
    if (peer === undefined) return
    this.#visit(peer)
    this.#ping(peer, ++this.#seq)
  }

  #forget(subject: string): void {
    const suspicion = this.#suspicions.get(subject)
    if (suspicion !== undefined) {
      this.#suspicions.delete(subject)
      this.#tell({ _tag: "Release", key: keyOf(suspicion.first) })
    }
    const known = this.#members.get(subject)
    if (known !== undefined) this.#tell({ _tag: "Release", key: keyOf(known) })
    this.#members.delete(subject)
    this.#guests.forget(subject)
    this.#evidence.delete(subject)
  }

  /** This node slept: what it did not hear meanwhile waits in its queues. */
  #stalled(): void {
    const grace = this.#now + Times.GRACE_MS
    this.#feel(Math.ceil((this.#now - this.#armedAt) / 1_000))
    this.#armedAt = Number.POSITIVE_INFINITY
    this.#evidence.clear()
    this.#probes.postpone(grace)
    this.#helping.postpone(grace)
    this.#suspicions.postpone(grace)
  }

  #visit(peer: string): void {
    if (!this.#watched.has(peer)) this.#guests.visit(peer, this.#now)
  }

  #spread(statement: Statement, except: string | undefined): void {
    for (const peer of this.#watched.peers()) if (peer !== except) this.#outbox.post(peer, statement, this.#now)
  }

  /** Whether nothing newer has been heard since it was. */
  #isCurrent(statement: Statement): boolean {
    return statement._tag === "Accusation"
      ? this.#suspicions.get(statement.subject)?.incarnation === statement.incarnation
      : statement === this.#own.said || statement === this.#members.get(statement.subject)
  }

  #hold(statement: Statement): void {
    this.#tell({ _tag: "Hold", key: keyOf(statement), version: versionOf(statement), statement })
  }

  #send(to: string, message: Message): void {
    this.#actions.push({ _tag: "Send", to, message })
  }

  #tell(told: Told): void {
    this.#actions.push({ _tag: "Tell", told })
  }

  #feel(change: number): void {
    this.#health = Math.min(Times.MAX_HEALTH, Math.max(0, this.#health + change))
  }

  #scaled(ms: number): number {
    return ms * (this.#health + 1)
  }

  /** Comes back when the next thing is due. */
  #arm(): void {
    let next = Math.min(this.#outbox.dueAt, this.#guests.dueAt, this.#suspicions.dueAt, this.#own.refuteAt)
    if (!this.#own.hasLeft) {
      next = Math.min(
        next,
        this.#strangerAt,
        this.#retryAt,
        this.#watched.dueAt,
        this.#probes.dueAt,
        this.#helping.dueAt
      )
    }
    // A timer rounds up to whole ms: one that comes within the next serves.
    if (next > this.#armedAt - 1 || next === Number.POSITIVE_INFINITY) return
    const ms = Math.max(1, Math.ceil(next - this.#now))
    this.#armedAt = this.#now + ms
    this.#actions.push({ _tag: "After", ms, timer: { _tag: "SwimWake", at: this.#armedAt } })
  }
}
