/**
 * Verifies: a node behind a real router is reached from outside at the address that it publishes, by NAT-PMP and by UPnP, and the mapping
 * goes with the node; where there is no such router, or it may not be asked, the node says so and goes on.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { execFileSync } from "node:child_process"
import { isPublic } from "@parley/transport-tcp/PortMapping"
import * as Miniupnpd from "../../../test-support/Miniupnpd.ts"
import { type Program, startModule } from "../../../test-support/Namespace.ts"
import * as Nat from "../../../test-support/Nat.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import { until } from "../../../test-support/Until.ts"
import { defaultRoutes } from "../src/internal/Gateway.ts"
import { locationIn } from "../src/internal/Upnp.ts"

const noNat = Nat.unavailable()
const noRouter = noNat ?? Miniupnpd.unavailable()
const node = new URL("./port-mapping-node.ts", import.meta.url).pathname
const router = new URL("./port-mapping-router.ts", import.meta.url).pathname
const published = `tcp://${Miniupnpd.ADDRESS}:7878`
const inner = "tcp://192.168.1.2:7878"

let net: Nat.Net | undefined
const site = (): Nat.Site => net!.sites[0]!

interface Line {
  readonly addresses?: ReadonlyArray<string>
  readonly answer?: string
  readonly direct?: ReadonlyArray<string>
  readonly failed?: string
  readonly log?: string
  readonly node?: string
  readonly peer?: string
}

/** Calls from outside. */
const call = async (): Promise<Line> => {
  const outside = startModule(net!.publicHosts[0]!, node, ["call", published])
  try {
    return await outside.next<Line>((line) => line.answer !== undefined || line.failed !== undefined)
  } finally {
    outside.kill()
  }
}

/** Runs a node behind the router. */
const behind = async (mode: string, body: (program: Program) => Promise<void>): Promise<void> => {
  const program = startModule(site().hosts[0]!, node, [mode])
  try {
    await body(program)
  } finally {
    program.kill()
  }
}

beforeAll(async () => {
  if (noNat !== undefined) return
  net = await Nat.build({ publicHosts: 1, sites: [{ nat: "port-restricted" }] })
  // What the router calls its outer address leads to it.
  const host = net.publicHosts[0]!.name
  execFileSync("ip", ["-n", host, "route", "add", `${Miniupnpd.ADDRESS}/32`, "via", site().address])
})

afterAll(() => net?.close())

describe("a node behind a router that maps ports", () => {
  for (const [protocol, speaks] of [
    ["NAT-PMP", { natPmp: true, upnp: false }],
    ["UPnP", { natPmp: false, upnp: true }]
  ] as const)
    skipTest(noRouter)(
      `is reached from outside by ${protocol}, until it stops`,
      async () => {
        const daemon = await Miniupnpd.start(site(), speaks)
        try {
          await behind("serve", async (program) => {
            const { node: peer } = await program.next<Line>((line) => line.node !== undefined)
            const { addresses } = await program.next<Line>((line) => line.addresses !== undefined, 20_000)
            expect(addresses).toEqual([inner, published])
            const { log } = await program.next<Line>((line) => line.log !== undefined)
            expect(log).toContain(`(${protocol})`)
            expect(daemon.mappings()).toEqual(["7878 to 192.168.1.2:7878"])
            const { answer, peer: answered } = await call()
            expect([answer, answered]).toEqual(["HELLO", peer])
            expect(await program.end()).toBe(0)
            expect(daemon.mappings()).toEqual([])
          })
        } finally {
          daemon.stop()
        }
      },
      60_000
    )

  skipTest(noRouter)(
    "asks a router that has forgotten again when its addresses change",
    async () => {
      let daemon = await Miniupnpd.start(site(), { natPmp: true, upnp: false })
      const link = (...words: ReadonlyArray<string>): void =>
        void execFileSync("ip", ["-n", site().hosts[0]!.name, "addr", ...words, "192.168.1.77/24", "dev", "eth0"])
      try {
        await behind("serve", async (program) => {
          await program.next<Line>((line) => line.addresses?.includes(published) === true)
          daemon.stop()
          daemon = await Miniupnpd.start(site(), { natPmp: true, upnp: false })
          expect(daemon.mappings()).toEqual([])
          link("add")
          await program.next<Line>((line) => line.addresses?.includes("tcp://192.168.1.77:7878") === true)
          await until("it has asked the new router", () => daemon.mappings().length > 0)
          expect(daemon.mappings()).toEqual(["7878 to 192.168.1.2:7878"])
          expect(await program.end()).toBe(0)
        })
      } finally {
        daemon.stop()
        try {
          link("del")
        } catch {
          // It never got that far.
        }
      }
    },
    60_000
  )

  skipTest(noRouter)(
    "asks it for nothing where the perimeter is closed",
    async () => {
      const daemon = await Miniupnpd.start(site(), { natPmp: true, upnp: true })
      try {
        await behind("closed", async (program) => {
          const { log } = await program.next<Line>((line) => line.log !== undefined)
          expect(log).toContain("keeps to private networks")
          await program.next<Line>((line) => line.node !== undefined)
          expect(daemon.mappings()).toEqual([])
        })
      } finally {
        daemon.stop()
      }
    },
    30_000
  )
})

