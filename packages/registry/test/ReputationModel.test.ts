/**
 * Verifies: AgentMesh's figures to the digit, bounds and monotony, that reports and a restart at any point give the same bits, and
 * how far one reviewer, strangers, sybils and reports without receipts can move an agent.
 */
import { describe, expect, test } from "bun:test"
import type * as Schema from "effect/Schema"
import type { Receipt } from "@parley/core/Receipt"
import { forRounds, type Seeded, seeded } from "@parley/core/testing/Seeded"
import type { Report } from "@parley/registry/Event"
import * as Exploration from "@parley/registry/Exploration"
import * as ReputationModel from "@parley/registry/ReputationModel"

const HOUR = 3_600_000
const DAY = 24 * HOUR
const START = Date.UTC(2026, 0, 1)

const report = (agent: string, reviewer: string, quality: number, more: Partial<Report> = {}): Report => ({
  agent,
  reviewer,
  capability: "work",
  task: "t",
  success: true,
  quality,
  ...more
})
/** What a receipt says is checked before; here its presence counts. */
const attested = (agent: string, reviewer: string, quality: number, more: Partial<Report> = {}): Report =>
  report(agent, reviewer, quality, { receipt: { executor: agent } as Receipt, ...more })

/** A market of a few agents that review each other, with and without receipts, over weeks. */
const randomReports = (random: Seeded, count: number): ReadonlyArray<readonly [Report, number]> => {
  let at = START
  return Array.from({ length: count }, () => {
    at += random.int(4) === 0 ? random.int(5 * DAY) : random.int(HOUR)
    const agent = `agent-${random.int(8)}`
    const reviewer = random.int(3) === 0 ? `agent-${8 + random.int(4)}` : `caller-${random.int(12)}`
    const more = { success: random.int(4) > 0, capability: random.pick(["work", "work", "play", ""]) }
    const of = random.int(3) === 0 ? report : attested
    return [of(agent, reviewer, random.next(), more), at] as const
  })
}

/** Everything that a reputation says of a market. */
const told = (model: ReputationModel.ReputationModel, now: number) => ({
  standings: Array.from({ length: 8 }, (_, i) => model.standings(`agent-${i}`, now)),
  weights: Array.from({ length: 12 }, (_, i) => [model.weightOf(`agent-${i}`), model.weightOf(`caller-${i}`)]),
  seeds: model.seeds(),
  reports: model.reports()
})

