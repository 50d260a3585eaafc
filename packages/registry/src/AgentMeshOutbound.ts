/**
 * Outbound: AgentMesh's agents as capabilities of a node. Any node of the mesh calls them like any other agent.
 *
 * Agents that offer the same name in the same version stand behind one capability. A task goes to the one with the most room, the
 * most trusted of these first; where it says no, or is not there, to the next. A task that was taken is not given to another one:
 * it may have had effects.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaSemVer from "effect/SemVer"
import * as Scope from "effect/Scope"
import * as Capability from "@parley/core/Capability"
import type { Decision, Node, Task } from "@parley/core/Node"
import { TaskRefused } from "@parley/core/NodeError"
import type { Callee, Caller } from "./AgentMeshCaller.ts"
import type { AgentMeshError } from "./AgentMeshError.ts"
import type { AgentMeshRegistry, ListedAgent, ListedCapability } from "./AgentMeshRegistry.ts"
import { DEFAULT_LATENCY_MS, normalise } from "./AgentMeshWire.ts"
import type { TraceEventType } from "./Model.ts"

/** The tag of every capability that comes from AgentMesh. */
export const TAG = "agentmesh"
/** The tag of every AgentMesh agent that stands for a mesh: other bridges leave it alone. */
export const BRIDGE_TAG = "parley"
/** Agents asked for one task. */
export const ATTEMPTS = 3
/** Most capabilities that are served: an agent record holds 64, and the node has its own. */
export const MAX_SERVED = 48
/** Largest JSON Schema that is carried over, as JSON, in characters. */
const MAX_SCHEMA_LENGTH = 4_096

