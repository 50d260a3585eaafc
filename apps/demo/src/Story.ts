/**
 * The main job, told as it happens: start, find by plain words, negotiate, ask, verdict, certificate, trust, kill, call again.
 */
import { randomBytes } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Layers from "@parley/agent/Layers"
import * as Certificate from "@parley/consensus/Certificate"
import * as Consensus from "@parley/consensus/Consensus"
import { fromSeed, Identity } from "@parley/core/Identity"
import * as Node from "@parley/core/Node"
import { explain, type NodeErrorReason } from "@parley/core/NodeError"
import type { NodeId } from "@parley/core/NodeId"
import type { Verdict } from "@parley/core/Strategy"
import { type Move, Trust } from "@parley/core/Trust"
import { host, type Runtime, runtimePath } from "../../../scripts/setup.mjs"
import * as Cast from "./Cast.ts"
import { Task } from "./Chronicle.ts"
import * as Company from "./Company.ts"
import { Describe, type Description } from "./Describe.ts"
import type { Options } from "./Options.ts"
import * as Programs from "./Programs.ts"
import type { Report } from "./Report.ts"
import { aligned, figure, type Timeline } from "./Timeline.ts"
import * as Troupe from "./Troupe.ts"

/** How long all seven may take to be found once they are up, in milliseconds. */
const FOUND_MS = 5_000
/** How long the verdict, and the call after it, may take. */
const DEADLINE = "9 seconds"
/** The longest that all of it may take, in seconds. */
const LIMIT_SECONDS = 20
/** Pause between questions while the page stays up. */
const AGAIN = "4 seconds"
/** What people would type. */
const WORDS = "summary statistics of a table"
/** What an agent must have. */
const NEEDED = { features: ["missing-values"] }
/** Columns of the verdict that are shown. */
const SHOWN_COLUMNS = 8

/** A member whose process is up. */
interface Player {
  readonly member: Cast.Member
  readonly process: Company.Running
}

interface Stage {
  readonly node: Node.Node["Service"]
  readonly line: Timeline
  readonly players: ReadonlyArray<Player>
  readonly csv: string
}

const runtimesFor = (mixed: boolean): Effect.Effect<ReadonlyArray<Runtime>, Company.ProcessFailed> => {
  const own: Runtime = host === "deno" ? "deno" : "bun"
  const other: Runtime = own === "bun" ? "deno" : "bun"
  return Effect.try({
    try: () => {
      if (mixed) runtimePath(other)
      return mixed ? [own, other] : [own]
    },
    catch: (cause) =>
      new Company.ProcessFailed({ name: "--mixed", detail: cause instanceof Error ? cause.message : String(cause) })
  })
}

const player = ({ players }: Stage, role: Cast.Role): Player | undefined =>
  players.find(({ member }) => member.role === role)

const nameOf = ({ players }: Pick<Stage, "players">, node: string): string =>
  players.find(({ process }) => process.node === node)?.member.name ?? node

const score = (value: number): string => value.toFixed(2)
const ms = (value: number): string => `${Math.round(value)} ms`

/** Starts the tracker, and the registry if there is to be one, then the seven side by side. `seed` is whom the registry believes. */
const enter = Effect.fnUntraced(function* (
  company: Company.Company,
  options: Options,
  line: Timeline,
  seed: NodeId | undefined
) {
  const runtimes = yield* runtimesFor(options.mixed)
  const [tracker, registry, awk, python] = yield* Effect.all(
    [
      Troupe.tracker(company, runtimes[0]!),
      seed === undefined ? Effect.void : Troupe.registry(company, runtimes[0]!, seed),
      Effect.promise(() => Programs.works("awk")),
      Effect.promise(() => Programs.works("python"))
    ],
    { concurrency: "unbounded" }
  )
  const at = tracker.addresses[0] ?? ""
  line.say("tracker", `process ${tracker.pid} introduces and relays on ${at}`)
  const url = registry?.addresses[0]
  if (registry !== undefined) line.say("registry", `process ${registry.pid} keeps count at ${url}`)
  const members = Cast.members({ awk, python, runtimes, seed: options.seed, without: options.without })
  const players = yield* Effect.forEach(
    members,
    (member) =>
      Effect.map(Troupe.agent(company, member, { at, registry: url }), (process): Player => {
        const where = member.role === "relayed" ? "accepts no connections" : (process.addresses[0] ?? "")
        const on = runtimes.length > 1 ? ` on ${member.runtime}` : ""
        line.say(member.name, `process ${process.pid}${on}, ${Troupe.wayOf(member)}; ${where}`)
        return { member, process }
      }),
    { concurrency: "unbounded" }
  )
  return { at, players, url }
})

