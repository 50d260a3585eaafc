/**
 * The laws of `Strategy` as tests: run them over your own selections and aggregations.
 *
 * ```ts
 * import { describe, expect, test } from "bun:test"
 *
 * selectionSuite({ describe, expect, test }, { name: "cheapest", make: () => cheapest(2), count: 2 })
 * aggregationSuite({ describe, expect, test }, { name: "newest", make: () => newest, values: ["a", "b", "c"] })
 * ```
 *
 * Everything random comes from a seed, which the failure names.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as CanonicalJson from "../CanonicalJson.ts"
import type { Match } from "../Matcher.ts"
import * as NodeId from "../NodeId.ts"
import type { Aggregation, Answer, Invited, Outcome, Selection, SelectionContext, Tally } from "../Strategy.ts"
import { fromSeed, type Seeded } from "./Seeded.ts"
import type { TestApi } from "./TestApi.ts"

/** A NodeId for tests; the same one for the same number. No key is behind it. */
export const testNode = (number: number): NodeId.NodeId => {
  const bytes = new Uint8Array(NodeId.PUBLIC_KEY_BYTES)
  new DataView(bytes.buffer).setUint32(0, Math.imul(number + 1, 0x9e3779b1) >>> 0)
  new DataView(bytes.buffer).setUint32(4, number)
  return NodeId.fromPublicKey(bytes)
}

/** A match for tests: node `number` at an address, with a score. Its record is not signed. */
export const testMatch = (number: number, score: number, address = `tcp://192.0.2.${number % 250}:7878`): Match => {
  const node = testNode(number)
  const capability = { name: "test.echo", version: `1.${number}.0` }
  const part = { value: score, weight: 0.25, why: "made for a test" }
  return {
    node,
    record: {
      v: 1,
      node,
      name: `agent ${number}`,
      seq: 1,
      issuedAt: 0,
      expiresAt: 3_600_000,
      addresses: [address],
      capabilities: [capability],
      sig: "A".repeat(86)
    },
    capability,
    score,
    parts: { semantic: part, trust: part, availability: part, cost: part }
  }
}

/** `count` matches, best first, with some nodes twice and some sharing a host. */
const someMatches = (count: number, random: Seeded): Array<Match> =>
  Array.from({ length: count }, () =>
    testMatch(
      random.int(Math.max(1, Math.ceil(count * 0.8))),
      random.next() < 0.1 ? 0 : random.next(),
      `tcp://192.0.2.${random.int(4)}:7878`
    )
  ).sort((a, b) => b.score - a.score)

/** A selection under test. */
export interface SelectionUnderTest {
  readonly name: string
  readonly make: () => Selection
  /** It chooses this many nodes where as many match, and all of them where fewer do. */
  readonly count?: number
  /** Default 1. */
  readonly seed?: number
}

/** The laws of a selection: some of the matches, none twice, repeatable, and nothing is written to. */
export const selectionSuite = ({ describe, expect, test }: TestApi, subject: SelectionUnderTest): void => {
  const seed = subject.seed ?? 1
  const cases = () => {
    const random = fromSeed(seed)
    return Array.from({ length: 300 }, (_, index) => {
      const matches = Object.freeze(someMatches(index % 25, random))
      const loads = new Map(matches.map(({ node }) => [node, random.int(5)]))
      const context = (): SelectionContext => ({
        random: fromSeed(index).next,
        turn: index >> 3,
        load: ({ node }) => loads.get(node) ?? 0
      })
      return { index, matches, context }
    })
  }
  describe(`selection ${subject.name}`, () => {
    test("chooses among the matches, none twice", () => {
      for (const { context, index, matches } of cases()) {
        const chosen = subject.make().select(matches, context())
        const strangers = chosen.filter((match) => !matches.includes(match)).length
        expect({ seed, index, strangers, distinct: new Set(chosen).size }).toEqual({
          seed,
          index,
          strangers: 0,
          distinct: chosen.length
        })
      }
    })
    test("chooses the same for the same context, and leaves the matches as they are", () => {
      for (const { context, index, matches } of cases()) {
        const before = [...matches]
        const first = subject.make().select(matches, context())
        const second = subject.make().select(matches, context())
        expect({ seed, index, nodes: second.map(({ node }) => node) }).toEqual({
          seed,
          index,
          nodes: first.map(({ node }) => node)
        })
        expect(matches.every((match, i) => match === before[i])).toEqual(true)
      }
    })
    const { count } = subject
    if (count !== undefined) {
      test(`chooses ${count} nodes, or all where fewer match`, () => {
        for (const { context, index, matches } of cases()) {
          const chosen = subject.make().select(matches, context())
          expect({ seed, index, nodes: new Set(chosen.map(({ node }) => node)).size }).toEqual({
            seed,
            index,
            nodes: Math.min(count, new Set(matches.map(({ node }) => node)).size)
          })
        }
      })
    }
  })
}

