/** Verifies: a certificate counts for its network, its key and its time, and for nothing else; and so does a delegation. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import * as MemberCertificate from "@parley/core/MemberCertificate"
import type { NetworkOf } from "@parley/core/MemberCertificate"
import { fromSeed } from "@parley/core/testing/Seeded"
import type { TestApi } from "@parley/core/testing/TestApi"
import { brokenLaws } from "../../../test-support/BrokenLaws.ts"
import { day, makeNetwork } from "./members.ts"

const seed = Number(process.env["PARLEY_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
type Verify = typeof MemberCertificate.verify

/** The laws, for anything that claims to verify certificates. */
const suite =
  (verify: Verify) =>
  ({ describe: group, expect: expects, test: law }: TestApi): void => {
    const now = 1_800_000_000_000
    const network = makeNetwork()
    const member = Identity.generate()
    const certificate = network.issue(member.nodeId, now, now + day)
    const code = (bytes: Uint8Array | undefined, at = now, peer = member.publicKey, of: NetworkOf = network.of) => {
      const read = verify(bytes, of, peer, at)
      return "code" in read ? read.code : "member"
    }
    group("a member certificate", () => {
      law("counts for its key, from its issue to its end", () => {
        expects(certificate.length).toBe(MemberCertificate.CERTIFICATE_BYTES)
        expects(verify(certificate, network.of, member.publicKey, now)).toEqual({
          member: member.nodeId,
          issuedAt: now,
          expiresAt: now + day
        })
        expects(code(certificate, now + day - 1)).toBe("member")
        expects(code(certificate, now - 60_000)).toBe("member")
      })
      law("none is missing", () => {
        expects([code(undefined), code(new Uint8Array(0))]).toEqual(["CertificateMissing", "CertificateMissing"])
      })
      law("expired, it does not count", () => {
        expects([code(certificate, now + day), code(certificate, now + 400 * day)]).toEqual([
          "CertificateExpired",
          "CertificateExpired"
        ])
      })
      law("issued in the future, it does not count", () => {
        expects(code(certificate, now - day)).toBe("CertificateInvalid")
      })
      law("of another network, even of the same root, it does not count", () => {
        const other = { root: network.of.root, network: MemberCertificate.networkId(network.of.root, "kitchen") }
        expects(code(certificate, now, member.publicKey, other)).toBe("CertificateInvalid")
        const elsewhere = makeNetwork()
        expects(code(elsewhere.issue(member.nodeId, now, now + day))).toBe("CertificateInvalid")
        // Signed by another root over this network's id.
        const posed = MemberCertificate.issue(elsewhere.root, network.of.network, {
          member: member.nodeId,
          issuedAt: now,
          expiresAt: now + day
        })
        expects(code(posed)).toBe("CertificateInvalid")
      })
      law("shown by another key, it does not count", () => {
        expects(code(certificate, now, Identity.generate().publicKey)).toBe("CertificateInvalid")
      })
      law("a member signs no certificate of another", () => {
        const friend = Identity.generate()
        const posed = MemberCertificate.issue(member, network.of.network, {
          member: friend.nodeId,
          issuedAt: now,
          expiresAt: now + day
        })
        expects(code(posed, now, friend.publicKey)).toBe("CertificateInvalid")
      })
      law("a delegate acts for its member, for a day at most", () => {
        const command = Identity.generate()
        const made = (expiresAt: number, by: Identity.Identity["Service"] = member, of = certificate) =>
          MemberCertificate.delegate(by, of, { node: command.nodeId, expiresAt })
        const delegated = made(now + 60_000)
        expects(verify(delegated, network.of, command.publicKey, now)).toEqual({
          member: member.nodeId,
          issuedAt: now,
          expiresAt: now + day,
          delegate: { node: command.nodeId, expiresAt: now + 60_000 }
        })
        expects(code(delegated, now + 60_000, command.publicKey)).toBe("CertificateExpired")
        expects(code(delegated, now, member.publicKey)).toBe("CertificateInvalid")
        expects(code(made(now + 3 * day), now, command.publicKey)).toBe("CertificateInvalid")
        expects(code(made(now + 60_000, Identity.generate()), now, command.publicKey)).toBe("CertificateInvalid")
        const ended = network.issue(member.nodeId, now - 2 * day, now - day)
        expects(code(made(now + 60_000, member, ended), now, command.publicKey)).toBe("CertificateExpired")
      })
      law(`changed anywhere, or of another length, it does not count (seed ${seed})`, () => {
        const random = fromSeed(seed)
        const command = Identity.generate()
        const delegated = MemberCertificate.delegate(member, certificate, {
          node: command.nodeId,
          expiresAt: now + 60_000
        })
        for (const [bytes, peer] of [
          [certificate, member.publicKey],
          [delegated, command.publicKey]
        ] as const) {
          for (let at = 0; at < bytes.length; at++) {
            const changed = Uint8Array.from(bytes)
            changed[at] = changed[at]! ^ (1 << random.int(8))
            expects([at, code(changed, now, peer) === "member"]).toEqual([at, false])
            expects([at, code(bytes.subarray(0, at), now, peer) === "member"]).toEqual([
              at,
              at === MemberCertificate.CERTIFICATE_BYTES && peer === member.publicKey
            ])
          }
        }
        for (let round = 0; round < 2_000; round++)
          expects(code(random.bytes(random.pick([0, 1, 125, 226, 227, 300])), now) === "member").toBe(false)
      })
    })
  }

suite(MemberCertificate.verify)({ describe, expect, test })

describe("planted bugs", () => {
  const { verify } = MemberCertificate
  const bugs: ReadonlyArray<readonly [string, string, Verify]> = [
    [
      "an expired one accepted",
      "expired",
      (bytes, of, peer, now) => verify(bytes, of, peer, Math.min(now, 1_800_000_000_000))
    ],
    [
      "one of another network accepted",
      "another network",
      (bytes, of, peer, now) =>
        verify(bytes, { ...of, network: Buffer.from(bytes?.subarray(1, 17) ?? []).toString("hex") }, peer, now)
    ],
    [
      "one of another key accepted",
      "another key",
      (bytes, of, _peer, now) => verify(bytes, of, bytes?.subarray(17, 49) ?? new Uint8Array(32), now)
    ],
    [
      "a missing one accepted",
      "missing",
      (bytes, of, peer, now) =>
        bytes === undefined || bytes.length === 0
          ? { member: of.root, issuedAt: now, expiresAt: now }
          : verify(bytes, of, peer, now)
    ]
  ]
  for (const [what, law, broken] of bugs) {
    test(`${what} is caught`, async () => {
      expect((await brokenLaws(suite(broken))).some((failed) => failed.includes(law))).toBe(true)
    })
  }
})
