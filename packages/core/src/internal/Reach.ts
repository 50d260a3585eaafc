/**
 * How a caller gets to an agent: the connection that stands, a new one, one through a relay, or the agent behind an address.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Connections } from "../Connections.ts"
import type { Settings } from "../Guardrails.ts"
import type { Matcher } from "../Matcher.ts"
import { NodeError, type NodeErrorReason } from "../NodeError.ts"
import * as NodeId from "../NodeId.ts"
import type { Address, Connection, Target } from "../Transport.ts"
import type { Candidate } from "./Outgoing.ts"
import type { Directory } from "./Directory.ts"
import type { Experience } from "./Experience.ts"
import { type Job, left } from "./Job.ts"

/** A connection that broke while it was being made is tried again, so often and after such pauses; growing, 0.8 s in all. */
const AFTER_BREAK = { times: 4, schedule: Schedule.exponential("50 millis") }

/** What reaching needs of its node. */
export interface Deps {
  readonly self: NodeId.NodeId
  /** A connection of the node to itself. */
  readonly loopback: () => Connection
  readonly connections: Connections["Service"]
  readonly matcher: Matcher["Service"]
  readonly directory: Directory
  readonly settings: Settings
  readonly experience: Experience
}

/** Reaches agents. */
export class Reach {
  readonly #deps: Deps

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** The agent of a `to`: a NodeId, or an address, where whoever answers is taken. */
  find(job: Job, to: string): Effect.Effect<Candidate, NodeError> {
    const { connections, directory, matcher, settings } = this.#deps
    const wanted = job.query.name ?? ""
    const capability = job.query.version === undefined ? wanted : `${wanted}@${job.query.version}`
    const at = (node: NodeId.NodeId): Candidate => ({
      node,
      name: wanted,
      capability,
      addresses: matcher.get(node)?.addresses ?? []
    })
    const node = NodeId.parse(to)
    if (node === undefined) {
      const unreachable = (detail: string) => new NodeError({ reason: { _tag: "Unreachable", peer: to, detail } })
      return connections.connect({ addresses: [to] }).pipe(
        Effect.retry({
          ...AFTER_BREAK,
          while: ({ reason }) => reason._tag === "DialFailed" && reason.broken === true
        }),
        Effect.map((connection) => at(connection.peer)),
        Effect.mapError((error) => unreachable(error.message)),
        Effect.timeoutOrElse({
          duration: Math.max(1, left(job)),
          orElse: () => Effect.fail(unreachable("no connection before the deadline"))
        })
      )
    }
    if (connections.get(node) !== undefined || matcher.get(node) !== undefined) return Effect.succeed(at(node))
    return directory
      .search({ node }, { withinMs: Math.min(settings.searchMs, left(job)), settleMs: 0, hops: settings.hops })
      .pipe(Effect.map(() => at(node)))
  }

  /** A connection that stands and that the job may take. */
  live(job: Job, candidate: Candidate): Connection | undefined {
    if (candidate.node === this.#deps.self) return this.#deps.loopback()
    const live = this.#deps.connections.get(candidate.node)
    return live !== undefined && (job.via === undefined || live.relayed) ? live : undefined
  }

  /** A new connection, through the job's relay where it names one. */
  connect(job: Job, candidate: Candidate): Effect.Effect<Connection, NodeErrorReason> {
    const { connections } = this.#deps
    const target: Effect.Effect<Target, NodeErrorReason> =
      job.via === undefined
        ? Effect.succeed({ node: candidate.node, addresses: candidate.addresses })
        : this.#throughRelay(job.via, candidate.node)
    return target.pipe(
      Effect.flatMap((found) =>
        Effect.mapError(connections.connect(found), (error): NodeErrorReason => ({
          _tag: "Unreachable",
          peer: candidate.node,
          detail: error.message
        }))
      ),
      Effect.timeoutOrElse({
        duration: Math.max(1, left(job)),
        orElse: () =>
          Effect.fail<NodeErrorReason>({
            _tag: "Unreachable",
            peer: candidate.node,
            detail: "no connection before the deadline"
          })
      }),
      Effect.tapError((reason) =>
        Effect.sync(() => {
          // A relay that cannot be reached is not its node's fault.
          if (reason._tag === "Unreachable" && reason.peer === candidate.node)
            this.#deps.experience.blame(job, candidate, reason)
        })
      )
    )
  }

  #throughRelay(via: Address, node: NodeId.NodeId): Effect.Effect<Target, NodeErrorReason> {
    return this.#deps.connections.connect({ addresses: [via] }).pipe(
      Effect.map((tracker) => ({ node, addresses: [relayAddress(via, tracker.peer, node)] })),
      Effect.mapError((error): NodeErrorReason => ({
        _tag: "Unreachable",
        peer: via,
        detail: `it was to relay to ${node}: ${error.message}`
      }))
    )
  }
}

/** `relay://HOST:PORT/TRACKER/NODE`, from the tracker's own address. */
const relayAddress = (via: Address, tracker: NodeId.NodeId, node: NodeId.NodeId): Address =>
  `relay://${/^[a-z]+:\/\/([^/]+)/.exec(via)?.[1] ?? via}/${tracker}/${node}`
