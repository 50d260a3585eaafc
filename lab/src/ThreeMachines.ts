/**
 * `machines`: three machines behind three kinds of NAT, each with `parley serve --dht HOST:PORT` and nothing else, on Bun and on
 * Deno. Every one finds what the others serve by its name, through the DHT node on the public segment, and calls it.
 */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bars } from "../../bench/src/Charts.ts"
import { spreadOf } from "../../bench/src/Spread.ts"
import { short, table } from "../../bench/src/Table.ts"
import { root, runCommand, type Runtime } from "../../scripts/setup.mjs"
import { type Namespace, type Program, start } from "../../test-support/Namespace.ts"
import * as Nat from "../../test-support/Nat.ts"
import { type Experiment, type Report, row, type Terms } from "./Experiment.ts"

const PORT = 7878
const NATS: ReadonlyArray<Nat.Type> = ["full-cone", "port-restricted", "symmetric"]
const RUNTIMES: ReadonlyArray<Runtime> = ["bun", "deno", "bun"]
/** Longest wait for a program's first line, and for a call. */
const LONGEST_MS = 60_000
/** Calls of a pair where the whole run measures. */
const CALLS = 5

interface Called {
  readonly from: Nat.Type
  readonly to: Nat.Type
  /** From the start of the command to its end; the runtime starts within. */
  readonly ms: number
  readonly answer: string | undefined
  readonly why: string
}

/** The command line of `parley` with a home of its own, in a runtime. */
const parley = (home: string, runtime: Runtime, args: ReadonlyArray<string>): ReadonlyArray<string> => [
  `PARLEY_HOME=${home}`,
  ...runCommand(runtime, join(root, "apps/cli/src/main.ts")),
  ...args
]

const capabilityOf = (nat: Nat.Type): string => `machine.${nat.replaceAll("-", "")}`

const call = (
  at: Namespace,
  home: string,
  runtime: Runtime,
  hub: string,
  from: Nat.Type,
  to: Nat.Type
): Promise<Called> =>
  new Promise((resolve) => {
    const began = performance.now()
    const args = [
      "call",
      capabilityOf(to),
      JSON.stringify({ text: `${from} to ${to}` }),
      "--dht",
      hub,
      "--deadline",
      "30s"
    ]
    execFile(
      "ip",
      ["netns", "exec", at.name, "env", ...parley(home, runtime, args)],
      { timeout: LONGEST_MS },
      (error, stdout, stderr) =>
        resolve({
          from,
          to,
          ms: performance.now() - began,
          answer: error === null ? stdout.trim() : undefined,
          why: stderr.trim().slice(-400)
        })
    )
  })

const machines = async ({ brief, say }: Terms): Promise<ReadonlyArray<Called>> => {
  const home = mkdtempSync(join(tmpdir(), "parley-machines-"))
  const net = await Nat.build({ publicHosts: 1, sites: NATS.map((nat) => ({ nat })) })
  const programs: Array<Program> = []
  const run = async (at: Namespace, name: string, runtime: Runtime, args: ReadonlyArray<string>): Promise<void> => {
    const program = start(at, "env", parley(join(home, name), runtime, [...args, "--json"]))
    programs.push(program)
    await program.next(() => true, LONGEST_MS)
  }
  try {
    const [publicHost] = net.publicHosts
    const hub = `${publicHost!.address}:${PORT}`
    await run(publicHost!, "hub", "bun", ["dht"])
    await Promise.all(
      net.sites.map(({ hosts, nat }, index) =>
        // A program that gives back what it is given.
        run(hosts[0]!, nat, RUNTIMES[index]!, [
          "serve",
          "--capability",
          `${capabilityOf(nat)}@1.0.0`,
          "--exec",
          "cat",
          "--dht",
          hub
        ])
      )
    )
    say("a DHT node and three machines are up")
    const called: Array<Called> = []
    for (let round = 0; round < (brief ? 1 : CALLS); round++) {
      for (const [index, from] of net.sites.entries()) {
        for (const to of net.sites) {
          if (to === from) continue
          const runtime = RUNTIMES[(index + round + 1) % RUNTIMES.length]!
          called.push(await call(from.hosts[0]!, join(home, `${from.nat}-caller`), runtime, hub, from.nat, to.nat))
        }
      }
    }
    return called
  } finally {
    for (const program of programs) program.kill()
    net.close()
    rmSync(home, { recursive: true, force: true })
  }
}

const isRight = ({ answer, from, to }: Called): boolean => answer?.includes(`${from} to ${to}`) === true

const run = async (terms: Terms): Promise<Report> => {
  const called = await machines(terms)
  const { brief, seed } = terms
  const pairs = NATS.flatMap((from) => NATS.filter((to) => to !== from).map((to) => ({ from, to })))
  const of = (pair: { readonly from: string; readonly to: string }) =>
    called.filter(({ from, to }) => from === pair.from && to === pair.to)
  const reached = pairs.filter((pair) => of(pair).every(isRight))
  const times = called.filter(isRight).map(({ ms }) => ms)
  const failed = called.filter((one) => !isRight(one))
  return {
    text: [
      table(
        ["caller behind", "serves behind", "calls", "answered", "median ms", "longest ms"],
        pairs.map((pair) => {
          const ms = spreadOf(of(pair).map((one) => one.ms))
          return [
            pair.from,
            pair.to,
            String(of(pair).length),
            String(of(pair).filter(isRight).length),
            short(ms.median),
            short(ms.max)
          ]
        })
      ),
      "Each call is a `parley call` of its own: the runtime starts, joins the DHT, finds who serves it, connects, calls and leaves.",
      ...failed.slice(0, 3).map(({ from, to, why }) => `${from} to ${to}: ${why}`)
    ].join("\n"),
    rows: [
      row(
        "machines-pairs",
        "pairs of machines behind different NATs that find each other by capability through the DHT and call",
        { atLeast: pairs.length },
        "pairs",
        reached.length,
        called.length,
        seed
      ),
      row(
        "machines-call",
        "longest of those calls, from the command's start to its end",
        { atMost: brief ? 40_000 : 10_000 },
        "ms",
        spreadOf(times).max,
        times.length,
        seed
      )
    ],
    data: { called },
    charts: [
      bars({
        name: "machines",
        title: "Three machines behind three kinds of NAT",
        note: "ms from `parley call` to its end, found by capability through the DHT; shorter is better",
        unit: "ms",
        write: short,
        bars: pairs.map((pair) => ({
          label: `${pair.from} to ${pair.to}`,
          value: spreadOf(of(pair).map((one) => one.ms)),
          ours: true
        }))
      })
    ]
  }
}

/** Three machines that find and call each other. */
export const threeMachines: Experiment = {
  what: "three machines behind different NATs find each other by capability through the DHT, and call each other",
  unavailable: Nat.unavailable(),
  run
}
