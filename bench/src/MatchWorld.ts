/** Agent records as a mesh may have them, by a seed, and the queries that are asked of them. */
import type { AgentRecord } from "@parley/core/AgentRecord"
import type { CapabilityRecord } from "@parley/core/Capability"
import type { NodeId } from "@parley/core/NodeId"
import type { Query } from "@parley/core/Query"
import { fromSeed } from "@parley/core/testing/Seeded"

/** Of capabilities with one name, whether all that they say of themselves differs, or all is the same but for the version. */
export type Shape = "own" | "shared"

/** Different names among a hundred thousand capabilities: each is offered by a hundred agents. */
const NAMES = 1_000
const OFFERS_OF_A_NAME = 100
const VOCABULARY = 4_000
const DESCRIPTION_WORDS = 15
export const QUERY_WORDS = 3

export class World {
  readonly #random = fromSeed(1)
  readonly #names: number

  /** For so many capabilities. */
  constructor(capabilities: number) {
    this.#names = Math.max(1, Math.min(NAMES, Math.round(capabilities / OFFERS_OF_A_NAME)))
  }

  /** The capabilities, as they come out of JSON. */
  capabilities(count: number, shape: Shape): Array<CapabilityRecord> {
    const descriptions = Array.from({ length: this.#names }, () => this.#words(DESCRIPTION_WORDS))
    return Array.from({ length: count }, () => {
      const name = this.#below(this.#names)
      const label = (kind: string, i: number, of: number) =>
        `${kind}${shape === "own" ? this.#below(of) : (name * 7 + i * 31) % of}`
      const capability: CapabilityRecord = {
        name: nameOf(name),
        version: `${1 + this.#below(3)}.${this.#below(5)}.0`,
        description: shape === "own" ? this.#words(DESCRIPTION_WORDS) : descriptions[name]!,
        tags: [label("t", 1, 200), label("t", 2, 200), label("t", 3, 200)],
        features: [label("f", 1, 50), label("f", 2, 50)],
        metadata: { region: `r${this.#below(4)}`, quality: this.#below(100) },
        cost: { usdPerCall: this.#below(10) / 1_000 },
        latencyMs: this.#below(500)
      }
      return JSON.parse(JSON.stringify(capability)) as CapabilityRecord
    })
  }

  /** An exact name, a range of versions and two constraints. */
  exact(): Query {
    return {
      name: nameOf(this.#below(this.#names)),
      version: "^1.2",
      constraints: { region: { eq: "r1" }, quality: { gte: 50 } },
      limit: 5
    }
  }

  /** Plain words. */
  words(): Query & { readonly text: string } {
    return { text: this.#words(QUERY_WORDS), limit: 5 }
  }

  /** Nodes that the asker has tried, and what it trusts them with. */
  tried(records: number, count: number): Array<readonly [NodeId, number]> {
    return Array.from({ length: count }, () => [nodeOf(this.#below(records)), this.#random.next()])
  }

  readonly #below = (limit: number): number => this.#random.int(limit)

  /** Few words are frequent and most are rare, as in prose. */
  #words(count: number): string {
    return Array.from({ length: count }, () => `w${Math.floor(VOCABULARY ** this.#random.next()).toString(36)}q`).join(
      " "
    )
  }
}

const nameOf = (name: number): string => `area${name % 40}.task${name}`

const nodeOf = (i: number): NodeId => `z6Mk${"A".repeat(36)}${String(i).padStart(8, "1")}` as NodeId

/** Agents that offer so many each, as they come out of JSON. Their signatures are none: the matcher does not look at them. */
export const recordsOf = (capabilities: ReadonlyArray<CapabilityRecord>, each: number): Array<AgentRecord> =>
  Array.from({ length: Math.ceil(capabilities.length / each) }, (_, i) => ({
    ...(JSON.parse(
      JSON.stringify({
        v: 1,
        node: nodeOf(i),
        name: `agent ${i}`,
        seq: 1,
        issuedAt: 0,
        expiresAt: 8e15,
        addresses: ["tcp://192.0.2.1:7878"],
        capabilities: [],
        sig: "A".repeat(86)
      })
    ) as AgentRecord),
    capabilities: capabilities.slice(i * each, (i + 1) * each)
  }))