/** An aggregation under test. */
export interface AggregationUnderTest {
  readonly name: string
  readonly make: () => Aggregation
  /** What agents answer: 3 or 4 values, some of which the aggregation holds for equal or close. */
  readonly values: ReadonlyArray<Schema.Json>
  /** Quality of an answer, by the number of its value. */
  readonly quality?: (value: number) => number
  /** Trust in each agent. Default: the same in all. */
  readonly trust?: (agent: number) => number
  /** `decided` says so as soon as no answer among `values` can change anything, not only some time later. */
  readonly exact?: boolean
  /** Its name says that the order of answers decides. */
  readonly ordered?: boolean
  /** Default 1. */
  readonly seed?: number
}

/** One agent's place in a count: it has not spoken, it failed, or it gave the value of this number. */
const PENDING = -2
const FAILED = -1

const text = (outcome: Outcome | undefined): string =>
  outcome === undefined ? "none" : CanonicalJson.stringify(outcome)
/** What `decided` promises not to change. */
const essence = ({ status, value }: Outcome): string => CanonicalJson.stringify({ status, value })

/** Every way in which `count` agents may stand, of `options` each, as numbers from `lowest`. */
function* standings(count: number, lowest: number, options: number): Generator<Array<number>> {
  const total = options ** count
  for (let number = 0; number < total; number++) {
    let rest = number
    yield Array.from({ length: count }, () => {
      const option = rest % options
      rest = Math.floor(rest / options)
      return lowest + option
    })
  }
}

/**
 * The laws of an aggregation.
 *
 * The one about `decided` is proven for up to four agents by trying every standing and every way in which it may go on.
 */
