/**
 * Commands: what can be done at a registry, each decided against everything there is (see `Ledger`).
 *
 * An agent's id belongs to whoever may act for it; whether somebody may is settled before a command is made. What an agent earned
 * stays with its id, registered or not: neither leaving nor registering again launders anything.
 */
import { randomUUID } from "node:crypto"
import * as Result from "effect/Result"
import type { AgentRecord as NodeRecord } from "@parley/core/AgentRecord"
import * as Chain from "./Chain.ts"
import type { Fact, PublishedVerdict, Report } from "./Event.ts"
import type { Command } from "./Ledger.ts"
import { type AgentStatus, MAX_TASK_ID_LENGTH, type Manifest, type Standing, type TraceEvent } from "./Model.ts"
import { Conflict, NotFound, TooMany, Unavailable } from "./Problem.ts"
import type { Refusal } from "./Reputation.ts"
import type { Agent, Knowledge } from "./World.ts"

const done = <A>(facts: ReadonlyArray<Fact>, value: (world: Knowledge) => A, claims: ReadonlyArray<string> = []) =>
  Result.succeed({ facts, value, claims })

/** The refusal for an agent that is not registered, in AgentMesh's words. */
export const notFound = (id: string): NotFound => new NotFound({ detail: `Agent ${id} not found` })

/** What makes room for an agent. */
const roomFor = (
  world: Knowledge,
  manifest: Manifest,
  record: NodeRecord | undefined,
  now: number
): Result.Result<ReadonlyArray<Fact>, Unavailable> => {
  const leaving = world.roomFor(manifest, record, now)
  if (leaving !== undefined) return Result.succeed(leaving.map(({ id }) => ({ type: "agent.left", id })))
  const isFull = world.get(manifest.agent_id) === undefined && world.size >= world.maxAgents
  return Result.fail(
    new Unavailable({
      detail: isFull
        ? `This registry holds ${world.maxAgents} agents that are online, and takes no more`
        : "This registry holds as many large agents that are online as it can: come with shorter descriptions and schemas, or later"
    })
  )
}

/** Registers an agent that is not there, or is offline. */
export const register = (manifest: Manifest): Command<Agent, Conflict | Unavailable> => ({
  decide: (world, _taken, now) => {
    const id = manifest.agent_id
    const known = world.get(id)
    if (known !== undefined && world.isOnline(known, now)) {
      return Result.fail(new Conflict({ detail: `Agent ${id} already registered` }))
    }
    const room = roomFor(world, manifest, undefined, now)
    if (Result.isFailure(room)) return Result.fail(room.failure)
    return done([...room.success, { type: "agent.registered", agent: { manifest, registeredAt: now } }], (after) =>
      after.get(id)!
    )
  }
})

/** Keeps a node's verified record, unless one at least as new is known. Gives the `seq` that is known then. */
export const keep = (manifest: Manifest, record: NodeRecord): Command<number, Conflict | Unavailable> => ({
  decide: (world, _taken, now) => {
    const known = world.get(manifest.agent_id)
    if (known?.isNode === true && known.record.seq >= record.seq) {
      return known.record.seq === record.seq && known.record.sig === record.sig
        ? done([], () => record.seq)
        : Result.fail(
            new Conflict({ detail: `A record with seq ${known.record.seq} is known: issue one with a higher seq` })
          )
    }
    const room = roomFor(world, manifest, record, now)
    if (Result.isFailure(room)) return Result.fail(room.failure)
    // A renewal is no new registration.
    const registeredAt = known?.registeredAt ?? now
    return done(
      [...room.success, { type: "agent.registered", agent: { manifest, record, registeredAt } }],
      () => record.seq
    )
  }
})

/** Takes an agent out. */
export const leave = (id: string): Command<void, NotFound> => ({
  decide: (world) =>
    world.get(id) === undefined ? Result.fail(notFound(id)) : done([{ type: "agent.left", id }], () => undefined)
})

/** What a report came to. */
export interface Reported {
  readonly agent: string
  /** The agent's overall score. */
  readonly score: number
  /** What is known of it in the report's capability. */
  readonly standing: () => Standing
}

