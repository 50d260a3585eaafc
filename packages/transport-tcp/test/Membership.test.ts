/** Verifies: in a network with a root, only members get through the handshake, and each end learns why it is not let in. */
import { afterEach, describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import * as MemberCertificate from "@parley/core/MemberCertificate"
import * as Network from "@parley/core/Network"
import * as Perimeter from "@parley/core/Perimeter"
import { TransportError } from "@parley/core/Transport"
import { until } from "../../../test-support/Until.ts"
import { day, makeNetwork } from "../../core/test/members.ts"
import { start, type TestNode } from "./nodes.ts"

const networkKey = new Uint8Array(32).fill(7)
const running: Array<TestNode> = []
afterEach(async () => {
  for (const node of running.splice(0)) await node.stop()
})

const node = async (
  made: { readonly identity: Identity.Identity["Service"]; readonly members?: Network.Members },
  key = networkKey
) => {
  const { identity, members } = made
  const started = await start({ networkKey: key, ...(members === undefined ? {} : { members }) }, identity)
  running.push(started)
  return started
}

const codeOf = async (dialled: Promise<unknown>): Promise<string> => {
  const error: unknown = await dialled.then(
    () => "connected",
    (cause) => cause
  )
  if (!(error instanceof TransportError)) return String(error)
  return error.reason._tag === "HandshakeFailed" ? error.reason.code : error.reason._tag
}

describe("members of a network with a root", () => {
  test("connect, in both directions, also with a delegation", async () => {
    const network = makeNetwork()
    const ada = network.members()
    const a = await node(ada)
    const b = await node(network.members())
    expect((await a.dial(b.address)).peer).toBe(b.nodeId)
    const command = Identity.generate()
    const to = { node: command.nodeId, expiresAt: Date.now() + 60_000 }
    const certificate = MemberCertificate.delegate(ada.identity, ada.members.certificate, to)
    const c = await node({ identity: command, members: new Network.Members({ ...network.of, certificate }) })
    expect((await c.dial(b.address)).peer).toBe(b.nodeId)
    expect((await b.dial(c.address)).peer).toBe(c.nodeId)
    await until("b hears both", () => b.connections.length === 2)
  })

  const now = Date.now()
  const outsiders: ReadonlyArray<
    readonly [
      expected: string,
      what: string,
      make: (network: ReturnType<typeof makeNetwork>) => {
        readonly identity: Identity.Identity["Service"]
        readonly members?: Network.Members
      }
    ]
  > = [
    ["CertificateMissing", "no certificate", () => ({ identity: Identity.generate() })],
    [
      "CertificateInvalid",
      "a certificate of another root under the same name",
      ({ of }) => {
        const { identity, members } = makeNetwork().members()
        return { identity, members: new Network.Members({ ...of, certificate: members.certificate }) }
      }
    ],
    [
      "CertificateInvalid",
      "another member's certificate",
      ({ members, of }) => {
        const { certificate } = members().members
        return { identity: Identity.generate(), members: new Network.Members({ ...of, certificate }) }
      }
    ],
    [
      "CertificateExpired",
      "one whose time is over",
      ({ issue, members }) => {
        const identity = Identity.generate()
        return members(identity, issue(identity.nodeId, now - 2 * day, now - day))
      }
    ]
  ]
  for (const [expected, what, make] of outsiders) {
    test(`refuse ${what}, as the one dialled and as the one who dials`, async () => {
      const network = makeNetwork()
      const member = await node(network.members())
      const outsider = await node(make(network))
      expect(await codeOf(outsider.dial(member.address))).toBe(expected)
      expect(await codeOf(member.dial(outsider.address))).toBe(expected)
      expect(member.connections).toEqual([])
      await until("the member noted it", () =>
        member.refused.some(({ reason }) => reason._tag === "HandshakeFailed" && reason.code === expected)
      )
      // Whoever was dialled and is no member never heard of a session.
      expect(outsider.connections).toEqual([])
    })
  }

  test("refuse a member whom the root has put out, with the reason, and its delegates", async () => {
    const network = makeNetwork()
    const ada = network.members()
    const bob = network.members()
    const a = await node(ada)
    const b = await node(bob)
    await a.dial(b.address)
    expect(ada.members.learn(JSON.stringify(network.revoke(b.nodeId)))).toBe(true)
    expect(await codeOf(b.dial(a.address))).toBe("MemberRevoked")
    expect(await codeOf(a.dial(b.address))).toBe("MemberRevoked")
    const command = Identity.generate()
    const to = { node: command.nodeId, expiresAt: Date.now() + 60_000 }
    const certificate = MemberCertificate.delegate(bob.identity, bob.members.certificate, to)
    const c = await node({ identity: command, members: new Network.Members({ ...network.of, certificate }) })
    expect(await codeOf(c.dial(a.address))).toBe("MemberRevoked")
  })

  test("whoever lacks the network key learns no more than that", async () => {
    const network = makeNetwork()
    const member = await node(network.members())
    const outsider = await node(network.members(), new Uint8Array(32).fill(8))
    expect(await codeOf(outsider.dial(member.address))).toBe("NetworkKeyMismatch")
  })
})

describe("a perimeter", () => {
  test("nobody outside is dialled, and names are not resolved", async () => {
    const closed = await start({ perimeter: Perimeter.closed })
    running.push(closed)
    for (const host of ["192.0.2.1", "[2001:db8::1]", "example.com", "localhost", "127.1"]) {
      const error: unknown = await closed.dial(`tcp://${host}:7878`).catch((cause: unknown) => cause)
      expect(error instanceof TransportError && error.message).toContain("keeps to private networks")
    }
    const other = await start()
    running.push(other)
    expect((await closed.dial(other.address)).peer).toBe(other.nodeId)
    const narrow = await start({ perimeter: { name: "nothing", allows: () => false } })
    running.push(narrow)
    expect(await codeOf(other.dial(narrow.address))).toBe("DialFailed")
    await until("it was turned away", () => narrow.refused.length > 0)
    expect(narrow.connections).toEqual([])
  })
})
