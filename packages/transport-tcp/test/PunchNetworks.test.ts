/**
 * Verifies: real nodes behind real routers get a direct connection over IPv6 through firewalls that let in answers alone, also where
 * IPv4 has no way; and over IPv4 through two routers in a row, a home's and its provider's.
 */
import { afterAll, beforeAll, describe, expect } from "bun:test"
import { type Program, startModule } from "../../../test-support/Namespace.ts"
import * as Nat from "../../../test-support/Nat.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import type { News, Order } from "../../../lab/src/nat/node.ts"

const file = new URL("../../../lab/src/nat/node.ts", import.meta.url).pathname
/** A second attempt comes after 5 to 7.5 s, where a busy machine was late for the first. */
const PATIENCE_MS = 30_000
const TRACKER = "tcp://203.0.113.2:7878"

/** IPv4 has no way between the first two, nor between `mobile` and `home`. */
const plans = {
  six: { nat: "symmetric", ipv6: true },
  sixToo: { nat: "port-restricted", ipv6: true },
  home: { nat: "port-restricted" },
  chained: { nat: "port-restricted", carrier: "full-cone" },
  chainedToo: { nat: "full-cone", carrier: "port-restricted" },
  wide: { nat: "full-cone", carrier: "full-cone" },
  mobile: { nat: "port-restricted", carrier: "symmetric" }
} as const satisfies { readonly [name: string]: Nat.SitePlan }
type Name = keyof typeof plans
const names = Object.keys(plans) as ReadonlyArray<Name>

interface Node {
  readonly program: Program
  readonly id: string
  readonly relay: string
}
type Connected = Extract<News, { connected: string }>

let net: Nat.Net | undefined
let programs: ReadonlyArray<Program> = []
const nodes = new Map<Name, Node>()

const order = ({ program }: Node, what: Order): void => program.tell(JSON.stringify(what))
const isRelay = (address: string): boolean => address.startsWith("relay:")

const ready = async (program: Program): Promise<Node> => {
  const { node } = await program.next<News & { node: string }>((news) => "node" in news)
  const { addresses } = await program.next<News & { addresses: ReadonlyArray<string> }>(
    (news) => "addresses" in news && news.addresses.some(isRelay)
  )
  return { program, id: node, relay: addresses.find(isRelay)! }
}

/** Connects through the relay, and gives both ends' direct connections. */
const meet = async (from: Name, to: Name): Promise<ReadonlyArray<Connected>> => {
  const [a, b] = [nodes.get(from)!, nodes.get(to)!]
  const direct = (node: Node, peer: Node): Promise<Connected> =>
    node.program.next<Connected>(
      (news: News) => "connected" in news && news.connected === peer.id && !news.relayed,
      PATIENCE_MS
    )
  order(a, { connect: b.relay, node: b.id })
  const found = await Promise.all([direct(a, b), direct(b, a)])
  order(a, { echo: b.id })
  await a.program.next<News>((news) => "echoed" in news && news.echoed === b.id && !news.relayed)
  order(a, { drop: b.id })
  await b.program.next<News>((news) => "gone" in news && news.gone === a.id)
  return found
}

beforeAll(async () => {
  if (Nat.unavailable() !== undefined) return
  net = await Nat.build({ sites: Object.values(plans) })
  const tracker = startModule(net.publicHosts[0]!, file, ["1", "tracker"])
  programs = [tracker]
  await tracker.next<News>((news) => "node" in news)
  const started = net.sites.map((site, index) => startModule(site.hosts[0]!, file, [String(index + 2), TRACKER]))
  programs = [tracker, ...started]
  for (const [index, program] of started.entries()) nodes.set(names[index]!, await ready(program))
}, PATIENCE_MS)

afterAll(() => {
  for (const program of programs) program.kill()
  net?.close()
})

describe("a direct connection", () => {
  const it = skipTest(Nat.unavailable())

  it(
    "comes about over IPv6 through two firewalls, whoever dialled, where IPv4 has no way",
    async () => {
      const at = (name: Name): string => `tcp://[${net!.sites[names.indexOf(name)]!.addresses6[0]!}]`
      for (const [from, to] of [
        ["six", "sixToo"],
        ["sixToo", "six"]
      ] as const) {
        const [near, far] = await meet(from, to)
        expect([near!.address.startsWith(at(to)), far!.address.startsWith(at(from))]).toEqual([true, true])
      }
    },
    PATIENCE_MS
  )

  it(
    "comes about over IPv4 where one end has no IPv6",
    async () => {
      const [near] = await meet("sixToo", "home")
      expect(near!.address).toContain(net!.sites[names.indexOf("home")]!.address)
    },
    PATIENCE_MS
  )

  it(
    "comes about through two routers in a row, at one end or at both",
    async () => {
      for (const [from, to] of [
        ["chained", "chainedToo"],
        ["chainedToo", "chained"],
        ["home", "chained"],
        ["mobile", "wide"],
        ["wide", "mobile"]
      ] as const) {
        const [near] = await meet(from, to)
        expect(near!.address).toContain(net!.sites[names.indexOf(to)]!.address)
      }
    },
    PATIENCE_MS
  )
})
