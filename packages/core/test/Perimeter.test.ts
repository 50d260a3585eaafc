/** Verifies: what counts as private, however it is written; and that anything else, names included, does not. */
import { describe, expect, test } from "bun:test"
import * as Perimeter from "@parley/core/Perimeter"

const inside = [
  "127.0.0.1",
  "127.255.255.255",
  "10.0.0.0",
  "10.255.255.255",
  "172.16.0.0",
  "172.31.255.255",
  "192.168.0.1",
  "192.168.255.255",
  "169.254.1.1",
  "224.0.0.251",
  "::1",
  "0:0:0:0:0:0:0:1",
  "fe80::1",
  "fe80::1%eth0",
  "febf::1",
  "FE80::1",
  "fc00::1",
  "fd12:3456::1",
  "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
  "ff02::fb",
  "ff02::fb%eth0",
  "::ffff:10.0.0.1",
  "::FFFF:192.168.1.1",
  "::ffff:7f00:1",
  "::ffff:a00:1",
  "0:0:0:0:0:ffff:10.0.0.1",
  "0000:0000:0000:0000:0000:ffff:0a00:0001"
]

const outside = [
  "8.8.8.8",
  "192.0.2.1",
  "11.0.0.0",
  "9.255.255.255",
  "172.15.255.255",
  "172.32.0.0",
  "192.167.255.255",
  "192.169.0.0",
  "169.253.255.255",
  "169.255.0.0",
  "100.64.0.1",
  "0.0.0.0",
  "255.255.255.255",
  "224.0.1.1",
  "239.255.255.250",
  "2001:db8::1",
  "2606:4700::1111",
  "::",
  "::2",
  "fec0::1",
  "fe00::1",
  "ff05::2",
  "ff0e::1",
  "::ffff:8.8.8.8",
  "::ffff:808:808",
  "::8.8.8.8",
  "::10.0.0.1",
  "64:ff9b::10.0.0.1",
  "64:ff9b::a00:1",
  "2002:a00:1::",
  // Other spellings of addresses: what a resolver makes of them is not known before it is asked.
  "127.1",
  "10.1",
  "0x7f000001",
  "0x7f.0.0.1",
  "2130706433",
  "017700000001",
  "0177.0.0.1",
  "010.0.0.1",
  "10.0.0.1.",
  "10.0.0.256",
  "10.0.0",
  " 10.0.0.1",
  "10.0.0.1 ",
  "10.0.0.1\n",
  "[::1]",
  "10.0.0.1%eth0",
  "10.0.0.1%eth0.evil.example",
  "::1%",
  "１０.0.0.1",
  "localhost",
  "localhost.localdomain",
  "10.0.0.1.nip.io",
  "example.com",
  "printer.local",
  "",
  "%",
  "%eth0",
  ":",
  "."
]

describe("the closed perimeter", () => {
  for (const host of inside) test(`lets ${host} in`, () => expect(Perimeter.closed.allows(host)).toBe(true))
  for (const host of outside)
    test(`keeps ${JSON.stringify(host)} out`, () => expect(Perimeter.closed.allows(host)).toBe(false))

  test("a host of any length is answered", () => {
    expect(Perimeter.closed.allows("1".repeat(1_000_000))).toBe(false)
    expect(Perimeter.closed.allows(`::1%${"a".repeat(1_000_000)}`)).toBe(false)
  })
})

test("the open perimeter lets everything through", () => {
  for (const host of [...inside, ...outside]) expect(Perimeter.open.allows(host)).toBe(true)
})