/** An agent's handler failed. */
export class AgentFailed extends Schema.TaggedError<AgentFailed>()("AgentFailed", {
  agent: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.agent}: ${this.detail}`
  }
}

/** An agent behind a capability. */
interface Member {
  readonly callee: Callee
  trust: number
  running: number
}

/** A served capability, and who stands behind it. */
interface Group {
  readonly key: string
  /** The name that the agents gave it. */
  readonly original: string
  readonly capability: Capability.Capability<
    { readonly [key: string]: Schema.Json },
    { readonly [key: string]: Schema.Json },
    "call"
  >
  readonly members: Map<string, Member>
  readonly scope: Scope.Closeable
}

const now = (): number => Date.now()
const Input = Schema.Record(Schema.String, Schema.Json)
const isLabel = Schema.is(
  Schema.String.check(
    Schema.isMinLength(1),
    Schema.isMaxLength(Capability.MAX_LABEL_LENGTH),
    Schema.isPattern(/^\P{Cc}*$/u)
  )
)

const schemaOf = (schema: { readonly [key: string]: Schema.Json } | null | undefined): Schema.Json | undefined =>
  schema === null ||
  schema === undefined ||
  Object.keys(schema).length === 0 ||
  JSON.stringify(schema).length > MAX_SCHEMA_LENGTH
    ? undefined
    : schema

/** An agent's capability as one of ours: its name made to fit, what it was called kept, its schemas carried over. */
export const capabilityOf = (agent: ListedAgent, listed: ListedCapability, name: string): Group["capability"] => {
  const version = versionOf(agent)
  const description = listed.description.replace(/(?![\t\n])\p{Cc}/gu, " ").slice(0, Capability.MAX_DESCRIPTION_LENGTH)
  const made = Capability.make(name, {
    version,
    input: Input,
    output: Input,
    ...(description === "" ? {} : { description }),
    tags: [TAG, ...new Set(agent.tags.filter((tag) => tag !== TAG && isLabel(tag)))].slice(0, Capability.MAX_LABELS),
    ...(isLabel(listed.name) ? { metadata: { agentmesh: listed.name } } : {}),
    ...(typeof listed.cost_per_call_usd === "number" && listed.cost_per_call_usd >= 0
      ? { cost: { usdPerCall: listed.cost_per_call_usd } }
      : {}),
    ...(typeof listed.avg_latency_ms === "number" && listed.avg_latency_ms >= 0
      ? { latencyMs: listed.avg_latency_ms }
      : {})
  })
  const input = schemaOf(listed.input_schema)
  const output = schemaOf(listed.output_schema)
  return {
    ...made,
    record: {
      ...made.record,
      ...(input === undefined ? {} : { input }),
      ...(output === undefined ? {} : { output })
    }
  }
}

const versionOf = (agent: ListedAgent): string =>
  agent.version.length <= 64 && Result.isSuccess(SchemaSemVer.parse(agent.version)) ? agent.version : "0.1.0"

/** Whether a node may call this agent: it is there, it is one, and it is no bridge. */
export const isCallable = (agent: ListedAgent, self: string): boolean =>
  agent.status !== "offline" &&
  agent.id !== self &&
  agent.places > 0 &&
  /^wss?:/i.test(agent.endpoint) &&
  !agent.tags.includes(BRIDGE_TAG)

/** What an outbound side needs. */
export interface Options {
  readonly node: Node["Service"]
  readonly registry: AgentMeshRegistry
  readonly caller: Caller
  /** As whom tasks are asked for and traces are written. */
  readonly requester: string
  /** Whether a capability is served, by the name that its agent gave it. Default: every one. */
  readonly accepts?: (name: string, agent: ListedAgent) => boolean
  /** What an answer is worth, 0 to 1; `undefined` abstains, and nothing is reported. Default: 1, since it came, and in time. */
  readonly evaluate?: (capability: string, input: Schema.Json, output: Schema.Json) => Effect.Effect<number | undefined>
  /** Runs what need not be waited for. */
  readonly background: (effect: Effect.Effect<void, AgentMeshError>) => void
  readonly onJoined?: (agent: string, capability: string) => void
  readonly onLeft?: (agent: string, capability: string) => void
}

/** AgentMesh's agents, served. */
export interface Outbound {
  /** Serves what these agents offer, and nothing else any more. */
  readonly update: (agents: ReadonlyArray<ListedAgent>) => Effect.Effect<void>
  /** What is served, and who stands behind it. */
  readonly served: () => ReadonlyArray<{
    readonly id: string
    readonly original: string
    readonly agents: ReadonlyArray<string>
  }>
}

/** Serves agents of a registry until the scope closes. */
export const make = (options: Options): Effect.Effect<Outbound, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { caller, node, registry, requester } = options
    const scope = yield* Effect.scope
    const groups = new Map<string, Group>()
    const refused = new Set<string>()
    const evaluate = options.evaluate ?? (() => Effect.succeed(1))

    const trace =
      (agent: string) => (event: TraceEventType, task: string, payload: { readonly [key: string]: Schema.Json }) =>
        options.background(
          registry.trace({ task_id: task, event_type: event, from_agent: requester, to_agent: agent, payload })
        )
    const report = (agent: string, success: boolean, quality: number) =>
      options.background(registry.report(agent, success, Math.min(1, Math.max(0, quality))))

    /** The one with the most room first, of these the most trusted. */
    const order = (members: Iterable<Member>): ReadonlyArray<Member> =>
      [...members].sort(
        (a, b) =>
          a.running / a.callee.places - b.running / b.callee.places ||
          b.trust - a.trust ||
          (a.callee.id < b.callee.id ? -1 : 1)
      )

    const refusal = (error: AgentMeshError): TaskRefused | AgentFailed => {
      switch (error.code) {
        case "Countered": {
          const terms = error.deadlineMs === undefined ? {} : { deadlineMs: error.deadlineMs }
          return new TaskRefused({ terms: { _tag: "Counter", detail: error.message, ...terms } })
        }
        case "Failed":
        case "Late":
        case "Malformed":
          return new AgentFailed({ agent: error.who, detail: error.detail })
        default:
          return new TaskRefused({ terms: { _tag: "Reject", code: error.code, detail: error.message } })
      }
    }

    /** Whether another agent may be asked: this one has not begun. */
    const goesOn = (error: AgentMeshError): boolean =>
      error.code === "Rejected" ||
      error.code === "Countered" ||
      error.code === "Unreachable" ||
      error.code === "Forbidden"

    const askOne = (group: Group, member: Member, input: { readonly [key: string]: Schema.Json }, task: Task) => {
      const { id } = member.callee
      const onEvent = trace(id)
      /** It has taken the task; and while it works on it, under which id. */
      let began = false
      let taken: string | undefined
      member.running += 1
      return caller
        .call(member.callee, {
          capability: group.original,
          input,
          deadlineMs: Math.max(1, task.deadline - now()),
          context: `parley caller ${task.caller} task ${task.id}`,
          onEvent: (event, taskId, payload) => {
            began ||= event === "accepted"
            taken = event === "accepted" ? taskId : event === "completed" || event === "failed" ? undefined : taken
            onEvent(event, taskId, payload)
          }
        })
        .pipe(
          Effect.tap((result) =>
            Effect.sync(() =>
              options.background(
                Effect.flatMap(evaluate(group.original, input, result.output), (quality) =>
                  quality === undefined ? Effect.void : registry.report(id, true, Math.min(1, Math.max(0, quality)))
                )
              )
            )
          ),
          Effect.tapError(() =>
            Effect.sync(() => {
              // As the SDK: whoever took the task and did not do it has failed; whoever refused it has not.
              if (began) report(id, false, 0)
            })
          ),
          Effect.onInterrupt(() =>
            Effect.sync(() => {
              if (taken === undefined) return
              onEvent("failed", taken, { error: now() >= task.deadline ? "timeout" : "cancelled" })
              if (now() >= task.deadline) report(id, false, 0)
            })
          ),
          Effect.ensuring(
            Effect.sync(() => {
              member.running -= 1
            })
          )
        )
    }

    const handler = (group: () => Group) =>
      Effect.fnUntraced(function* (input: { readonly [key: string]: Schema.Json }, task: Task) {
        let last: AgentMeshError | undefined
        for (const member of order(group().members.values()).slice(0, ATTEMPTS)) {
          const result = yield* Effect.result(askOne(group(), member, input, task))
          if (Result.isSuccess(result)) return result.success.output
          last = result.failure
          if (!goesOn(last)) break
        }
        if (last !== undefined) return yield* refusal(last)
        const detail = "its AgentMesh agents have gone"
        return yield* new TaskRefused({ terms: { _tag: "Reject", code: "NoAgent", detail } })
      })

    /** A task that would still wait for a place when it is due is countered; the agents' own places are counted. */
    const negotiate = (group: Group, running: number, left: number): Decision => {
      const places = [...group.members.values()].reduce((sum, { callee }) => sum + callee.places, 0)
      if (running < places) return { _tag: "Accept" }
      const eachMs = group.capability.record.latencyMs ?? DEFAULT_LATENCY_MS
      const needMs = Math.ceil((running - places + 1) / Math.max(1, places)) * eachMs + eachMs
      return needMs <= left
        ? { _tag: "Accept" }
        : {
            _tag: "Counter",
            deadlineMs: needMs,
            retryAfterMs: eachMs,
            detail: `all ${places} places of its agents are taken`
          }
    }

    const serve = Effect.fnUntraced(function* (key: string, agent: ListedAgent, listed: ListedCapability) {
      const inUse = new Set([...groups.values()].map(({ capability }) => capability.id))
      const version = versionOf(agent)
      const name = normalise(listed.name, (normal) => inUse.has(`${normal}@${version}`))
      const child = yield* Scope.fork(scope)
      const group: Group = {
        key,
        original: listed.name,
        capability: capabilityOf(agent, listed, name),
        members: new Map(),
        scope: child
      }
      const served = yield* Effect.result(
        Scope.provide(
          node.serve(
            group.capability,
            handler(() => group),
            {
              negotiate: ({ running, task, waiting }) => negotiate(group, running + waiting, task.deadline - now())
            }
          ),
          child
        )
      )
      if (Result.isFailure(served)) {
        yield* Scope.close(child, Exit.void)
        if (!refused.has(key))
          yield* Effect.logWarning(`${listed.name} of ${agent.id} is not served: ${served.failure.message}`)
        refused.add(key)
        return undefined
      }
      refused.delete(key)
      groups.set(key, group)
      return group
    })

    const join = (group: Group, agent: ListedAgent): void => {
      const known = group.members.get(agent.id)
      const callee: Callee = { id: agent.id, endpoint: agent.endpoint, places: agent.places }
      if (known !== undefined && known.callee.endpoint === callee.endpoint && known.callee.places === callee.places) {
        known.trust = agent.trust
        return
      }
      if (known !== undefined) caller.forget(agent.id)
      group.members.set(agent.id, { callee, trust: agent.trust, running: known?.running ?? 0 })
      if (known === undefined) options.onJoined?.(agent.id, group.capability.id)
    }

    /** A capability whose description, schemas or price have changed is served anew. */
    const isSame = (group: Group, agent: ListedAgent, listed: ListedCapability): boolean => {
      const { latencyMs: _was, ...was } = group.capability.record
      const { latencyMs: _is, ...is } = capabilityOf(agent, listed, group.capability.name).record
      return JSON.stringify(was) === JSON.stringify(is)
    }

    const withdraw = (group: Group) =>
      Effect.suspend(() => {
        groups.delete(group.key)
        for (const id of group.members.keys()) options.onLeft?.(id, group.capability.id)
        // What runs has the node's drain time to end; nobody waits for that here.
        return Effect.forkDetach(Scope.close(group.scope, Exit.void), { startImmediately: true })
      })

    const update: Outbound["update"] = Effect.fnUntraced(function* (agents) {
      const wanted = new Map<string, Array<readonly [ListedAgent, ListedCapability]>>()
      for (const agent of agents) {
        if (!isCallable(agent, requester)) continue
        for (const listed of agent.capabilities) {
          if (options.accepts?.(listed.name, agent) === false) continue
          const key = `${listed.name}\n${versionOf(agent)}`
          wanted.set(key, [...(wanted.get(key) ?? []), [agent, listed]])
        }
      }
      for (const group of [...groups.values()]) {
        const pairs = wanted.get(group.key) ?? []
        for (const id of [...group.members.keys()]) {
          if (pairs.some(([agent]) => agent.id === id)) continue
          group.members.delete(id)
          caller.forget(id)
          options.onLeft?.(id, group.capability.id)
        }
        const kept = pairs.find(([agent]) => group.members.has(agent.id))
        if (kept === undefined || !pairs.some((pair) => isSame(group, ...pair))) yield* withdraw(group)
      }
      // Names that fit as they are come first, so that nobody takes theirs by a name that only becomes it.
      const keys = [...wanted.keys()].sort(
        (a, b) => Number(isExact(b)) - Number(isExact(a)) || (a < b ? -1 : a > b ? 1 : 0)
      )
      for (const key of keys) {
        const pairs = wanted.get(key) ?? []
        const first = pairs[0]
        if (first === undefined) continue
        let group = groups.get(key)
        if (group === undefined && groups.size < MAX_SERVED) group = yield* serve(key, ...first)
        if (group === undefined) {
          if (groups.size >= MAX_SERVED && !refused.has(key)) {
            refused.add(key)
            yield* Effect.logWarning(`${first[1].name} of ${first[0].id} is not served: ${MAX_SERVED} capabilities are`)
          }
          continue
        }
        for (const [agent] of pairs) join(group, agent)
      }
      for (const key of refused) if (!wanted.has(key)) refused.delete(key)
    })

    return {
      update,
      served: () =>
        [...groups.values()].map(({ capability, members, original }) => ({
          id: capability.id,
          original,
          agents: [...members.keys()]
        }))
    }
  })

const isExact = (key: string): boolean => {
  const name = key.slice(0, key.indexOf("\n"))
  return normalise(name) === name
}