/** The last row of each (agent, capability, reviewer), as storage keeps them. */
class Rows {
  readonly #rows = new Map<string, Schema.Json>()
  keep({ agent, capability, reviewer }: Report, row: Schema.Json): void {
    this.#rows.set(`${agent}\n${capability}\n${reviewer}`, JSON.parse(JSON.stringify(row)) as Schema.Json)
  }
  /** In no order. */
  shuffled(random: Seeded): ReadonlyArray<Schema.Json> {
    return [...this.#rows.values()]
      .map((row) => ({ row, at: random.next() }))
      .sort((a, b) => a.at - b.at)
      .map(({ row }) => row)
  }
}

describe("while AgentMesh's clients are the only reporters", () => {
  test("the score is AgentMesh's moving average, to the digit", () => {
    const model = ReputationModel.make()
    expect(model.score("ada", "", START)).toBe(0.5)
    expect(model.apply(report("ada", "bob", 1), START).score).toBe(0.55)
    expect(model.apply(report("ada", "bob", 0.5, { success: false }), START).score).toBeCloseTo(0.515, 15)
    expect(model.apply(report("ada", "bob", 0.5), START).score).toBeCloseTo(0.5135, 15)
    for (let i = 0; i < 5; i++) model.apply(report("eve", "bob", 0, { success: false, capability: "" }), START)
    expect(model.score("eve", "", START)).toBeCloseTo(0.295245, 15)
    expect(model.score("eve", "anything", START)).toBeCloseTo(0.295245, 15)
    // Whenever it is asked, and whoever is weighed: it does not fade.
    model.settle(START + 400 * DAY)
    expect(model.score("eve", "", START + 400 * DAY)).toBeCloseTo(0.295245, 15)
    const [overall] = model.standings("eve", START)
    expect(overall).toMatchObject({ capability: null, reports: 5, attested: 0, weight: 5, ema: overall!.score })
    expect(overall!.low < overall!.score && overall!.score < overall!.high).toBe(true)
  })

  test("quality is cut to 0 to 1, and the average stays there", () => {
    const model = ReputationModel.make()
    for (let i = 0; i < 400; i++) model.apply(report("ada", "bob", 7), START)
    expect(model.score("ada", "", START)).toBeLessThanOrEqual(1)
    for (let i = 0; i < 400; i++) model.apply(report("ada", "bob", -7, { success: false }), START)
    expect(model.score("ada", "", START)).toBeGreaterThanOrEqual(0)
  })
})

describe("the same reports", () => {
  test("give the same bits, restored from rows in any order at any point", () => {
    const random = seeded(0x7e57)
    forRounds(random, 12, () => {
      const reports = randomReports(random, 300)
      const cut = random.int(reports.length)
      const seeds = random.int(2) === 0 ? ["caller-0", "caller-1"] : []
      const first = ReputationModel.make({ seeds })
      const rows = new Rows()
      for (const [one, at] of reports.slice(0, cut)) rows.keep(one, first.apply(one, at).edge)
      const second = ReputationModel.make({ seeds })
      second.restore(rows.shuffled(random))
      const between = reports[cut]![1]
      first.settleAll(between)
      second.settle(between)
      if (cut > 0) expect(second.settled()).toBe(cut)
      expect(told(second, between)).toEqual(told(first, between))
      for (const [one, at] of reports.slice(cut)) expect(second.apply(one, at)).toEqual(first.apply(one, at))
      const end = reports.at(-1)![1]
      expect(told(second, end + DAY)).toEqual(told(first, end + DAY))
      first.settleAll(end)
      second.settleAll(end)
      expect(told(second, end)).toEqual(told(first, end))
    })
  })

  test("give the same sums whether they were added one by one or all at once", () => {
    const random = seeded(0xadd)
    const reports = randomReports(random, 2_000)
    const often = ReputationModel.make()
    const once = ReputationModel.make()
    for (const [i, [one, at]] of reports.entries()) {
      often.apply(one, at)
      once.apply(one, at)
      if (i % 17 === 0) often.settleAll(at)
    }
    const end = reports.at(-1)![1]
    often.settleAll(end)
    once.settleAll(end)
    expect(told(once, end)).toEqual(told(often, end))
  })

  test("are settled in slices to what they are settled to at once", () => {
    const random = seeded(0x511ce)
    const slices = ReputationModel.make()
    const once = ReputationModel.make()
    slices.settle(START)
    for (const [one, at] of randomReports(random, 500)) {
      slices.apply(one, at)
      once.apply(one, at)
    }
    for (let calls = 0; slices.settled() < slices.reports(); calls++) {
      expect(calls).toBeLessThan(1_000)
      slices.settle(START)
    }
    once.settleAll(START)
    expect(told(slices, START + 300 * DAY)).toEqual(told(once, START + 300 * DAY))
  })

  test("keep within room", () => {
    const random = seeded(0x200)
    const bounds = { maxAttestedEdges: 40, maxUnattestedEdges: 10, maxAgents: 6 }
    const small = ReputationModel.make(bounds)
    for (const [one, at] of randomReports(random, 1_500)) {
      small.apply(one, at)
      const { agents, edges } = small.size()
      expect(agents).toBeLessThanOrEqual(6)
      expect(edges).toBeLessThanOrEqual(50)
      if (random.int(40) === 0) small.settleAll(at)
    }
    expect(small.size().reviewers).toBeLessThanOrEqual(50 + ReputationModel.FOUNDERS)
    expect(small.size().edges).toBeGreaterThan(10)
  })
})

describe("scores", () => {
  test("stay within 0 and 1 and within their interval, whatever is reported", () => {
    const random = seeded(0xb0d)
    const model = ReputationModel.make()
    for (const [i, [one, at]] of randomReports(random, 3_000).entries()) {
      const { ema, score } = model.apply({ ...one, quality: random.next() * 3 - 1 }, at)
      expect(score >= 0 && score <= 1 && ema >= 0 && ema <= 1).toBe(true)
      if (i % 50 > 0) continue
      model.settleAll(at)
      for (const standing of model.standings(one.agent, at)) {
        const { high, low, score: each, weight } = standing
        expect(0 <= low && low <= each && each <= high && high <= 1 && weight >= 0).toBe(true)
        expect(model.score(one.agent, standing.capability ?? "", at)).toBe(each)
      }
    }
  })

  test("rise with quality: a better report never makes a worse score", () => {
    const random = seeded(0x3030)
    forRounds(random, 60, () => {
      const reports = randomReports(random, 60)
      const changed = random.int(reports.length)
      const [old, at] = reports[changed]!
      const better = { ...old, success: true, quality: Math.max(old.quality, random.next()) }
      const scores = [old, better].map((one) => {
        const model = ReputationModel.make({ seeds: ["caller-0", "caller-1", "caller-2"] })
        for (const [i, [each, when]] of reports.entries()) model.apply(i === changed ? one : each, when)
        const end = reports.at(-1)![1]
        return [model.score(one.agent, "", end), model.score(one.agent, one.capability, end), at]
      })
      expect(scores[1]![0]!).toBeGreaterThanOrEqual(scores[0]![0]!)
      expect(scores[1]![1]!).toBeGreaterThanOrEqual(scores[0]![1]!)
    })
  })

  test("fade to where they began, by half each month", () => {
    const model = ReputationModel.make({ seeds: ["caller"] })
    for (let i = 0; i < 50; i++) model.apply(attested("ada", "caller", 1), START)
    expect(model.evidence("ada", "work", START).good).toBeCloseTo(ReputationModel.REVIEWER_CAP, 5)
    const month = START + ReputationModel.HALF_LIFE_MS
    expect(model.evidence("ada", "work", month).good).toBeCloseTo(ReputationModel.REVIEWER_CAP / 2, 2)
    expect(model.score("ada", "", START)).toBeGreaterThan(model.score("ada", "", month))
    expect(model.score("ada", "", START + 3_000 * DAY)).toBeCloseTo(0.5, 6)
    // Two years later, in another era of the sums' clock, new evidence stands beside what is left of the old.
    const later = START + 730 * DAY
    model.apply(attested("ada", "caller", 0, { success: false }), later)
    expect(model.score("ada", "", later)).toBeCloseTo(1 / 3, 3)
  })

  test("in a capability without a record begin half-way to what the agent earned elsewhere", () => {
    const model = ReputationModel.make({ seeds: ["a", "b"] })
    for (let i = 0; i < 9; i++) for (const by of ["a", "b"]) model.apply(attested("ada", by, 1), START)
    const earned = model.score("ada", "", START)
    expect(model.score("ada", "other", START)).toBeCloseTo(0.5 + (earned - 0.5) / 2, 6)
    model.apply(attested("ada", "a", 0, { success: false, capability: "other" }), START)
    expect(model.score("ada", "other", START)).toBeLessThan(0.65)
  })
})

describe("one reviewer", () => {
  test("moves an agent no farther than its cap, in whatever order and over however many capabilities", () => {
    const random = seeded(0xca9)
    forRounds(random, 40, () => {
      const seeds = ["s-0", "s-1", "s-2", "loud"]
      const quiet = ReputationModel.make({ seeds })
      const heard = ReputationModel.make({ seeds })
      const quality = random.int(2)
      for (let i = 0; i < 80; i++) {
        const at = START + i * HOUR
        const loud = attested("ada", "loud", quality, { success: quality === 1, capability: `c-${random.int(6)}` })
        if (random.int(2) === 0) heard.apply(loud, at)
        else {
          const other = attested("ada", `s-${random.int(3)}`, random.next(), { capability: `c-${random.int(6)}` })
          quiet.apply(other, at)
          heard.apply(other, at)
        }
      }
      const end = START + 80 * HOUR
      const { bad, good } = quiet.evidence("ada", "", end)
      const all = heard.evidence("ada", "", end)
      const added = all.bad + all.good - bad - good
      expect(added).toBeLessThanOrEqual(ReputationModel.REVIEWER_CAP + 1e-5)
      const weight = ReputationModel.PRIOR + bad + good
      const most = ReputationModel.REVIEWER_CAP / (weight + ReputationModel.REVIEWER_CAP)
      expect(Math.abs(heard.score("ada", "", end) - quiet.score("ada", "", end))).toBeLessThanOrEqual(most + 1e-5)
    })
  })

  test("does not review itself, nor floods", () => {
    const model = ReputationModel.make()
    expect(model.admit(report("ada", "ada", 1), START)).toEqual({ _tag: "SelfReview" })
    const own = report("other", "ada", 1, { receipt: { executor: "ada" } as Receipt })
    expect(model.admit(own, START)).toEqual({ _tag: "SelfReview" })
    for (let i = 0; i < ReputationModel.REPORTS_PER_WINDOW; i++)
      expect(model.admit(report("ada", "bob", 1), START + i)).toBe(undefined)
    const over = model.admit(report("ada", "bob", 1), START + HOUR / 2)
    expect(over).toEqual({ _tag: "OverCap", retryAfterMs: HOUR / 2 })
    expect(model.admit(report("eve", "bob", 1), START + HOUR / 2)).toBe(undefined)
    expect(model.admit(report("ada", "bob", 1), START + HOUR)).toBe(undefined)
  })
})

describe("strangers", () => {
  const seeds = ["seed-0", "seed-1"]
  const model = () => {
    const made = ReputationModel.make({ seeds })
    // Receipts are known in this registry.
    made.apply(attested("known", "seed-0", 1), START)
    return made
  }

  test("without receipts move an agent by a tenth, however many they are", () => {
    const sybils = model()
    for (let i = 0; i < 5_000; i++) {
      sybils.apply(report("praised", `sybil-${i}`, 1), START)
      sybils.apply(report("slandered", `sybil-${i}`, 0, { success: false }), START)
    }
    sybils.settleAll(START)
    expect(sybils.score("praised", "work", START)).toBeCloseTo(0.5 + ReputationModel.SWAY, 9)
    expect(sybils.score("slandered", "work", START)).toBeCloseTo(0.5 - ReputationModel.SWAY, 9)
  })

  test("with receipts of their own move one by a tenth more, and whoever is known by less", () => {
    const sybils = model()
    for (let i = 0; i < 8; i++) for (const by of seeds) sybils.apply(attested("good", by, 1), START)
    const before = sybils.score("good", "work", START)
    for (let i = 0; i < 3_000; i++) {
      for (let j = 0; j < 2; j++) sybils.apply(attested("praised", `sybil-${i}`, 1), START)
      for (let j = 0; j < 2; j++) sybils.apply(attested("good", `sybil-${i}`, 0, { success: false }), START)
    }
    sybils.settleAll(START)
    expect(sybils.score("praised", "work", START)).toBeLessThanOrEqual(0.6 + 1e-9)
    expect(before - sybils.score("good", "work", START)).toBeLessThan(0.05)
    for (let i = 0; i < 3_000; i += 100) expect(sybils.weightOf(`sybil-${i}`)).toBe(0)
  })

  test("earn weight by saying what the seeds say, and lose it by saying otherwise", () => {
    const market = ReputationModel.make({ seeds })
    const agents = Array.from({ length: 12 }, (_, i) => ({ id: `agent-${i}`, good: i % 2 === 0 }))
    for (let round = 0; round < 4; round++) {
      for (const { good, id } of agents) {
        const say = (by: string, truly: boolean) =>
          market.apply(
            attested(id, by, truly === good ? 0.95 : 0.05, { success: truly === good }),
            START + round * HOUR
          )
        for (const by of [...seeds, "honest"]) say(by, true)
        say("liar", false)
        say("half", Number(id.slice(6)) % 4 < 2)
      }
    }
    market.settleAll(START + DAY)
    expect(market.weightOf("honest")).toBeGreaterThan(0.8)
    expect(market.weightOf("liar")).toBeLessThan(0.05)
    expect(market.weightOf("half")).toBeLessThan(0.3)
  })

  test("are not the first to show receipts, where no seeds are named", () => {
    const founded = ReputationModel.make()
    for (let i = 0; i < 20; i++) founded.apply(attested("ada", `caller-${i}`, 1), START)
    expect(founded.seeds()).toEqual(Array.from({ length: ReputationModel.FOUNDERS }, (_, i) => `caller-${i}`))
    expect(founded.configuredSeeds()).toEqual([])
    // One that comes while weights are worked out is one all the same.
    const late = ReputationModel.make()
    const take = late.prepare()
    late.apply(attested("ada", "first", 1), START)
    late.apply(report("ada", "nobody", 1), START)
    take()
    expect([late.weightOf("first"), late.weightOf("nobody"), late.settled()]).toEqual([1, 0, 0])
    expect(model().seeds()).toEqual(seeds)
  })
})

describe("new names", () => {
  test("begin below whoever did well, and leave their record behind under the old one", () => {
    const model = ReputationModel.make({ seeds: ["seed"] })
    for (let i = 0; i < 6; i++) {
      model.apply(attested("average", "seed", i % 3 === 0 ? 0.4 : 0.8), START)
      model.apply(attested("bad", "seed", 0, { success: false }), START)
    }
    expect(model.score("newcomer", "work", START)).toBe(0.5)
    expect(model.score("average", "work", START)).toBeGreaterThan(0.5)
    expect(model.score("bad", "work", START)).toBeLessThan(0.3)
  })

  test("are tried in a small share of discoveries, the smaller the better others are, and not for ever", () => {
    expect(Exploration.shareOf(0.95)).toBe(Exploration.LEAST_SHARE)
    expect(Exploration.shareOf(0.5)).toBe(Exploration.MOST_SHARE)
    expect(Exploration.shareOf(0.7)).toBeCloseTo(0.045, 12)
    const model = ReputationModel.make({ seeds: ["seed", "other"] })
    model.apply(attested("bad", "seed", 0, { success: false }), START)
    for (let i = 0; i < 9; i++) for (const by of ["a", "b"]) model.apply(attested("slandered", by, 0), START)
    for (let i = 0; i < 9; i++) for (const by of ["seed", "other"]) model.apply(attested("known", by, 1), START)
    const tried = ["new", "bad", "slandered", "known"].filter((id) => Exploration.isNewcomer(model, id, "work", START))
    expect(tried).toEqual(["new", "slandered"])
    const random = seeded(0xfa1)
    const first = { new: 0, slandered: 0 }
    for (let i = 0; i < 2_000; i++) {
      const trust = Exploration.newcomersFirst(model, START, random.next())
      const of = (id: string) => trust(id as never, "work")
      expect(Math.min(of("new"), of("slandered"))).toBeGreaterThanOrEqual(Math.max(of("known"), of("bad")))
      first[of("new") > of("slandered") ? "new" : "slandered"] += 1
    }
    expect(Math.abs(first.new - first.slandered)).toBeLessThan(200)
  })
})

test("a row that makes no sense is refused with what it is", () => {
  const model = ReputationModel.make()
  for (const row of [null, [], [2, "a", "b", "c"], { agent: "ada" }]) {
    expect(() => model.restore([row])).toThrow("cannot be read")
  }
})
