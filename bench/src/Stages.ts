/**
 * Where the time of one routed call goes: a CPU profile, its own time added up by what a function is there for.
 *
 * A function of the runtime or of a native module counts for whoever called it, so that `JSON.parse` is JSON's, and a write that
 * of the socket. Samples are counted and not their distances, since some profilers let idle time pass between two of them.
 */
import type { Profiler } from "node:inspector"

/** What a call is made of, in the order of its way. */
export const stages = [
  "find the agent and its connection",
  "the task and the attempt",
  "trace",
  "deadlines",
  "trust, load, circuit",
  "envelope",
  "JSON and schemas",
  "streams, frames, flow control",
  "sealing",
  "opening",
  "socket",
  "gates and dispatch",
  "idempotency",
  "fibres of Effect",
  "garbage collection",
  "the bench itself",
  "other"
] as const
export type Stage = (typeof stages)[number]

const filesOf: { readonly [S in Stage]?: ReadonlyArray<string> } = {
  "find the agent and its connection": [
    ..."Matching CapabilityIndex MatcherIndex Matcher Best Ranking Named Limited QueryText Query VersionRange".split(
      " "
    ),
    ..."Constraints Words Reach Kept Directory Connections Guardrails".split(" ")
  ],
  "the task and the attempt":
    "Caller Attempt Outgoing Job TaskId NodeLive Node CurrentTask Answer Hex Capability".split(" "),
  trace: ["CallerSpan", "Tracer", "tracer"],
  deadlines: ["Deadlines"],
  "trust, load, circuit": ["Experience", "Trust", "Breaker", "Peers"],
  envelope: ["Envelope", "Bytes"],
  "JSON and schemas": ["JsonCodec", "CanonicalJson", "interpreter", "compiler"],
  "streams, frames, flow control": "Session SessionStream DataFrames StreamTable Outbox Frame Budget Transport".split(
    " "
  ),
  socket: ["SocketLink", "ByteLink"],
  "gates and dispatch": "Executor Served Work Running FairQueue RateLimit Refusal Settling".split(" "),
  idempotency: ["Repeats"]
}
const stageOfFile = new Map(
  Object.entries(filesOf).flatMap(([stage, files]) => files.map((file) => [file, stage as Stage] as const))
)

const sealers = new Set(["Aead", "CipherState", "CipherSuite", "Records"])
const spanFunctions = /span/i

/** The runtimes' own files on the way to the socket: compilers put what calls them into its own caller. */
const socketFiles = /(?:^|[:/])(?:net|writable|readable|stream_base_commons|stream_wrap|tcp_wrap)(?:\.\w+)?$/

/** What a function is there for; undefined where that depends on who called it. */
const ownStage = ({ functionName, url }: Profiler.Profile["nodes"][number]["callFrame"]): Stage | undefined => {
  if (functionName === "(garbage collector)") return "garbage collection"
  if (!/^(file:|\/)/.test(url)) return socketFiles.test(url) ? "socket" : undefined
  const file = /([^/\\]+)\.[cm]?[jt]s$/.exec(url)?.[1] ?? ""
  if (url.includes("/bench/src/")) return "the bench itself"
  if (sealers.has(file)) return /seal|encrypt|write/i.test(functionName) ? "sealing" : "opening"
  if (url.includes("/node_modules/effect/")) {
    if (/schema/i.test(url)) return "JSON and schemas"
    return spanFunctions.test(functionName) || /tracer/i.test(file) ? "trace" : "fibres of Effect"
  }
  return stageOfFile.get(file) ?? (url.includes("/packages/") ? "other" : undefined)
}

const isIdle = (name: string): boolean => name === "(idle)" || name === "(root)" || name === "(program)"
/** The profiler's own work. */
const isProfiler = (name: string, url: string): boolean => name === "post" && /inspector/.test(url)

/** The part of each stage, 0 to 1, of what the thread did. */
export const sharesOf = ({ nodes, samples = [] }: Profiler.Profile): ReadonlyMap<Stage, number> => {
  const parents = new Map<number, number>()
  for (const { children = [], id } of nodes) for (const child of children) parents.set(child, id)
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]))
  const known = new Map<number, Stage>()
  const stageOf = (id: number): Stage => {
    const before = known.get(id)
    if (before !== undefined) return before
    const parent = parents.get(id)
    const stage = ownStage(byId.get(id)!) ?? (parent === undefined ? "socket" : stageOf(parent))
    known.set(id, stage)
    return stage
  }
  const counts = new Map<Stage, number>()
  let all = 0
  for (const id of samples) {
    const frame = byId.get(id)
    if (frame === undefined || isIdle(frame.functionName) || isProfiler(frame.functionName, frame.url)) continue
    const stage = stageOf(id)
    counts.set(stage, (counts.get(stage) ?? 0) + 1)
    all += 1
  }
  return new Map(stages.map((stage) => [stage, all === 0 ? 0 : (counts.get(stage) ?? 0) / all]))
}