/** Searches until all seven are known: a record travels by itself. */
const meet = Effect.fnUntraced(function* ({ line, node, players }: Stage) {
  const started = performance.now()
  for (;;) {
    const matches = yield* node.discover({}, { within: "500 millis" })
    const found = new Set(matches.filter(({ record }) => record.addresses.length > 0).map((match) => match.node))
    found.delete(node.nodeId)
    const absent = players.filter(({ process }) => !found.has(process.node))
    if (absent.length === 0 || performance.now() - started > FOUND_MS) {
      for (const { member } of absent) line.say(member.name, "was not found", "bad")
      return found.size
    }
    yield* Effect.sleep("50 millis")
  }
})

/** Finds by plain words, and shows why each one matched. */
const find = Effect.fnUntraced(function* (stage: Stage) {
  const { line, node } = stage
  line.head(`Who knows about "${WORDS}"?`)
  const matches = yield* node.discover({ text: WORDS })
  const rows = matches.map(({ capability, node: peer, parts, score: total }) => [
    nameOf(stage, peer),
    `${capability.name}@${capability.version}`,
    score(total),
    `${parts.semantic.why}, ${parts.trust.why}, ${parts.availability.why}, ${parts.cost.why}`
  ])
  line.say("search", `${matches.length} capabilities match, best first`)
  for (const row of aligned(rows, (column) => column === 2)) line.more(row, "quiet")
  const fit = yield* node.discover({ name: Describe.name, version: `^${Describe.version}`, ...NEEDED }, { within: 0 })
  const fitting = new Set(fit.map((match) => match.node))
  const others = matches.filter((match) => !fitting.has(match.node)).map((match) => nameOf(stage, match.node))
  line.say(
    "search",
    `${fitting.size} of them serve ${Describe.name}@^${Describe.version} with ${NEEDED.features.join(", ")}` +
      (others.length === 0 ? "" : `; ${others.join(", ")} does not`)
  )
  return matches.length
})

/** Lets a customer take the only place of the agent that has one. */
const fill = Effect.fnUntraced(function* (stage: Stage) {
  const full = player(stage, "full")
  const customer = stage.players.find(
    ({ member }) => member.way._tag === "Other" && member.way.serves === "text.summarize"
  )
  if (full === undefined || customer === undefined) return
  customer.process.tell(`place ${full.process.node}`)
  const heard = yield* customer.process.hear((word) => word === "accepted" || word.startsWith("failed"))
  if (heard !== "accepted") {
    return yield* new Company.ProcessFailed({ name: customer.member.name, detail: heard })
  }
  stage.line.say(customer.member.name, `has a table described by ${full.member.name}, who has one place and no queue`)
})

const counterOf = (terms: NodeErrorReason): string =>
  terms._tag === "Countered"
    ? `${terms.detail}; ` + (terms.retryAfterMs === undefined ? "" : `free in ${ms(terms.retryAfterMs)}: `)
    : ""

/** Tells the events of a task as they come. What an answer did to trust is told with it. */
const tell = (stage: Stage, task: Task) => {
  const { line } = stage
  const moves = new Map<NodeId, Move>()
  const moved = (node: NodeId): string => {
    const move = moves.get(node)
    return move === undefined ? "" : `; trust ${score(move.before)} → ${score(move.after)}`
  }
  return (event: Node.TaskEvent): void => {
    task.note(event)
    const who = "peer" in event ? nameOf(stage, event.peer) : ""
    switch (event._tag) {
      case "Sent":
        if (event.relayed) line.say(who, "gets the task through the relay, sealed end to end")
        break
      case "Countered":
        line.say(who, `counters: ${counterOf(event.terms)}${event.takenUp ? "waited for" : "too late"}`)
        break
      case "Answered":
        line.say(who, `answers after ${ms(event.latencyMs)}${moved(event.peer)}`)
        break
      case "Failed":
        line.say(
          who,
          `${besides(who, withNames(stage, explain(event.reason)))}${moved(event.peer)}${event.next ? "; on to the next" : ""}`,
          "bad"
        )
        break
      case "Cancelled":
        line.say(who, "is not needed any more, and cancelled", "quiet")
        break
      case "Trust":
        moves.set(event.move.node, event.move)
        break
    }
  }
}

const withNames = (stage: Stage, text: string): string =>
  text.replaceAll(/z6Mk[1-9A-HJ-NP-Za-km-z]{44}/g, (node) => nameOf(stage, node))

/** A text whose line begins with who it is about. */
const besides = (who: string, text: string): string => (text.startsWith(`${who} `) ? text.slice(who.length + 1) : text)

