/**
 * What the processes of this app are told, and what they say: lines of JSON, checked at both ends.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { AgentRecord } from "@parley/core/AgentRecord"
import { NodeId } from "@parley/core/NodeId"
import { Question } from "./Cohort.ts"

/** What a process is; it travels as one argument. */
export const Role = Schema.Struct({
  as: Schema.Literals(["member", "outsider"]),
  name: Schema.String,
  /** Addresses that it is told to begin with. */
  peers: Schema.Array(Schema.String),
  /** The path of the network key file; none for one who has no key. */
  networkKey: Schema.optionalKey(Schema.String),
  /** The path of the network's folder, for a member of a network with a root. */
  network: Schema.optionalKey(Schema.String),
  /** On a network of machines, and not on loopback: every way to be found is used. */
  lan: Schema.optionalKey(
    Schema.Struct({
      /** Address to listen on. */
      host: Schema.String,
      trackers: Schema.Array(Schema.String),
      /** Nodes of the network's DHT: `host:port`. */
      dht: Schema.Array(Schema.String),
      /** `open` is for the control: the same with the mode off. */
      perimeter: Schema.Literals(["closed", "open"])
    })
  )
})
/** What a process is. */
export type Role = typeof Role.Type

/** A member's first line: it serves. */
export const Ready = Schema.Struct({ record: AgentRecord, addresses: Schema.Array(Schema.String) })
/** A member's first line. */
export type Ready = typeof Ready.Type

/** What a member is asked to do. */
export const Command = Schema.Union([
  Schema.TaggedStruct("Ask", { question: Question, of: Schema.Array(NodeId) }),
  Schema.TaggedStruct("Refusals", { atLeast: Schema.Int })
])
/** What a member is asked to do. */
export type Command = typeof Command.Type

/** What the others told a member, and what it counts itself. */
export const Counted = Schema.Struct({
  own: Schema.NullOr(Schema.Int),
  others: Schema.Array(Schema.Struct({ node: NodeId, count: Schema.NullOr(Schema.Int) })),
  total: Schema.Int,
  /** Addresses of the peers it is connected to. */
  connected: Schema.Array(Schema.String)
})
/** What the others told a member. */
export type Counted = typeof Counted.Type

/** Attempts to connect that a member has refused: the code of each. */
export const Refusals = Schema.Struct({ codes: Schema.Array(Schema.String) })

/** What somebody outside has learned. */
export const Learned = Schema.Struct({
  tries: Schema.Array(Schema.Struct({ address: Schema.String, code: Schema.String, detail: Schema.String })),
  /** Records of other nodes that it holds. */
  records: Schema.Int,
  /** Capabilities that a search for anything gave. */
  matches: Schema.Array(Schema.String),
  /** How its call of `cohort.count` ended: `answered`, or the error. */
  call: Schema.String
})
/** What somebody outside has learned. */
export type Learned = typeof Learned.Type

/** A value as one line. */
export const toLine = <A>(schema: Schema.Codec<A, unknown>, value: A): string =>
  `${JSON.stringify(Schema.encodeSync(schema)(value))}\n`

/** Says a line on standard output. */
export const say = <A>(schema: Schema.Codec<A, unknown>, value: A): Effect.Effect<void> =>
  Effect.sync(() => void process.stdout.write(toLine(schema, value)))
