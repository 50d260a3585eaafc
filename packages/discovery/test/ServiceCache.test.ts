import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import * as NodeId from "@parley/core/NodeId"
import * as dnsPacket from "dns-packet"
import * as DnsSd from "../src/internal/DnsSd.ts"
import { MAX_ASKED, MAX_INSTANCES, MAX_TTL, ServiceCache } from "../src/internal/ServiceCache.ts"

const identity = Identity.fromSeed(new Uint8Array(32).fill(7))
const node = identity.nodeId
const label = NodeId.fingerprint(node).replaceAll(":", "").slice(0, 16)
const heard = (endpoint: DnsSd.Endpoint, ttl = DnsSd.TTL): dnsPacket.DecodedPacket =>
  dnsPacket.decode(dnsPacket.encode({ type: "response", ...DnsSd.answersOf(node, endpoint, { ttl, flush: true }) }))
const here = { port: 7878, ips: ["192.0.2.1", "2001:db8::1"] }
const addresses = ["tcp://192.0.2.1:7878", "tcp://[2001:db8::1]:7878"]

describe("DNS-SD records", () => {
  test("stay as the protocol page shows them", () => {
    const { additionals, answers } = DnsSd.answersOf(node, here, { ttl: DnsSd.TTL, flush: true })
    expect([...answers, ...additionals].map((answer) => JSON.parse(JSON.stringify(answer)))).toEqual([
      { type: "PTR", name: "_parley._tcp.local", ttl: 120, data: `${label}._parley._tcp.local` },
      {
        type: "SRV",
        name: `${label}._parley._tcp.local`,
        ttl: 120,
        flush: true,
        data: { priority: 0, weight: 0, port: 7878, target: `parley-${label}.local` }
      },
      { type: "TXT", name: `${label}._parley._tcp.local`, ttl: 120, flush: true, data: ["v=1", `id=${node}`] },
      { type: "A", name: `parley-${label}.local`, ttl: 120, flush: true, data: "192.0.2.1" },
      { type: "AAAA", name: `parley-${label}.local`, ttl: 120, flush: true, data: "2001:db8::1" }
    ])
  })

  test("are made of numeric tcp addresses of one port", () => {
    expect(
      DnsSd.endpointOf([
        "relay://z/y",
        "tcp://host.example:1",
        "tcp://0.0.0.0:2",
        "tcp://127.0.0.1:7878",
        "tcp://192.0.2.1:7878",
        `tcp://[2001:db8::1]:7878/${node}`,
        "tcp://192.0.2.1:9999",
        "tcp://[fe80::1]:7878",
        "tcp://224.0.0.1:7878",
        "tcp://192.0.2.300:7878",
        "tcp://192.0.2.2:70000"
      ])
    ).toEqual(here)
    expect(DnsSd.endpointOf(["tcp://127.0.0.1:7878"])).toEqual({ port: 7878, ips: ["127.0.0.1"] })
    expect(DnsSd.endpointOf(["mem://ada", "tcp://[::]:7878"])).toBe(undefined)
    const many = Array.from({ length: 30 }, (_, i) => `tcp://192.0.2.${i + 1}:7878`)
    expect(DnsSd.endpointOf(many)?.ips.length).toBe(DnsSd.MAX_IPS)
  })
})

describe("ServiceCache", () => {
  test("tells a node once, a change once more, and a goodbye", () => {
    const cache = new ServiceCache()
    const found = { source: "mDNS", node, addresses }
    expect(cache.ingest(heard(here), 0, false)).toEqual({ found: [found], missing: [] })
    expect(cache.ingest(heard(here), 1, false)).toEqual({ found: [], missing: [] })
    expect(cache.ingest(heard({ port: 9, ips: ["192.0.2.7"] }), 2, false).found).toEqual([
      { source: "mDNS", node, addresses: ["tcp://192.0.2.7:9"] }
    ])
    expect(cache.known().length).toBe(1)
    expect(cache.ingest(heard(here, 0), 3, false).found).toEqual([{ source: "mDNS", node, addresses: [], gone: true }])
    expect(cache.known()).toEqual([])
    expect(cache.size).toBe(0)
  })

  test("forgets what is not repeated in time, whatever time was claimed", () => {
    const cache = new ServiceCache()
    cache.ingest(heard(here, 4_000_000), 0, false)
    expect(cache.expire(MAX_TTL * 1000 - 1)).toEqual([])
    expect(cache.expire(MAX_TTL * 1000)).toEqual([{ source: "mDNS", node, addresses: [], gone: true }])
  })

  test("believes loopback addresses only of this machine", () => {
    const loopback = heard({ port: 1, ips: ["127.0.0.1", "::1"] })
    expect(new ServiceCache().ingest(loopback, 0, false).found).toEqual([])
    expect(new ServiceCache().ingest(loopback, 0, true).found).toEqual([
      { source: "mDNS", node, addresses: ["tcp://127.0.0.1:1", "tcp://[::1]:1"] }
    ])
  })

  test("asks for what is missing, and gives up after a while", () => {
    const cache = new ServiceCache()
    const { additionals, answers } = DnsSd.answersOf(node, here, { ttl: 120, flush: true })
    const [ptr, srv, txt] = answers
    const instance = `${label}._parley._tcp.local`
    expect(cache.ingest({ answers: [ptr] }, 0, false).missing).toEqual([
      { type: "SRV", name: instance },
      { type: "TXT", name: instance }
    ])
    expect(cache.ingest({ answers: [srv] }, 0, false).missing).toEqual([
      { type: "TXT", name: instance },
      { type: "A", name: `parley-${label}.local` },
      { type: "AAAA", name: `parley-${label}.local` }
    ])
    expect(cache.ingest({ answers: [txt] }, 0, false).missing.length).toBe(2)
    for (let i = 0; i < MAX_ASKED; i++) expect(cache.ingest({ answers: [ptr] }, 0, false).missing).toEqual([])
    expect(cache.ingest({ answers: additionals }, 0, false).found).toEqual([{ source: "mDNS", node, addresses }])
  })

  test("another node cannot speak under this one's name", () => {
    const cache = new ServiceCache()
    cache.ingest(heard(here), 0, false)
    const other = Identity.generate().nodeId
    const txt = { type: "TXT", name: `${label}._parley._tcp.local`, ttl: 120, data: ["v=1", `id=${other}`] }
    expect(cache.ingest({ answers: [txt] }, 0, false).found).toEqual([])
    expect(cache.known()).toEqual([{ source: "mDNS", node, addresses }])
  })

  test("ignores another version", () => {
    const txt = { type: "TXT", name: `${label}._parley._tcp.local`, ttl: 120, data: ["v=2", `id=${node}`] }
    const cache = new ServiceCache()
    expect(cache.ingest({ answers: [txt] }, 0, false)).toEqual({ found: [], missing: [] })
    expect(cache.size).toBe(0)
  })

  test("holds a bounded number of instances, the latest heard of", () => {
    const cache = new ServiceCache()
    const ptr = (i: number) => ({ type: "PTR", name: DnsSd.SERVICE, ttl: 120, data: `n${i}.${DnsSd.SERVICE}` })
    for (let i = 0; i < MAX_INSTANCES + 10; i++) cache.ingest({ answers: [ptr(i)] }, i, false)
    expect(cache.size).toBe(MAX_INSTANCES)
    const names = cache.fresh(0, MAX_INSTANCES).map(({ name }) => name)
    expect(names.includes(`n9.${DnsSd.SERVICE}`)).toBe(false)
    expect(names.includes(`n${MAX_INSTANCES + 9}.${DnsSd.SERVICE}`)).toBe(true)
  })
})
