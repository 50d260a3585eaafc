import { describe, expect, test } from "bun:test"
import * as Loopback from "@parley/registry/Loopback"

describe("what a registry that asks nobody may listen on", () => {
  test("this machine's own addresses", () => {
    for (const host of [
      "127.0.0.1",
      "127.9.8.7",
      "localhost",
      "LOCALHOST",
      "localhost.",
      "::1",
      "[::1]",
      "::ffff:127.0.0.1"
    ]) {
      expect([host, Loopback.refusesOpen([host])]).toEqual([host, undefined])
    }
    expect(Loopback.refusesOpen(["127.0.0.1", "::1"])).toBe(undefined)
  })

  test("nothing else, and not one outside among others", () => {
    for (const host of [
      "0.0.0.0",
      "::",
      "",
      "192.168.1.2",
      "10.0.0.1",
      "fe80::1",
      "localhost.example.com",
      "127.0.0.1.nip.io",
      "1270.0.1",
      "0177.0.0.1",
      "2130706433",
      "0x7f.1",
      "127.1",
      "::ffff:192.168.1.2",
      "169.254.169.254",
      "256.0.0.1",
      "127.0.0.256"
    ]) {
      expect([host, typeof Loopback.refusesOpen([host])]).toEqual([host, "string"])
    }
    expect(Loopback.refusesOpen(["127.0.0.1", "0.0.0.0"])).toContain("0.0.0.0")
    expect(Loopback.refusesOpen([])).toContain("every address")
  })
})

describe("whom it then serves", () => {
  test("programs of this machine, and pages of loopback or of configured origins", () => {
    for (const host of ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "localhost"]) {
      expect(Loopback.refusesRequest(host, undefined)).toBe(undefined)
    }
    expect(Loopback.refusesRequest("localhost:8000", "http://localhost:5173")).toBe(undefined)
    expect(Loopback.refusesRequest("localhost:8000", "https://a.example", new Set(["https://a.example"]))).toBe(
      undefined
    )
  })

  test("no page that points its own name here, and none that calls across", () => {
    for (const host of [
      undefined,
      "",
      "evil.example",
      "evil.example:8000",
      "127.0.0.1.nip.io:8000",
      "0.0.0.0:8000",
      "[::]:80"
    ]) {
      expect([host, typeof Loopback.refusesRequest(host, undefined)]).toEqual([host, "string"])
    }
    for (const origin of [
      "http://evil.example",
      "null",
      "",
      "file://",
      "https://localhost.evil.example",
      "moz-extension://x"
    ]) {
      expect([origin, typeof Loopback.refusesRequest("localhost:8000", origin)]).toEqual([origin, "string"])
    }
  })
})
