/**
 * The private mesh on a network of machines, with every way to be found switched on (addresses, mDNS, tracker, DHT, gossip), and an
 * intruder on the same hub. Members are the processes of `apps/private-mesh`, each in a namespace, on Bun and Deno in turn.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as NetworkFolder from "@parley/agent/NetworkFolder"
import * as NodeId from "@parley/core/NodeId"
import { command, repository, type Runtime } from "../../../test-support/Runtime.ts"
import { type Namespace, type Program, start } from "../../../test-support/Namespace.ts"
import * as PacketCounters from "../../../test-support/PacketCounters.ts"
import * as Cohort from "../../../apps/private-mesh/src/Cohort.ts"
import * as Capture from "./Capture.ts"
import * as Lan from "./Lan.ts"

/** What is run. */
export interface Terms {
  /** A network with a root, and the perimeter closed. False is the control: the same nodes in no network. */
  readonly closed: boolean
  /** How long the intruder attacks, in seconds; 0 for an intruder that only listens. */
  readonly attackSeconds: number
  readonly runtimes: ReadonlyArray<Runtime>
  readonly say: (text: string) => void
}

/** What came of it. */
export interface Findings {
  /** What each member counted, and what is true, in peace. */
  readonly totals: ReadonlyArray<number>
  readonly truth: number
  /** Packets of all machines of the mesh, from before their start until after their end. */
  readonly inside: number
  readonly outside: number
  /** Questions that members asked each other while the intruder attacked, and those that were answered by all. */
  readonly asked: number
  readonly served: number
  /** A member that started under attack found all others. */
  readonly newcomerServed: boolean
  /** What came of the questions that were not, and of a newcomer that did not. */
  readonly problems: ReadonlyArray<string>
  readonly frames: number
  readonly bytes: number
  readonly dropped: number
  /** Secrets by name that stand in what the intruder saw, and bytes of them. */
  readonly seen: ReadonlyArray<string>
  readonly bytesSeen: number
  readonly searched: number
  /** What the intruder sent, by kind, and what it was answered. */
  readonly attack: { readonly [kind: string]: number }
}

const NETWORK = "ward-seven-north"
const names = ["hospital-north", "hospital-south", "hospital-west"] as const
const NEWCOMER = "hospital-east"
const question: Cohort.Question = { diagnosis: "I21.9", minAge: 65 }
const PORT = 7878
/** Where the mesh must not go: a peer, a tracker and a name that would have to be looked up. */
const lures = {
  peers: [`tcp://${Lan.OUTSIDE}:7878`, "tcp://mesh.example.net:7878"],
  trackers: [`tcp://${Lan.OUTSIDE}:7979`]
}
const memberMain = join(repository, "apps/private-mesh/src/main.ts")
const cliMain = join(repository, "apps/cli/src/main.ts")
const intruderMain = join(repository, "lab/src/airgap/intruder.py")

interface Ready {
  readonly record: { readonly node: NodeId.NodeId; readonly name: string; readonly sig: string }
}
interface Counted {
  readonly total: number
}

const run = Effect.runPromise

/** The folders of networks of a root and so many members. */
const makeNetwork = async (home: string, members: number): Promise<ReadonlyArray<string>> => {
  const root = join(home, "root", "networks")
  await run(NetworkFolder.init(root, NETWORK))
  const folders: Array<string> = []
  for (let at = 0; at < members; at++) {
    const networks = join(home, `member-${at}`, "networks")
    const { request } = await run(NetworkFolder.ask(networks))
    const { invitation } = await run(NetworkFolder.invite(join(root, NETWORK), request))
    folders.push((await run(NetworkFolder.accept(networks, invitation))).folder)
  }
  return folders
}