const show = (line: Timeline, { columns, rows }: Description): void => {
  const table = columns
    .slice(0, SHOWN_COLUMNS)
    .map(({ max, mean, median, min, missing, n, name, sd }) => [
      [...name].length > 28 ? `${[...name].slice(0, 27).join("")}…` : name,
      ...[n, missing, mean, sd, min, median, max].map(figure)
    ])
  const head = ["column", "n", "missing", "mean", "sd", "min", "median", "max"]
  for (const row of aligned([head, ...table], (column) => column > 0)) line.more(row)
  const more = columns.length - SHOWN_COLUMNS
  line.more(`${rows === 1 ? "1 row" : `${rows} rows`}${more > 0 ? `, and ${more} more numeric columns` : ""}`, "quiet")
}

/** Asks all who fit, and gets one verdict of their answers. */
const ask = Effect.fnUntraced(function* (stage: Stage, task: Task) {
  const { csv, line, node } = stage
  line.head("Five are asked, and one verdict is made of their answers")
  const verdict = yield* node.ask(
    Describe,
    { csv },
    {
      where: NEEDED,
      select: "top-5",
      aggregate: "cluster-vote",
      deadline: DEADLINE,
      receipt: true,
      onEvent: tell(stage, task)
    }
  )
  const behind = verdict.votes[0]?.nodes.length ?? 0
  line.say(
    "verdict",
    verdict.status === "reached"
      ? `reached: ${behind} of ${verdict.invited.length} say the same within rounding (the rule is ${verdict.rule})`
      : `${verdict.status}: ${verdict.answers.length} of ${verdict.invited.length} answered (the rule is ${verdict.rule})`,
    verdict.status === "reached" ? "good" : "bad"
  )
  if (verdict.value !== undefined) show(line, verdict.value)
  for (const dissent of verdict.dissent) {
    const who = nameOf(stage, dissent.node)
    line.say(
      who,
      dissent._tag === "Failed"
        ? `failed: ${besides(who, withNames(stage, dissent.reason))}`
        : `stands alone: ${difference(dissent.value, verdict.value)}`,
      "bad"
    )
  }
  return verdict
})

/** The first figure in which a description differs from the agreed one. */
const difference = (said: unknown, agreed: Description | undefined): string => {
  const columns = (said as Partial<Description> | null)?.columns
  const own = Array.isArray(columns) ? (columns as Description["columns"])[0] : undefined
  const common = agreed?.columns[0]
  return own === undefined || common === undefined
    ? "it says something else"
    : `it says that ${own.name} has mean ${figure(own.mean)}, not ${figure(common.mean)}`
}

/** Makes the certificate, checks it as a third party would, and shows that a forged one is refused. */
const certify = Effect.fnUntraced(function* ({ line }: Stage, verdict: Verdict<Description>) {
  const made = Certificate.make(yield* Identity, verdict)
  if (made instanceof Certificate.CertificateError) {
    line.say("proof", made.message, "bad")
    return false
  }
  const text = JSON.stringify(made)
  const report = yield* Effect.result(Certificate.verify(text, Consensus.strategies))
  if (report._tag === "Failure") {
    line.say("proof", report.failure.message, "bad")
    return false
  }
  line.say("proof", `the certificate is ${report.success.summary} (${text.length} bytes)`, "good")
  const [first, ...others] = made.answers
  const rows = verdict.value?.rows ?? 0
  const value = { ...(first?.value as object), rows: rows + 1 }
  const forged = { ...made, answers: first === undefined ? others : [{ ...first, value }, ...others] }
  const refused = yield* Effect.result(Certificate.verify(JSON.stringify(forged), Consensus.strategies))
  if (refused._tag === "Success") {
    line.say("proof", "a forged certificate was taken for a true one", "bad")
    return false
  }
  line.say("proof", `one with ${rows + 1} rows instead of ${rows} in an answer is refused`)
  return true
})

const showTrust = Effect.fnUntraced(function* (stage: Stage) {
  const trust = yield* Trust
  const rows = trust
    .entries()
    .toSorted((a, b) => b.value - a.value || (nameOf(stage, a.node) < nameOf(stage, b.node) ? -1 : 1))
    .map(({ node, value, why }) => [nameOf(stage, node), score(value), why])
  stage.line.say("trust", "what the requester has learned; everyone began with 0.50")
  for (const row of aligned(rows, () => false)) stage.line.more(row)
})

/** Kills an agent, and calls it first. */
const callAgain = Effect.fnUntraced(function* (stage: Stage, task: Task) {
  const { csv, line, node } = stage
  line.head("One is killed, and preferred in the next call")
  const victim = player(stage, "killed")
  if (victim !== undefined) {
    yield* victim.process.kill
    line.say(victim.member.name, `process ${victim.process.pid} is killed (SIGKILL)`, "bad")
  }
  const answered = yield* node.request(
    Describe,
    { csv },
    {
      where: {
        features: ["missing-values"],
        minTrust: 0.5,
        ...(victim === undefined ? {} : { preferPeers: [victim.process.node] })
      },
      deadline: DEADLINE,
      receipt: true,
      onEvent: tell(stage, task)
    }
  )
  line.say(
    nameOf(stage, answered.peer),
    `has described the table with a receipt: ${answered.output.rows} ${answered.output.rows === 1 ? "row" : "rows"}`,
    "good"
  )
  return answered
})