const refusalOf = (report: Report, refusal: Refusal): Conflict | TooMany => {
  switch (refusal._tag) {
    case "SelfReview":
      return new Conflict({ detail: `${report.agent} cannot report on itself` })
    case "SecondReview":
      return new Conflict({
        detail: `${report.reviewer} has reported on task ${refusal.task} of ${report.agent} before`
      })
    case "OverCap":
      return new TooMany({
        detail: `${report.reviewer} has reported on ${report.agent} too often of late; its other reports count`,
        retry_after_ms: Math.ceil(refusal.retryAfterMs)
      })
  }
}

/** A report, checked as far as it can be without knowing what else there is. Without a task it is given one. */
export const report = (
  given: Omit<Report, "task"> & { readonly task?: string }
): Command<Reported, NotFound | Conflict | TooMany> => {
  const named = given.task !== undefined && given.reviewer !== ""
  const task = given.task ?? randomUUID()
  // As JSON: AgentMesh's ids may hold any separator, and no review shall pass for somebody else's.
  const claim = `review:${JSON.stringify([given.reviewer, given.agent, task])}`
  return {
    claims: named ? [claim] : [],
    decide: (world, taken, now) => {
      const one: Report = { ...given, task, at: now }
      const agent = world.get(one.agent)
      if (agent === undefined) return Result.fail(notFound(one.agent))
      if (taken.has(claim)) return Result.fail(refusalOf(one, { _tag: "SecondReview", task: one.task }))
      const refusal = world.reputation.admit(one, now)
      if (refusal !== undefined) return Result.fail(refusalOf(one, refusal))
      // What cannot be written into the chain throws here, before anything has changed.
      const link = Chain.next(world.link, one)
      const { became, edge, ema, score } = world.report(one, now)
      const facts: Array<Fact> = [{ type: "trust.changed", report: one, score, ema, edge, link }]
      if (became !== undefined && world.isOnline(agent, now)) {
        const why =
          became === "degraded"
            ? `${one.capability === "" ? "its" : one.capability}: too many failures in a row`
            : "a probe succeeded"
        facts.push({ type: "status.changed", id: agent.id, status: became, why })
      }
      const standing = (): Standing => world.reputation.standing(one.agent, one.capability, now)
      return done(facts, () => ({ agent: one.agent, score, standing }), named ? [claim] : [])
    }
  }
}

/** Keeps a trace. */
export const trace = (event: TraceEvent): Command<void, never> => ({
  decide: () => done([{ type: "trace", trace: event }], () => undefined)
})

/** An agent has begun a task, or ended one; unknown agents are passed over. */
export const taskStarted = (id: string, task: string): Command<void, never> => ({
  decide: (world) =>
    done(
      world.get(id) === undefined ? [] : [{ type: "task.started", id, task: task.slice(0, MAX_TASK_ID_LENGTH) }],
      () => undefined
    )
})

/** An agent has ended a task, after so many milliseconds if it says so. */
export const taskEnded = (id: string, task: string, elapsedMs?: number): Command<void, never> => ({
  decide: (world) =>
    done(
      world.get(id) === undefined
        ? []
        : [
            {
              type: "task.ended",
              id,
              task: task.slice(0, MAX_TASK_ID_LENGTH),
              ...(elapsedMs === undefined ? {} : { elapsedMs })
            }
          ],
      () => undefined
    )
})

/** An agent's lease was opened, or its last one ended. */
export const presence = (id: string, online: boolean, why: string): Command<void, never> => ({
  decide: (world, _taken, now) => {
    const agent = world.get(id)
    if (agent === undefined) return done([], () => undefined)
    const status: AgentStatus = !online ? "offline" : world.status(agent, now) === "degraded" ? "degraded" : "healthy"
    return done([{ type: "status.changed", id, status, why }], () => undefined)
  }
})

/**
 * Publishes a verdict whose certificate was checked, once per asker and task: whoever was asked knows the task's id, and could be
 * the first to publish something under it. Gives its cursor.
 */
export const verdict = (published: PublishedVerdict, asker: string): Command<number, Conflict> => {
  const claim = `verdict:${JSON.stringify([asker, published.task])}`
  return {
    claims: [claim],
    decide: (_world, taken) =>
      taken.has(claim)
        ? Result.fail(new Conflict({ detail: `A verdict of ${asker} on task ${published.task} was published already` }))
        : done([{ type: "verdict", verdict: published }], (world) => world.cursor, [claim])
  }
}
