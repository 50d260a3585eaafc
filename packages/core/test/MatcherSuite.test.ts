/** Each law of the suite is seen to fail for something that breaks it. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Matcher from "../src/Matcher.ts"
import { MAX_LIMIT, type Query } from "../src/Query.ts"
import { suite } from "../src/testing/MatcherSuite.ts"
import { brokenLaws } from "../../../test-support/BrokenLaws.ts"

type Service = Matcher.Matcher["Service"]
const failing = (change: (inner: Service) => Partial<Service>) =>
  brokenLaws((api) =>
    suite(api, {
      name: "broken",
      make: Effect.sync(() => {
        const inner = Matcher.make()
        return { ...inner, ...change(inner) }
      })
    })
  )
/** A matcher that changes what it found. */
const matching = (change: (found: ReadonlyArray<Matcher.Match>, query: Query) => ReadonlyArray<Matcher.Match>) =>
  failing((inner) => ({
    match: (query, context) =>
      change(inner.match({ ...query, limit: MAX_LIMIT }, context), query).slice(0, query.limit ?? 50)
  }))

const filter = "a filter holds whatever else speaks for a capability: "
const named = "a node that is named is the only one, and too little trust is as hard a filter"
const fresh = "trust and availability are read at each match"
const expires = "what has expired does not match, and prune takes it out"
const newer = "a newer record replaces, and one with a lower seq changes nothing"
const gone = "a tombstone and remove take a node out"
const still = "matching changes nothing"
const order = "best first, in a total order, and each score is the weighted mean of parts that give their reason"
const everywhere = "the same records give the same order on every machine, however they came"
const limit = "a limit cuts the list at its end, and without one it is the default"
const near = "names that look like the one asked for are those of somebody who is there"

describe("MatcherSuite", () => {
  test("passes what keeps the laws", async () => {
    expect(await failing(() => ({}))).toEqual([])
  })

  test("notices each filter that is passed over", async () => {
    const every = await failing((inner) => ({ match: (_, context) => inner.match({}, context) }))
    expect(every.filter((law) => law.startsWith(filter)).length).toBe(14)
    expect(every).toContain(named)
    const trusted = await failing((inner) => ({
      match: (query, world) => inner.match({ ...query, minTrust: 0 }, world)
    }))
    expect(trusted).toEqual([named])
  })

  test("notices an order of its own, one that depends on what came first, and scores that nothing explains", async () => {
    expect(await matching((found) => found.toReversed())).toContain(order)
    const byScore = await failing((inner) => ({
      match: (query, context) => {
        const came = [...inner.records()].map(({ node }) => node)
        const found = [...inner.match({ ...query, limit: MAX_LIMIT }, context)]
        found.sort((a, b) => b.score - a.score || came.indexOf(a.node) - came.indexOf(b.node))
        return found.slice(0, query.limit ?? 50)
      }
    }))
    expect([byScore.includes(order), byScore.includes(everywhere)]).toEqual([true, true])
    expect(await matching((found) => found.map((match) => ({ ...match, score: match.score / 2 })))).toEqual([order])
    const silent = (part: Matcher.Part) => ({ ...part, why: "" })
    expect(
      await matching((found) =>
        found.map((match) => ({ ...match, parts: { ...match.parts, cost: silent(match.parts.cost) } }))
      )
    ).toEqual([order])
  })

  test("notices limits that do not hold, and parts that are kept too long", async () => {
    const own = await failing((inner) => ({ match: (query, world) => inner.match({ ...query, limit: 50 }, world) }))
    expect(own).toContain(limit)
    const stale = await failing((inner) => {
      let first: Matcher.MatchContext | undefined
      return { match: (query, context) => inner.match(query, { ...(first ??= context), now: context.now }) }
    })
    expect(stale).toContain(fresh)
  })

  test("notices old records, expired ones, the dead, and changes that are not counted", async () => {
    const forgetful = await failing((inner) => ({
      upsert: (record) => {
        inner.remove(record.node)
        inner.upsert(record)
      }
    }))
    expect(forgetful).toContain(newer)
    expect(await failing((inner) => ({ match: (query, world) => inner.match(query, { ...world, now: 0 }) }))).toEqual([
      expires
    ])
    expect(await failing(() => ({ prune: () => 0 }))).toEqual([expires])
    expect(await failing(() => ({ remove: () => {} }))).toContain(gone)
    expect(await failing(() => ({ revision: () => 0 }))).toEqual([expires, newer, gone])
    let matches = 0
    const counting = await failing((inner) => ({
      match: (query, world) => {
        matches++
        return inner.match(query, world)
      },
      revision: () => inner.revision() + matches
    }))
    expect(counting).toContain(still)
    expect(await failing(() => ({ closest: () => [] }))).toEqual([near])
  })
})