export const aggregationSuite = ({ describe, expect, test }: TestApi, subject: AggregationUnderTest): void => {
  const seed = subject.seed ?? 1
  const { quality, values } = subject
  const trustOf = subject.trust ?? (() => 0.5)
  const inviteAll = (count: number): Array<Invited> =>
    Array.from({ length: count }, (_, agent) => ({ node: testNode(agent), trust: trustOf(agent), score: 0.5 }))

  /** Answers are prepared once for each value and moved to the agent that gives them. */
  const prepared = async (aggregation: Aggregation): Promise<(agent: number, value: number) => Answer> => {
    const models: Array<Answer> = []
    for (const [number, value] of values.entries()) {
      const answer: Answer = {
        node: testNode(0),
        capability: "test.echo@1.0.0",
        value,
        latencyMs: 1,
        ...(quality === undefined ? {} : { quality: quality(number) })
      }
      models.push(
        aggregation.prepare === undefined ? answer : await Effect.runPromise(aggregation.prepare(answer, null))
      )
    }
    return (agent, value) => ({ ...models[value]!, node: testNode(agent) })
  }

  const law = (
    name: string,
    body: (aggregation: Aggregation, answer: (agent: number, value: number) => Answer) => void
  ): void =>
    test(
      name,
      async () => {
        const aggregation = subject.make()
        body(aggregation, await prepared(aggregation))
      },
      60_000
    )

  describe(`aggregation ${subject.name}`, () => {
    if (subject.ordered !== true) {
      law("comes to the same outcome in any order of the same answers", (aggregation, answer) => {
        const random = fromSeed(seed)
        for (let run = 0; run < 300; run++) {
          const size = 1 + random.int(9)
          const invited = inviteAll(size)
          const answers = invited
            .map((_, agent) => answer(agent, random.int(values.length)))
            .filter(() => random.next() < 0.8)
          const outcomes = [answers, answers.toReversed(), answers.toSorted(() => random.next() - 0.5)].map((order) => {
            const tally = aggregation.tally(invited)
            for (const one of order) tally.answer(one)
            return text(tally.outcome())
          })
          expect({ seed, run, outcomes }).toEqual({ seed, run, outcomes: outcomes.map(() => outcomes[0]) })
        }
      })
    }

    law("counts one word per node, and strangers not at all", (aggregation, answer) => {
      const random = fromSeed(seed)
      for (let run = 0; run < 200; run++) {
        const size = 1 + random.int(6)
        const invited = inviteAll(size)
        const plain = aggregation.tally(invited)
        const disturbed = aggregation.tally(invited)
        for (let agent = 0; agent < size; agent++) {
          const other = answer(agent, random.int(values.length))
          const stranger = answer(size + 1 + random.int(3), random.int(values.length))
          disturbed.answer(stranger)
          disturbed.failure({ node: stranger.node, reason: "made for a test" })
          const failed = random.next() < 0.3
          const word = answer(agent, random.int(values.length))
          for (const tally of [plain, disturbed]) {
            if (failed) tally.failure({ node: testNode(agent), reason: "made for a test" })
            else tally.answer(word)
          }
          disturbed.answer(other)
          disturbed.answer(other)
          disturbed.failure({ node: testNode(agent), reason: "made for a test" })
          expect({ seed, run, outcome: text(disturbed.outcome()), decided: text(disturbed.decided()) }).toEqual({
            seed,
            run,
            outcome: text(plain.outcome()),
            decided: text(plain.decided())
          })
        }
      }
    })

    law("says who stands where, each once, and a value only when it is reached", (aggregation, answer) => {
      const random = fromSeed(seed)
      for (let run = 0; run < 300; run++) {
        const size = random.int(8)
        const tally = aggregation.tally(inviteAll(size))
        const answered = new Set<string>()
        for (let agent = 0; agent < size; agent++) {
          if (random.next() < 0.2) continue
          tally.answer(answer(agent, random.int(values.length)))
          answered.add(testNode(agent))
        }
        const { confidence, dissent, status, value, votes } = tally.outcome()
        const voters = votes.flatMap(({ nodes }) => nodes)
        const problems = [
          (status === "reached") === (value !== undefined) ? "" : "a value that is not reached, or none that is",
          confidence >= 0 && confidence <= 1 ? "" : "confidence beyond 0 and 1",
          new Set(voters).size === voters.length ? "" : "a node votes twice",
          new Set(dissent).size === dissent.length ? "" : "a node dissents twice",
          [...voters, ...dissent].every((node) => answered.has(node)) ? "" : "a node that did not answer",
          votes.every(({ weight }, i) => i === 0 || weight <= votes[i - 1]!.weight) ? "" : "votes out of order",
          status === "reached" || dissent.length === answered.size ? "" : "dissent is not all who answered",
          answered.size > 0 || status === "insufficient" ? "" : "something else than insufficient with no answer"
        ].filter((problem) => problem !== "")
        expect({ seed, run, problems }).toEqual({ seed, run, problems: [] })
      }
    })

    law("never takes back what it decided, and decides when nobody is left", (aggregation, answer) => {
      const random = fromSeed(seed)
      for (let run = 0; run < 200; run++) {
        const size = random.int(12)
        const tally = aggregation.tally(inviteAll(size))
        let decided = tally.decided()
        // One value is more frequent, so that a good part of the runs reaches something.
        const favourite = random.int(values.length)
        const order = Array.from({ length: size }, (_, agent) => agent).sort(() => random.next() - 0.5)
        for (const agent of order) {
          if (random.next() < 0.15) tally.failure({ node: testNode(agent), reason: "made for a test" })
          else tally.answer(answer(agent, random.next() < 0.6 ? favourite : random.int(values.length)))
          const now = tally.decided()
          if (decided !== undefined) {
            expect({ seed, run, now: now === undefined ? "none" : essence(now) }).toEqual({
              seed,
              run,
              now: essence(decided)
            })
          }
          decided = now
        }
        expect({ seed, run, decided: text(decided) }).toEqual({ seed, run, decided: text(tally.outcome()) })
      }
    })

    const what = subject.exact === true ? "exactly when nothing can change any more" : "only when nothing can change"
    law(`decides ${what}: every standing of up to four agents`, (aggregation, answer) => {
      const take = (tally: Tally, agent: number, standing: number) => {
        if (standing === FAILED) tally.failure({ node: testNode(agent), reason: "made for a test" })
        else if (standing >= 0) tally.answer(answer(agent, standing))
      }
      for (let size = 0; size <= 4; size++) {
        const invited = inviteAll(size)
        const ends = new Map<string, string>()
        for (const standing of standings(size, PENDING, values.length + 2)) {
          const open = standing.flatMap((state, agent) => (state === PENDING ? [agent] : []))
          const begin = () => {
            const tally = aggregation.tally(invited)
            standing.forEach((state, agent) => take(tally, agent, state))
            return tally
          }
          const possible = new Set<string>()
          for (const rest of standings(open.length, FAILED, values.length + 1)) {
            const full = [...standing]
            open.forEach((agent, i) => (full[agent] = rest[i]!))
            // Where order decides, the same end may be come to in several ways.
            const key = subject.ordered === true ? `${standing} ${rest}` : full.join(" ")
            let end = ends.get(key)
            if (end === undefined) {
              const tally = begin()
              open.forEach((agent, i) => take(tally, agent, rest[i]!))
              end = essence(tally.outcome())
              ends.set(key, end)
            }
            possible.add(end)
          }
          const decided = begin().decided()
          const at = `agents ${standing.map((s) => (s === PENDING ? "?" : s === FAILED ? "x" : s)).join(" ")}`
          if (decided !== undefined) {
            expect({ at, possible: [...possible] }).toEqual({ at, possible: [essence(decided)] })
          } else if (subject.exact === true || open.length === 0) {
            expect({ at, decided: false, canChange: possible.size > 1 }).toEqual({
              at,
              decided: false,
              canChange: true
            })
          }
        }
      }
    })
  })
}
