/** Attacks by what is said of agents: floods of records, records of the past and of the future, forged ones, and queries. */
import { randomBytes } from "node:crypto"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { CapabilityRecord } from "@parley/core/Capability"
import * as Protocol from "@parley/core/Protocol"
import type { Seeded } from "@parley/core/testing/Seeded"
import type { Stream } from "@parley/core/Transport"
import { add, type Attack } from "./Attack.ts"
import { deaf, siege, type Stranger, STRANGERS } from "./Strangers.ts"

const RECORD = Uint8Array.of(1)
const QUERY = Uint8Array.of(2)
/** Messages in one burst of a stranger. */
const BURST = 20

const capability = (random: Seeded, which: number): CapabilityRecord => ({
  name: `flood.c${random.int(1_000_000)}`,
  version: "1.0.0",
  description: `what stranger ${which} says it can do, in words that fill the index: ${random.int(1e9).toString(36)} ${random.int(1e9).toString(36)}`,
  tags: [`tag${random.int(10_000)}`],
  features: [],
  metadata: {}
})

/** Record messages of one stranger, signed before the attack so that it costs the victim more than the attacker. */
const prepare = ({ identity }: Stranger, random: Seeded, which: number): ReadonlyArray<string> => {
  const now = Date.now()
  const make = (seq: number, issuedAt: number) =>
    AgentRecord.make(identity, {
      name: `stranger-${which}`,
      seq,
      issuedAt,
      addresses: [`tcp://127.66.0.${1 + random.int(200)}:${1 + random.int(65_000)}`],
      capabilities: Array.from({ length: AgentRecord.MAX_CAPABILITIES }, () => capability(random, which))
    })
  const newer = Array.from({ length: 12 }, (_, i) => make(now + i, now))
  const future = make(now + 100, now + 10 * AgentRecord.CLOCK_SKEW)
  const past = make(1, now - 2 * AgentRecord.DEFAULT_LIFETIME)
  const forged = newer.map((record) => ({ ...record, name: "somebody-else" }))
  return [...newer, future, past, ...forged].map((record) => CanonicalJson.stringify(record))
}

/** Records without end: new ones, old ones, those of the future, and forged ones. */
export const recordFlood: Attack = {
  what: `${STRANGERS} strangers that tell large records without end: newer, replayed, expired, of the future, forged`,
  run: async (victim, counts, random, over) => {
    const prepared = new Map<Stranger, ReadonlyArray<string>>()
    await siege(victim, counts, over, (connection, stranger, which) => {
      let texts = prepared.get(stranger)
      if (texts === undefined) prepared.set(stranger, (texts = prepare(stranger, random, which)))
      const stream: Stream | undefined = connection.open(Protocol.RECORDS, deaf)
      for (let i = 0; i < BURST; i++) {
        if (stream?.send(RECORD, random.pick(texts), i === BURST - 1) !== true) break
        add(counts, "records")
      }
    })
  }
}

/** Questions without end, that match everything. */
export const queryFlood: Attack = {
  what: `${STRANGERS} strangers that ask without end, across the mesh`,
  run: async (victim, counts, _random, over) => {
    await siege(victim, counts, over, (connection) => {
      for (let i = 0; i < BURST; i++) {
        const stream = connection.open(Protocol.RECORDS, deaf)
        const body = JSON.stringify({ id: randomBytes(8).toString("hex"), hops: 3, ms: 5_000, query: {} })
        if (stream?.send(QUERY, body, true) === undefined) break
        add(counts, "queries")
      }
    })
  }
}

/** Random bytes on streams of every protocol that a node speaks. */
export const babble: Attack = {
  what: `${STRANGERS} strangers that send random bytes on streams of every protocol`,
  run: async (victim, counts, random, over) => {
    await siege(victim, counts, over, (connection) => {
      for (let i = 0; i < BURST; i++) {
        const stream = connection.open(1 + random.int(12), deaf)
        stream?.send(random.bytes(1 + random.int(24)), random.bytes(random.int(4_000)), random.int(2) === 0)
        if (random.int(3) === 0) stream?.reset(0)
        add(counts, "messages")
      }
    })
  }
}
