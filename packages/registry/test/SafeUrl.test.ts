import { describe, expect, test } from "bun:test"
import * as Result from "effect/Result"
import * as SafeUrl from "@parley/registry/SafeUrl"

const codeOf = (url: string, policy: SafeUrl.Policy = {}): string =>
  Result.match(SafeUrl.parse(url, policy), { onFailure: (error) => error.code, onSuccess: () => "ok" })

/** One address, and more where a range has edges, of each special-purpose range (RFC 6890, IANA). */
const special = [
  "0.0.0.0",
  "0.255.255.255",
  "10.0.0.1",
  "10.255.255.255",
  "100.64.0.1",
  "100.127.255.255",
  "127.0.0.1",
  "127.255.255.255",
  "169.254.0.1",
  "169.254.169.254",
  "172.16.0.1",
  "172.31.255.255",
  "192.0.0.1",
  "192.0.2.1",
  "192.31.196.1",
  "192.52.193.1",
  "192.88.99.1",
  "192.168.0.1",
  "192.175.48.1",
  "198.18.0.1",
  "198.19.255.255",
  "198.51.100.1",
  "203.0.113.1",
  "224.0.0.1",
  "239.255.255.255",
  "240.0.0.1",
  "255.255.255.255",
  "::",
  "::1",
  "::7f00:1",
  "::ffff:127.0.0.1",
  "::ffff:169.254.169.254",
  "::ffff:0:127.0.0.1",
  "64:ff9b::127.0.0.1",
  "64:ff9b::a9fe:a9fe",
  "64:ff9b:1::1",
  "100::1",
  "2001::1",
  "2001:2::1",
  "2001:10::1",
  "2001:20::1",
  "2001:db8::1",
  "2002:7f00:1::",
  "2002:808:808::",
  "3fff::1",
  "4000::1",
  "5f00::1",
  "fc00::1",
  "fdff::1",
  "fe80::1",
  "fe80::1%eth0",
  "fec0::1",
  "ff02::1",
  "2620:4f:8000::1"
]
const open = [
  "8.8.8.8",
  "1.1.1.1",
  "172.15.255.255",
  "172.32.0.1",
  "100.63.255.255",
  "100.128.0.1",
  "192.167.255.255",
  "11.0.0.1",
  "2606:4700:4700::1111",
  "2a00:1450::1",
  "::ffff:8.8.8.8",
  "64:ff9b::8.8.8.8"
]

describe("addresses", () => {
  test("of special purpose are not public, the others are", () => {
    for (const address of special) expect([address, SafeUrl.isPublic(address)]).toEqual([address, false])
    for (const address of open) expect([address, SafeUrl.isPublic(address)]).toEqual([address, true])
  })

  test("that different readers read differently are none", () => {
    for (const text of [
      "0177.0.0.1",
      "0x7f.0.0.1",
      "2130706433",
      "8.8.8.010",
      "127.1",
      "8.8.8",
      "",
      "a",
      "8.8.8.8 ",
      "1.2.3.4.5"
    ]) {
      expect([text, SafeUrl.isPublic(text)]).toEqual([text, false])
    }
  })
})

