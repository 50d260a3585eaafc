/** Verifies: the doctor says of a peer what that says of itself, also where others would not believe it. */
import { afterEach, describe, expect, test } from "bun:test"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Dht from "@parley/discovery/Dht"
import * as Doctor from "../src/Doctor.ts"
import * as Ipv6 from "../src/internal/doctor/Ipv6.ts"
import * as Mapping from "../src/internal/doctor/Mapping.ts"
import { PortMappingError } from "@parley/transport-tcp/PortMapping"
import { command } from "../../../test-support/Runtime.ts"

const children: Array<ChildProcess> = []
afterEach(async () => {
  for (const child of children.splice(0)) {
    const ended = child.exitCode === null ? once(child, "exit") : undefined
    child.stdin?.end()
    await ended
  }
})

/** A peer in a process of its own, whose clock is off by so many milliseconds. */
const peer = async (off: number, ...more: ReadonlyArray<string>) => {
  const [program, ...args] = command(fileURLToPath(new URL("skewed-agent.ts", import.meta.url)))
  const child = spawn(program, [...args, String(off), ...more], { stdio: ["pipe", "pipe", "inherit"] })
  children.push(child)
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string]
  const [address = "", node = ""] = line.split(" ")
  return { address, node }
}

const options: Doctor.Options = { mdns: false, gossip: false, host: "127.0.0.1", listen: false }
/** What is said of a peer, by its NodeId and by its address alone. */
const examine = async (at: { readonly address: string; readonly node: string }) => {
  const of = (findings: ReadonlyArray<Doctor.Finding>) =>
    findings.filter(({ check }) => ["record", "peer"].includes(check))
  const known = await Effect.runPromise(Doctor.examine({ ...options, peers: [at.address], peer: at.node }))
  const dialled = await Effect.runPromise(Doctor.examine({ ...options, peer: at.address }))
  const codes = of(known).map(({ code, verdict }) => `${verdict} ${code}`)
  expect(of(dialled).map(({ code, verdict }) => `${verdict} ${code}`)).toEqual(codes)
  return { codes, record: of(known).find(({ check }) => check === "record") }
}

describe("the doctor, of a peer", () => {
  test("whose clock is right, says what it serves, and finds it also where it serves nothing", async () => {
    const { codes, record } = await examine(await peer(0, "serve"))
    expect(codes).toEqual(["ok Record", "ok PeerDirect"])
    expect(record?.found).toMatch(/: 1 capabilities, 1 addresses, good for (?:59|60) min/)
    expect((await examine(await peer(0))).codes).toEqual(["ok Record", "ok PeerDirect"])
  }, 30_000)

  test("whose clock is a minute ahead, warns of it: it is believed still", async () => {
    const { codes, record } = await examine(await peer(60_000, "serve"))
    expect(codes).toEqual(["warn PeerClock", "ok PeerDirect"])
    expect(record?.found).toMatch(/^made (?:5\d|60) s in the future/)
    expect(record?.advice).toContain("NTP")
  }, 30_000)

  test("whose clock is an hour ahead, or hours behind, says that nobody believes it", async () => {
    const ahead = await examine(await peer(3_600_000, "serve"))
    expect(ahead.codes).toEqual(["fail PeerClock", "ok PeerDirect"])
    expect(ahead.record?.found).toMatch(/is of (?:35[89]\d|3600) s in the future/)
    const behind = await examine(await peer(-2 * 3_600_000, "serve"))
    expect(behind.codes).toEqual(["fail RecordExpired", "ok PeerDirect"])
    expect(behind.record?.found).toMatch(/ended 36\d\d s ago/)
    expect(behind.record?.advice).toContain("NTP")
  }, 30_000)
})

describe("the doctor, of IPv6", () => {
  const local = ["192.168.1.7", "fe80::1", "fd00::7", "::1"]
  const global = "2001:db8:7::1"

  test("says whether there is any, a way out by it, and whether the node listens on it", () => {
    const codeOf = (addresses: ReadonlyArray<string>, isRouted: boolean, listensOn: string | undefined) => {
      const { code, verdict } = Ipv6.judge(addresses, isRouted, listensOn)
      return `${verdict} ${code}`
    }
    expect(codeOf(local, true, "::")).toBe("ok NoIpv6")
    expect(codeOf([...local, global], false, "::")).toBe("warn NoIpv6Route")
    expect(codeOf([...local, global], true, "::")).toBe("ok Ipv6")
    expect(codeOf([...local, global], true, global)).toBe("ok Ipv6")
    expect(codeOf([...local, global], true, undefined)).toBe("ok Ipv6")
    expect(codeOf([...local, global], true, "0.0.0.0")).toBe("ok Ipv6NotListened")
    expect(Ipv6.judge([...local, global], true, "::").found).toBe(`${global}, with no NAT before others who have IPv6`)
  })

  test("does not ask where nothing outside is to be used, nor of a node that keeps to its machine", async () => {
    const checks = async (more: Doctor.Options) => {
      const findings = await Effect.runPromise(Doctor.examine({ mdns: false, listen: false, ...more }))
      return findings.map(({ check }) => check)
    }
    expect(await checks({})).toContain("ipv6")
    expect(await checks({ host: "127.0.0.1" })).not.toContain("ipv6")
    expect(await checks({ perimeter: "closed" })).not.toContain("ipv6")
  })
})

describe("the doctor, of port mapping", () => {
  const mappingOf = async (more: Doctor.Options) => {
    const findings = await Effect.runPromise(Doctor.examine({ mdns: false, host: "127.0.0.1", port: 0, ...more }))
    return findings.filter(({ check }) => check === "mapping")
  }

  test("asks where the node would, and says why nothing came of it", async () => {
    expect(await mappingOf({})).toEqual([])
    const [noRouter] = await mappingOf({ portMapping: true })
    expect(noRouter).toMatchObject({ verdict: "warn", code: "NoPortMapping" })
    expect(noRouter?.found).toContain("no private IPv4 address with a router")
    const [closed] = await mappingOf({ portMapping: true, perimeter: "closed" })
    expect([closed?.code, closed?.advice?.startsWith("leave port mapping out")]).toEqual(["NoPortMapping", true])
  })

  test("says what the router did", () => {
    const mapped = Mapping.judge(7878, {
      protocol: "UPnP",
      gateway: "192.168.1.1",
      local: { host: "192.168.1.2", port: 7878 },
      external: { host: "203.0.113.7", port: 7879 },
      leaseMs: 3_600_000
    })
    expect(mapped).toMatchObject({ verdict: "ok", code: "PortMapped" })
    expect(mapped.found).toBe("the router 192.168.1.1 lets 203.0.113.7, port 7879, through to port 7878 (UPnP)")
    const shared = Mapping.judge(7878, new PortMappingError("SharedAddress", "its outer address is private"))
    expect([shared.found, shared.advice]).toEqual([
      "its outer address is private",
      "forward the port at both routers, or use a relay"
    ])
    expect(Mapping.judge(7878, undefined).found).toContain("did not answer within 12 s")
  })
})

describe("the doctor, of a DHT", () => {
  test("says how many of its nodes answer", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const node = yield* Dht.serve({ host: "127.0.0.1" })
        const dht = [`127.0.0.1:${node.address.port}`]
        const findings = yield* Doctor.examine({ mdns: false, listen: false, host: "127.0.0.1", dht, relays: [] })
        expect(findings.find(({ check }) => check === "dht")).toMatchObject({ verdict: "ok", code: "Dht" })
      }).pipe(Effect.scoped)
    ))
})