describe("a node that gets no port", () => {
  skipTest(noNat)(
    "says which ways it tried, and goes on",
    () =>
      behind("serve", async (program) => {
        const { log } = await program.next<Line>((line) => line.log !== undefined, 30_000)
        for (const part of ["192.168.1.1", "7878", "NAT-PMP: no answer", "UPnP: "]) expect(log).toContain(part)
        expect(await program.end()).toBe(0)
      }),
    60_000
  )

  skipTest(noNat)(
    "publishes no private outer address, gives the port back, and takes no word from others nor what is no answer",
    async () => {
      const bad = startModule(site().router, router)
      try {
        await bad.next<{ ready?: true }>((line) => line.ready === true)
        await behind("serve", async (program) => {
          const { log } = await program.next<Line>((line) => line.log !== undefined, 30_000)
          for (const part of ["10.1.2.3", "another router"]) expect(log).toContain(part)
          const asked = await bad.next<{ port: number; seconds: number }>((line) => line.seconds > 0)
          expect(asked).toEqual({ port: 7878, seconds: 3_600 })
          expect(await bad.next<{ port: number; seconds: number }>((line) => line.seconds === 0)).toEqual({
            port: 7878,
            seconds: 0
          })
          expect(await program.end()).toBe(0)
        })
      } finally {
        bad.kill()
      }
    },
    60_000
  )
})

describe("what is read", () => {
  test("an outer address is public, or not", () => {
    for (const host of ["11.0.0.10", "100.128.0.1", "172.32.0.1", "1.1.1.1"])
      expect([host, isPublic(host)]).toEqual([host, true])
    for (const host of [
      "10.0.0.1",
      "100.64.0.1",
      "172.16.3.4",
      "192.168.0.1",
      "0.0.0.0",
      "127.0.0.1",
      "224.0.0.1",
      "::1",
      "",
      "x"
    ])
      expect([host, isPublic(host)]).toEqual([host, false])
  })

  test("default routes, the preferred one first", () => {
    const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
    const line = (destination: string, gateway: string, flags: string, metric: number): string =>
      `eth0\t${destination}\t${gateway}\t${flags}\t0\t0\t${metric}\t00000000\t0\t0\t0`
    const table = [
      head,
      line("00000000", "0101A8C0", "0003", 600),
      line("00000000", "FE00000A", "0003", 100),
      line("0000A8C0", "00000000", "0001", 0),
      line("00000000", "00000000", "0001", 0),
      "nonsense",
      ""
    ].join("\n")
    expect(defaultRoutes(table)).toEqual(["10.0.0.254", "192.168.1.1"])
  })

  test("the router's own description, and no other", () => {
    const answer = (location: string, type = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"): Uint8Array =>
      Buffer.from(`HTTP/1.1 200 OK\r\nST: ${type}\r\nLocation: ${location}\r\n\r\n`)
    const at = (bytes: Uint8Array): string | undefined => locationIn(bytes, "192.168.1.1")?.href
    expect(at(answer("http://192.168.1.1:5555/rootDesc.xml"))).toBe("http://192.168.1.1:5555/rootDesc.xml")
    for (const location of [
      "http://192.168.1.7:5555/rootDesc.xml",
      "http://example.org/",
      "https://192.168.1.1/",
      "file:///etc/passwd",
      "http://192.168.1.1@example.org/",
      "nonsense"
    ])
      expect(at(answer(location))).toBe(undefined)
    expect(at(answer("http://192.168.1.1/", "urn:schemas-upnp-org:device:MediaServer:1"))).toBe(undefined)
    expect(at(Buffer.concat([answer("http://192.168.1.1/"), Buffer.alloc(2_000)]))).toBe(undefined)
    expect(at(new Uint8Array(0))).toBe(undefined)
  })
})