describe("an URL", () => {
  test("of the public internet passes", () => {
    for (const url of [
      "https://example.com/a?b#c",
      "http://8.8.8.8/",
      "https://[2606:4700:4700::1111]:8443/",
      "http://a.example:8080"
    ]) {
      expect([url, codeOf(url)]).toEqual([url, "ok"])
    }
  })

  test("that leads to this machine or this network does not, however it is written", () => {
    for (const host of [
      "127.0.0.1",
      "127.1",
      "127.0.1",
      "0x7f000001",
      "0x7f.0.0.1",
      "0177.0.0.1",
      "017700000001",
      "2130706433",
      "0",
      "0.0.0.0",
      "①②⑦.⓪.⓪.①",
      "127。0。0。1",
      "%31%32%37.0.0.1",
      "localhost",
      "LOCALHOST",
      "localhost.",
      "a.localhost",
      "printer.local",
      "metadata.google.internal",
      "169.254.169.254",
      "2852039166",
      "0xa9fea9fe",
      "0251.0376.0251.0376",
      "[::1]",
      "[::]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[0:0:0:0:0:ffff:a9fe:a9fe]",
      "[fe80::1]",
      "[fd00:ec2::254]",
      "[64:ff9b::7f00:1]",
      "[2002:7f00:1::]",
      "[::127.0.0.1]",
      "192.168.1.1",
      "10.0.0.1",
      "172.16.0.1",
      "100.100.100.200",
      "[2001:db8::1]"
    ]) {
      expect([host, codeOf(`http://${host}/latest/meta-data/`)]).toEqual([host, "Address"])
    }
  })

  test("of another scheme, with credentials, to another protocol's port, or that is none does not", () => {
    for (const url of [
      "file:///etc/passwd",
      "ftp://example.com/",
      "gopher://example.com/_x",
      "data:text/plain,x",
      "javascript:alert(1)",
      "unix:/var/run/docker.sock",
      "ws://example.com/"
    ]) {
      expect([url, codeOf(url)]).toEqual([url, "Scheme"])
    }
    for (const url of ["http://user@example.com/", "http://a:b@example.com/", "https://127.0.0.1@example.com/"]) {
      expect([url, codeOf(url)]).toEqual([url, "Credentials"])
    }
    for (const port of [22, 25, 110, 1, 1023, 3306, 5432, 6379, 11211, 2375]) {
      expect([port, codeOf(`http://example.com:${port}/`)]).toEqual([port, "Port"])
    }
    for (const url of [
      "",
      "example.com",
      "http://",
      "http://[::1",
      "http://[fe80::1%25eth0]/",
      "http://256.256.256.256/",
      "http://a b/",
      `http://example.com/${"a".repeat(3_000)}`
    ]) {
      expect([url.slice(0, 40), codeOf(url)]).toEqual([url.slice(0, 40), "Malformed"])
    }
  })

  test("that the operator has named passes, by host and port alone", () => {
    const policy = { allow: ["localhost:11434", "[::1]:80", "Example.com:6379"] }
    for (const url of [
      "http://localhost:11434/v1",
      "http://LOCALHOST:11434/",
      "http://[::1]/",
      "http://example.com:6379/"
    ]) {
      expect([url, codeOf(url, policy)]).toEqual([url, "ok"])
    }
    for (const url of [
      "http://localhost:11435/",
      "http://localhost/",
      "http://127.0.0.1:11434/",
      "http://a.localhost:11434/"
    ]) {
      expect([url, codeOf(url, policy)]).toEqual([url, "Address"])
    }
    expect(codeOf("http://me@localhost:11434/", policy)).toBe("Credentials")
    expect(codeOf("file://localhost:11434/etc/passwd", policy)).not.toBe("ok")
  })

  test("is shown without what is secret in it", () => {
    const failure = Result.match(SafeUrl.parse("http://example.com:22/a?key=very-secret"), {
      onFailure: (error) => error.message,
      onSuccess: () => ""
    })
    expect(failure).toContain("example.com:22/a")
    expect(failure).not.toContain("very-secret")
  })
})

describe("a name", () => {
  const url = new URL("http://example.com/")
  const judged = (addresses: ReadonlyArray<string>) =>
    Result.match(SafeUrl.judge(url, addresses), { onFailure: (error) => error.code, onSuccess: (address) => address })
  test("counts by all its addresses", () => {
    expect(judged(["8.8.8.8", "1.1.1.1"])).toBe("8.8.8.8")
    expect(judged(["8.8.8.8", "127.0.0.1"])).toBe("Address")
    expect(judged(["::1"])).toBe("Address")
    expect(judged([])).toBe("Address")
    expect(judged(["nonsense"])).toBe("Address")
  })
})