/** What the registry has seen of it, as its page shows it. */
const lookUp = Effect.fnUntraced(function* (stage: Stage, url: string, verdict: Verdict, tasks: ReadonlyArray<string>) {
  const { line } = stage
  const { look } = yield* Effect.promise(() => import("./Page.ts"))
  line.head("A registry was beside it, and has kept count")
  const nodes = verdict.invited.map(({ node }) => node)
  const seen = yield* look(url, { verdict: verdict.task, tasks, nodes })
  line.say(
    "registry",
    `${seen.online} agents online, ${seen.traces} events of ${tasks.length} tasks; ` +
      (seen.published ? "the verdict is published with its certificate" : "no verdict is published"),
    seen.published ? "plain" : "bad"
  )
  const rows = seen.standings.map(({ attested, high, low, node, reports, score: value }) => [
    nameOf(stage, node),
    score(value),
    `between ${score(low)} and ${score(high)} after ${reports} ${reports === 1 ? "report" : "reports"}, ${attested} with a receipt`
  ])
  for (const row of aligned(rows, () => false)) line.more(row)
  return seen
})

/** Asks again and again, so that there is something to see. */
const goOn = ({ csv, node }: Stage) =>
  node
    .ask(
      Describe,
      { csv },
      { where: NEEDED, select: "top-5", aggregate: "cluster-vote", deadline: DEADLINE, receipt: true }
    )
    .pipe(Effect.ignore, Effect.andThen(Effect.sleep(AGAIN)), Effect.forever)

/**
 * Plays the demo, and reports what happened. Processes and files end with it; `stay` is done before that, while everything is
 * still there.
 */
export const play = Effect.fnUntraced(function* (
  options: Options,
  csv: string,
  line: Timeline,
  stay: (report: Report) => Effect.Effect<void>
) {
  line.head("A tracker and seven agents, each a process of its own on this machine")
  const company = yield* Company.make
  const key = options.registry ? new Uint8Array(randomBytes(32)) : undefined
  const whole = Effect.gen(function* () {
    const { at, players, url } = yield* enter(
      company,
      options,
      line,
      key === undefined ? undefined : fromSeed(key).nodeId
    )
    const requester = yield* Layer.build(
      Layers.layer({
        name: "requester",
        listen: false,
        mdns: false,
        trackers: [at],
        relays: [],
        ...(key === undefined ? {} : { identity: key }),
        ...(url === undefined ? {} : { registry: { at: url, verdicts: true } })
      })
    )
    const stage: Stage = { node: Context.get(requester, Node.Node), line, players, csv }
    const report = yield* Effect.provide(tellAll(stage, url), requester)
    return { stage, report }
  })
  const { report, stage } = yield* whole.pipe(
    Effect.timeoutOrElse({
      duration: `${LIMIT_SECONDS} seconds`,
      orElse: () =>
        Effect.fail(new Company.ProcessFailed({ name: "the demo", detail: `it took more than ${LIMIT_SECONDS} s` }))
    })
  )
  if (options.keep) yield* Effect.raceFirst(stay(report), goOn(stage))
  return report
}, Effect.scoped)

const tellAll = Effect.fnUntraced(function* (stage: Stage, url: string | undefined) {
  const { line, players } = stage
  const agents = yield* meet(stage)
  const matched = yield* find(stage)
  yield* fill(stage)
  const first = new Task()
  const verdict = yield* ask(stage, first)
  const certified = verdict.status === "reached" && (yield* certify(stage, verdict))
  yield* showTrust(stage)
  const second = new Task()
  const again = yield* Effect.result(callAgain(stage, second))
  if (again._tag === "Failure") line.say("call", withNames(stage, again.failure.message), "bad")
  const tasks = [verdict.task, ...(again._tag === "Success" ? [again.success.task] : [])]
  const seen = url === undefined ? undefined : yield* lookUp(stage, url, verdict, tasks)
  const of = (role: Cast.Role): NodeId | undefined => player(stage, role)?.process.node
  const report: Report = {
    agents,
    matched,
    verdict,
    certified,
    first,
    second,
    answeredAgain: again._tag === "Success",
    roles: { full: of("full"), killed: of("killed"), relayed: of("relayed"), slow: of("slow"), liar: of("liar") },
    strangers: players.filter(({ member }) => member.way._tag === "Other").map(({ process }) => process.node),
    seen,
    nameOf: (node) => nameOf(stage, node)
  }
  return report
})
