/**
 * What is shown: three hospitals count together; whoever has no key, or another one, gets nothing and is told why; and who
 * listens on the wire hears noise.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as NetworkKey from "@parley/agent/NetworkKey"
import * as NodeId from "@parley/core/NodeId"
import * as Cohort from "./Cohort.ts"
import { Counted, Learned, Ready, Refusals, type Role } from "./Roles.ts"
import * as Processes from "./Processes.ts"
import * as Wiretap from "./Wiretap.ts"

/** The first bytes of every handshake, in the clear: that the wiretap has them shows that it hears. */
const GREETING = "PRLY"
/** Most bytes that a member may send in one attempt to somebody without the key: a refusal with its code. */
export const MAX_REFUSAL_BYTES = 64

const question: Cohort.Question = { diagnosis: "I21.9", minAge: 65 }
const names = ["hospital-north", "hospital-south", "hospital-west"] as const

/** Somebody outside: what it learned, and what the member that it dialled has sent it. */
export interface Outside extends Learned {
  readonly name: string
  readonly expected: string
  readonly attempts: number
  readonly bytesSentToIt: number
}

/** What happened, and whether it was what should have happened. */
export interface Report {
  readonly totals: ReadonlyArray<number>
  readonly truth: number
  readonly addresses: ReadonlyArray<string>
  readonly outsiders: ReadonlyArray<Outside>
  /** What the first member noted of those it refused. */
  readonly refusals: ReadonlyArray<string>
  readonly wire: {
    readonly tapped: boolean
    readonly bytes: number
    readonly greeting: boolean
    readonly inTheClear: ReadonlyArray<string>
  }
  /** Empty when all is well. */
  readonly failed: ReadonlyArray<string>
}

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "parley-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** What must not be readable on the wire, by name. */
const secretsOf = (members: ReadonlyArray<Ready>): ReadonlyArray<readonly [string, string | Uint8Array]> => [
  ["the capability's name", Cohort.Count.name],
  ["the capability's description", "Counts the patients"],
  ["the question", '"diagnosis"'],
  ["the answer", '"count"'],
  ...members.flatMap(({ record }): ReadonlyArray<readonly [string, string | Uint8Array]> => [
    [`the name ${record.name}`, record.name],
    [`the NodeId of ${record.name}`, record.node],
    [`the public key of ${record.name}`, NodeId.toPublicKey(record.node)],
    [`the record of ${record.name}`, record.sig]
  ])
]

const sum = (counts: ReadonlyArray<number | null>): number =>
  counts.reduce<number>((total, count) => total + (count ?? 0), 0)