const secretsOf = async (
  members: ReadonlyArray<Ready>,
  folder: string | undefined
): Promise<ReadonlyArray<readonly [string, string | Uint8Array]>> => [
  ["the capability's name", Cohort.Count.name],
  ["the capability's description", "Counts the patients"],
  ["the question", '"diagnosis"'],
  ["what members are called", "hospital"],
  ["the network's name", NETWORK],
  ...members.flatMap(({ record }): ReadonlyArray<readonly [string, string | Uint8Array]> => [
    [`the NodeId of ${record.name}`, record.node],
    [`the public key of ${record.name}`, NodeId.toPublicKey(record.node)],
    [`the fingerprint of ${record.name}`, NodeId.fingerprint(record.node).replaceAll(":", "").slice(0, 16)],
    [`the record of ${record.name}`, record.sig]
  ]),
  ...(folder === undefined
    ? []
    : await run(
        Effect.map(NetworkFolder.open(folder, undefined), ({ key, members: known }) => [
          ["the network key", key] as const,
          ["the network key, as hex", Buffer.from(key).toString("hex")] as const,
          ["a member certificate", known!.certificate.subarray(17)] as const,
          ["the root's key", NodeId.toPublicKey(known!.of.root)] as const
        ])
      ))
]

/** Runs it; whatever it started has ended when this returns. */
export const play = async ({ attackSeconds, closed, runtimes, say }: Terms): Promise<Findings> => {
  const home = mkdtempSync(join(tmpdir(), "parley-airgap-"))
  const lan = await Lan.build(6)
  const programs: Array<Program> = []
  const [first, second, third, hub, fourth, outsider] = lan.hosts as [
    Namespace,
    Namespace,
    Namespace,
    Namespace,
    Namespace,
    Namespace
  ]
  const own = (program: Program): Program => {
    programs.push(program)
    return program
  }
  try {
    const folders = closed ? await makeNetwork(home, 5) : []
    const mesh = [first, second, third, hub, fourth]
    for (const namespace of mesh) PacketCounters.install(namespace)

    const capture = async (file: string) => {
      const at = own(start(outsider, "python3", [intruderMain, "capture", file]))
      await at.next<{ event: string }>(({ event }) => event === "capturing")
      return async () => {
        at.tell("end")
        const { dropped } = await at.next<{ event: string; dropped: number }>(({ event }) => event === "captured")
        return { ...Capture.read(file), dropped }
      }
    }
    const endPeace = await capture(join(home, "peace"))

    const [runtimeOfHub = "bun"] = runtimes
    const [program, ...args] = command(cliMain, runtimeOfHub)
    const serving = [
      ...["dht", "--host", hub.address, "--port", String(PORT), "--json", "--identity", join(home, "hub.json")]
    ]
    const hubArgs = closed
      ? ["dht", "--network", NETWORK, "--host", hub.address, "--port", String(PORT), "--json"]
      : serving
    // Ends when its input does, as the members do.
    const untilEnd = 'PARLEY_HOME="$0" "$@" & pid=$!; cat > /dev/null; kill -TERM $pid; wait $pid'
    const homeOfHub = join(home, closed ? "member-3" : "hub")
    const tracker = own(start(hub, "sh", ["-c", untilEnd, homeOfHub, program, ...args, ...hubArgs]))
    const { udp } = await tracker.next<{ node?: string; udp: number }>(({ node }) => node !== undefined, 30_000)

    const member = async (at: Namespace, index: number, name: string, peers: ReadonlyArray<string>) => {
      const role = {
        as: "member",
        name,
        peers: [...peers, ...lures.peers],
        ...(closed ? { network: folders[index] } : {}),
        lan: {
          host: at.address,
          trackers: [`tcp://${hub.address}:${PORT}`, ...lures.trackers],
          dht: [`${hub.address}:${udp}`],
          perimeter: closed ? "closed" : "open"
        }
      }
      const [runtime, ...rest] = command(memberMain, runtimes[index % runtimes.length])
      const process = own(start(at, runtime, [...rest, "--role", JSON.stringify(role)]))
      const ready = await process.next<Ready>((line) => line.record !== undefined, 30_000)
      return { process, ready }
    }
    const all = await Promise.all([
      member(first, 0, names[0], []),
      // The second finds the others by multicast, tracker or DHT; the third is given an address besides.
      member(second, 1, names[1], []),
      member(third, 2, names[2], [])
    ])
    say(`three members on ${runtimes.join(" and ")}, a tracker with a DHT, and an intruder on one hub`)

    const ask = async (
      { process, ready }: (typeof all)[number],
      others: ReadonlyArray<(typeof all)[number]>
    ): Promise<number> => {
      const of = others.map((other) => other.ready.record.node).filter((node) => node !== ready.record.node)
      process.tell(JSON.stringify({ _tag: "Ask", question, of }))
      return (await process.next<Counted>((line) => line.total !== undefined, 30_000)).total
    }
    const sumOf = (who: ReadonlyArray<string>): number =>
      who.reduce((sum, name) => sum + (Cohort.count(Cohort.patientsOf(name), question) ?? 0), 0)
    const truth = sumOf(names)
    const totals: Array<number> = []
    for (const one of all) totals.push(await ask(one, all))
    say(`in peace they count ${totals.join(", ")}; the truth is ${truth}`)
    const peace = await endPeace()

    const addresses = [first, second, third].map(({ address }) => address)
    const ports = new Map<string, number>()
    for (const { to } of peace.flows) {
      const [ip, port] = to.split(":")
      if (ip !== undefined && addresses.includes(ip) && Number(port) < 65_536 && !ports.has(ip))
        ports.set(ip, Number(port))
    }
    let [asked, served, newcomerServed] = [0, 0, true]
    const problems: Array<string> = []
    let attack: { readonly [kind: string]: number } = {}
    const captures = [peace]
    if (attackSeconds > 0) {
      const endWar = await capture(join(home, "war"))
      const targets = [...ports, [hub.address, PORT] as const]
      const intruder = own(start(outsider, "python3", [intruderMain, "attack", String(attackSeconds)]))
      const firstMessages = Capture.openings(
        peace,
        targets.map(([ip, port]) => `${ip}:${port}`)
      ).slice(0, 50)
      intruder.tell(JSON.stringify({ hosts: targets, frames: join(home, "peace"), firstMessages }))
      await intruder.next<{ event: string }>(({ event }) => event === "attacking")
      const until = performance.now() + attackSeconds * 1_000
      // The newcomer counts as well, once it is known.
      const withNewcomer = sumOf([...names, NEWCOMER])
      /** Whether somebody counts right; else it is noted what came instead. */
      const counts = async (
        asking: Promise<(typeof all)[number]>,
        others: ReadonlyArray<(typeof all)[number]>,
        right: ReadonlyArray<number>
      ): Promise<boolean> => {
        try {
          const one = await asking
          const total = await ask(one, [...others, one])
          if (right.includes(total)) return true
          problems.push(`${one.ready.record.name} counted ${total}, not ${right.join(" or ")}`)
        } catch (error) {
          problems.push(String(error))
        }
        return false
      }
      const joining = member(fourth, 4, NEWCOMER, [])
      // What it fails with is noted when it is asked.
      joining.catch(() => undefined)
      while (performance.now() < until) {
        for (const one of all) {
          asked++
          if (await counts(Promise.resolve(one), all, [truth, withNewcomer])) served++
        }
      }
      newcomerServed = await counts(joining, all, [withNewcomer])
      const { event: _event, ...sent } = await intruder.next<{ event: string; [kind: string]: number | string }>(
        ({ event }) => event === "attacked",
        30_000
      )
      attack = sent as { readonly [kind: string]: number }
      captures.push(await endWar())
      say(`under attack ${served} of ${asked} questions were answered by all`)
    }

    const secrets = await secretsOf(
      all.map(({ ready }) => ready),
      folders[0]
    )
    await Promise.all(programs.map((one) => one.end()))
    const counted = mesh.map((namespace) => PacketCounters.read(namespace))
    const hits = secrets.map(([what, secret]) => ({
      what,
      bytes: secret.length * captures.reduce((sum, one) => sum + Capture.count(one, secret), 0)
    }))
    const sum = (of: (one: (typeof captures)[number]) => number): number =>
      captures.reduce((all, one) => all + of(one), 0)
    return {
      totals,
      truth,
      inside: counted.reduce((all, { inside }) => all + inside, 0),
      outside: counted.reduce((all, { outside }) => all + outside, 0),
      asked,
      served,
      newcomerServed,
      problems,
      frames: sum(({ frames }) => frames.length),
      bytes: sum(({ frames }) => frames.reduce((all, { length }) => all + length, 0)),
      dropped: sum(({ dropped }) => dropped),
      seen: hits.flatMap(({ bytes, what }) => (bytes > 0 ? [what] : [])),
      bytesSeen: hits.reduce((all, { bytes }) => all + bytes, 0),
      searched: secrets.length,
      attack
    }
  } finally {
    for (const one of programs) one.kill()
    lan.close()
    rmSync(home, { recursive: true, force: true })
  }
}
