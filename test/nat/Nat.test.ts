/** Every kind of router of the test networks translates and filters as its name says, for TCP and for UDP. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { execFileSync } from "node:child_process"
import { type Program, startModule } from "../../test-support/Namespace.ts"
import * as Nat from "../../test-support/Nat.ts"
import { skipTest } from "../../test-support/Skip.ts"
import type { News, Order } from "./probe.ts"

const reason = Nat.unavailable()
const probe = new URL("./probe.ts", import.meta.url).pathname
const cone = ["full-cone", "address-restricted", "port-restricted"]

let net: Nat.Net | undefined
let publics: ReadonlyArray<Program> = []
let behind: ReadonlyArray<Program> = []

const order = (program: Program, what: Order): void => program.tell(JSON.stringify(what))
const ready = async (program: Program, what: Order): Promise<void> => {
  order(program, what)
  await program.next<News>((news) => "ready" in news)
}
const heard = (program: Program): Promise<{ heard: string; from: string }> =>
  program.next((news: News & { heard: string; from: string }) => "heard" in news)
const connected = async (program: Program, what: Order & { connect: string }): Promise<string> => {
  order(program, what)
  const news = await program.next<News>(
    (each) =>
      ("connected" in each && each.connected === what.connect) || ("failed" in each && each.failed === what.connect)
  )
  return "seenAs" in news ? news.seenAs : "failed" in news ? news.why : "nothing"
}
const split = (address: string): { host: string; port: number } => ({
  host: address.slice(0, address.lastIndexOf(":")),
  port: Number(address.slice(address.lastIndexOf(":") + 1))
})

beforeAll(async () => {
  if (reason !== undefined) return
  net = await Nat.build({ publicHosts: 2, sites: Nat.types.map((nat) => ({ nat, ipv6: true })) })
  publics = net.publicHosts.map((host) => startModule(host, probe))
  behind = net.sites.map((site) => startModule(site.hosts[0]!, probe))
  for (const program of publics)
    for (const what of [{ udp: 5000 }, { udp: 5001 }, { listen: 6000 }] satisfies ReadonlyArray<Order>)
      await ready(program, what)
})

afterAll(() => {
  for (const program of [...publics, ...behind]) program.kill()
  net?.close()
})

for (const [index, nat] of Nat.types.entries())
  describe(nat, () => {
    const it = skipTest(reason)
    const setting = () => ({ site: net!.sites[index]!, host: behind[index]!, a: publics[0]!, b: publics[1]! })
    const [hostA, hostB] = ["203.0.113.2", "203.0.113.3"]

    it("maps a UDP port", async () => {
      const { a, b, host, site } = setting()
      await ready(host, { udp: 4000 })
      const seen: Array<string> = []
      for (const [program, to, port] of [
        [a, hostA, 5000],
        [a, hostA, 5001],
        [b, hostB, 5000]
      ] as const) {
        order(host, { send: "map", from: 4000, host: to, port })
        seen.push((await heard(program)).from)
      }
      expect(seen.map((address) => split(address).host)).toEqual(seen.map(() => site.address))
      expect(new Set(seen).size).toBe(nat === "symmetric" ? 3 : 1)
      if (nat === "open" || cone.includes(nat)) expect(split(seen[0]!).port).toBe(4000)
    })

    it("filters what comes to a UDP port", async () => {
      const { a, b, host } = setting()
      await ready(host, { udp: 4001 })
      order(host, { send: "open", from: 4001, host: hostA, port: 5000 })
      const outer = split((await heard(a)).from)
      order(b, { send: "other address", from: 5000, ...outer })
      // Once this has come, that has left: the host has not spoken to that address yet.
      order(b, { send: "said", from: 5000, host: hostA, port: 5000 })
      await heard(a)
      order(a, { send: "other port", from: 5001, ...outer })
      // Each program's orders leave in their turn, those of two programs do not: the last word of each is one that gets in.
      order(host, { send: "open", from: 4001, host: hostB, port: 5001 })
      const outerB = split((await heard(b)).from)
      order(b, { send: "end of b", from: 5001, ...outerB })
      order(a, { send: "end of a", from: 5000, ...outer })
      const got = [await heard(host), await heard(host)].map((each) => each.heard)
      while (!(got.includes("end of a") && got.includes("end of b"))) got.push((await heard(host)).heard)
      expect(got.includes("other address")).toBe(nat === "open" || nat === "full-cone")
      expect(got.includes("other port")).toBe(["open", "full-cone", "address-restricted"].includes(nat))
    })

    it("maps a TCP port", async () => {
      const { host, site } = setting()
      const seen = [
        await connected(host, { connect: "a", from: 4100, host: hostA, port: 6000 }),
        await connected(host, { connect: "b", from: 4100, host: hostB, port: 6000 })
      ]
      expect(seen.map((address) => split(address).host)).toEqual(seen.map(() => site.address))
      expect(new Set(seen).size).toBe(nat === "symmetric" ? 2 : 1)
    })

    it("filters what comes to a TCP port", async () => {
      const { a, b, host } = setting()
      const outer = split(await connected(host, { connect: "a", from: 4200, host: hostA, port: 6000 }))
      // A socket that has connected leaves its port free to be listened on.
      await ready(host, { listen: 4200 })
      const [fromB, fromA] = await Promise.all([
        connected(b, { connect: `${nat} b`, ...outer }),
        connected(a, { connect: `${nat} a`, ...outer })
      ])
      expect(fromB === "silence").toBe(nat !== "open" && nat !== "full-cone")
      expect(fromA === "silence").toBe(!["open", "full-cone", "address-restricted"].includes(nat))
    })

    it("lets IPv6 through untranslated, and answers alone", async () => {
      const { b, host, site } = setting()
      const own = await connected(host, { connect: "six", from: 4300, host: "2001:db8::2", port: 6000 })
      expect(split(own).host).toBe(site.addresses6[0]!)
      await ready(host, { listen: 4300 })
      const back = await connected(b, { connect: `${nat} six`, host: site.addresses6[0]!, port: 4300 })
      expect(back === "silence").toBe(nat !== "open")
    })

    it("is cut and heals", async () => {
      const { host, site } = setting()
      site.cut()
      expect(await connected(host, { connect: "cut", host: hostA, port: 6000 })).toBe("silence")
      site.heal()
      expect(split(await connected(host, { connect: "healed", host: hostA, port: 6000 })).host).toBe(site.address)
    })
  })

describe("two routers in a row", () => {
  skipTest(reason)("both translate, and the outer one alone is seen", async () => {
    const chained = await Nat.build({ sites: [{ nat: "full-cone", carrier: "symmetric" }] })
    const host = startModule(chained.sites[0]!.hosts[0]!, probe)
    const seen = startModule(chained.publicHosts[0]!, probe)
    try {
      for (const listen of [6000, 6001]) await ready(seen, { listen })
      const from = { from: 4100, host: "203.0.113.2" }
      const one = split(await connected(host, { connect: "one", ...from, port: 6000 }))
      const two = split(await connected(host, { connect: "two", ...from, port: 6001 }))
      expect([one.host, two.host]).toEqual([chained.sites[0]!.address, "203.0.113.10"])
      expect(one.port === two.port).toBe(false)
      await ready(host, { listen: 4100 })
      expect(await connected(seen, { connect: "back", ...one })).toBe("silence")
    } finally {
      for (const program of [host, seen]) program.kill()
      chained.close()
    }
  })
})

describe("a network", () => {
  skipTest(reason)("goes with all that runs in it", async () => {
    const short = await Nat.build({ sites: [{ nat: "symmetric", hosts: 3 }] })
    const program = startModule(short.sites[0]!.hosts[2]!, probe)
    await ready(program, { udp: 4000 })
    const names = [...short.publicHosts, ...short.sites.flatMap((site) => [site.router, ...site.hosts])].map(
      ({ name }) => name
    )
    short.close()
    short.close()
    await program.end()
    const left = execFileSync("ip", ["netns", "list"], { encoding: "utf8" })
    expect(names.filter((name) => left.includes(name))).toEqual([])
  })

  test("that is not to be had has a reason", () => {
    expect(reason === undefined || reason.length > 20).toBe(true)
  })
})