/** Runs it all. `open`: without a network key, which must fail. */
export const run = (options: {
  readonly open: boolean
  readonly tell: (line: string) => void
}): Effect.Effect<Report, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const { open, tell } = options
    const path = yield* folder
    const keyFile = join(path, "network.key")
    const otherKeyFile = join(path, "other.key")
    yield* NetworkKey.create(keyFile)
    yield* NetworkKey.create(otherKeyFile)
    const role = (as: Role["as"], name: string, peers: ReadonlyArray<string>, networkKey?: string): Role => ({
      as,
      name,
      peers,
      ...(networkKey === undefined ? {} : { networkKey })
    })
    const member = Effect.fnUntraced(function* (name: string, peers: ReadonlyArray<string>) {
      const process = yield* Processes.start(role("member", name, peers, open ? undefined : keyFile))
      return { process, ready: yield* process.next(Ready) }
    })

    // The first member is reached through a tapped line; the others know nobody but it.
    const first = yield* member(names[0], [])
    const home = first.ready.addresses[0] ?? ""
    const tap = yield* Wiretap.make(home)
    const rest = yield* Effect.forEach(names.slice(1), (name) => member(name, [tap.address]), { concurrency: 2 })
    const members = [first, ...rest]
    tell(`three hospitals, ${open ? "WITHOUT a network key" : "one network key"}, on loopback only:`)
    for (const { ready } of members) tell(`  ${ready.record.name.padEnd(15)} ${ready.addresses.join(", ")}`)

    tell(`each asks the others: patients with ${question.diagnosis}, ${question.minAge} or older?`)
    const counted: Array<Counted> = []
    for (const { process, ready } of members) {
      const of = members.map((other) => other.ready.record.node).filter((node) => node !== ready.record.node)
      yield* process.tell({ _tag: "Ask", question, of })
      const answer = yield* process.next(Counted)
      counted.push(answer)
      const parts = [answer.own, ...answer.others.map(({ count }) => count)].map((count) => count ?? "fewer than 5")
      tell(`  ${ready.record.name.padEnd(15)} ${parts.join(" + ")} = ${answer.total}`)
    }
    const truth = sum(names.map((name) => Cohort.count(Cohort.patientsOf(name), question)))

    const outsiders: Array<Outside> = []
    for (const [name, key, expected] of [
      ["a stranger without a key", undefined, "NetworkKeyMissing"],
      ["a stranger with another key", otherKeyFile, "NetworkKeyMismatch"]
    ] as const) {
      const line = yield* Wiretap.make(home)
      const others = rest.map(({ ready }) => ready.addresses[0] ?? "")
      const learned = yield* Effect.scoped(
        Effect.flatMap(Processes.start(role("outsider", name, [line.address, ...others], key)), (process) =>
          process.next(Learned)
        )
      )
      const { back, connections: attempts } = line.heard()
      const bytesSentToIt = back.length
      outsiders.push({ ...learned, name, expected, attempts, bytesSentToIt })
      tell(`${name} tries all three:`)
      for (const { detail } of learned.tries) tell(`  ${detail}`)
      tell(
        `  it learned ${learned.records} records and ${learned.matches.length} capabilities; its call: ${learned.call}; ` +
          `${names[0]} sent it ${bytesSentToIt} bytes in ${attempts} ${attempts === 1 ? "attempt" : "attempts"}`
      )
    }
    yield* first.process.tell({ _tag: "Refusals", atLeast: open ? 0 : outsiders.length })
    const { codes } = yield* first.process.next(Refusals)
    const refusals = [...new Set(codes)].sort()
    tell(`${names[0]} noted ${codes.length} refused attempts: ${refusals.join(", ") || "none"}`)

    const { back, there } = tap.heard()
    const inTheClear = secretsOf(members.map(({ ready }) => ready)).flatMap(([what, secret]) =>
      there.includes(secret) || back.includes(secret) ? [what] : []
    )
    // The others' calls of the first member, and its answers, went over this line, and not beside it.
    const tapped = counted.slice(1).every(({ connected }) => connected.includes(tap.address))
    const wire = {
      tapped,
      bytes: there.length + back.length,
      greeting: there.includes(GREETING) && back.includes(GREETING),
      inTheClear
    }
    tell(`the wire to ${names[0]} carried ${wire.bytes} bytes; readable in them: ${inTheClear.join(", ") || "nothing"}`)

    const facts = {
      totals: counted.map(({ total }) => total),
      truth,
      addresses: [...members.flatMap(({ ready }) => ready.addresses), ...counted.flatMap(({ connected }) => connected)],
      outsiders,
      refusals,
      wire
    }
    return { ...facts, failed: problems(facts) }
  })

const problems = (facts: Omit<Report, "failed">): ReadonlyArray<string> => {
  const { addresses, outsiders, refusals, totals, truth, wire } = facts
  const expected: ReadonlyArray<readonly [boolean, string]> = [
    [totals.every((total) => total === truth), `the members count ${totals.join(", ")}, and the truth is ${truth}`],
    [
      addresses.length > 0 && addresses.every((address) => address.startsWith("tcp://127.0.0.1:")),
      `not every address is on loopback: ${addresses.join(", ")}`
    ],
    ...outsiders.flatMap((outside): ReadonlyArray<readonly [boolean, string]> => [
      [
        outside.tries.length === 3 && outside.tries.every(({ code }) => code === outside.expected),
        `${outside.name} was told ${outside.tries.map(({ code }) => code).join(", ")} instead of ${outside.expected}`
      ],
      [outside.records === 0, `${outside.name} learned ${outside.records} records`],
      [outside.matches.length === 0, `${outside.name} found ${outside.matches.join(", ")}`],
      [outside.call === "NoPeer", `${outside.name} called, and got ${outside.call}`],
      [
        outside.attempts > 0 && outside.bytesSentToIt <= MAX_REFUSAL_BYTES * outside.attempts,
        `${outside.name} was sent ${outside.bytesSentToIt} bytes in ${outside.attempts} attempts`
      ]
    ]),
    ...outsiders.map((outside): readonly [boolean, string] => [
      refusals.includes(outside.expected),
      `the members did not note ${outside.expected}`
    ]),
    [wire.tapped, "the members do not talk over the tapped line"],
    [wire.greeting, "the wiretap has not heard a handshake, so it shows nothing"],
    [wire.inTheClear.length === 0, `readable on the wire: ${wire.inTheClear.join(", ")}`]
  ]
  return expected.flatMap(([holds, problem]) => (holds ? [] : [problem]))
}
