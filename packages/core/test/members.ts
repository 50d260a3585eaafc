/** A network with a root for tests: members with certificates, and lists of revocations. */
import * as Identity from "@parley/core/Identity"
import * as MemberCertificate from "@parley/core/MemberCertificate"
import * as Network from "@parley/core/Network"
import * as Revocations from "@parley/core/Revocations"
import type { NodeId } from "@parley/core/NodeId"

/** One day. */
export const day = 86_400_000

/** A network, and what its root can do. */
export const makeNetwork = (name = "ward") => {
  const root = Identity.generate()
  const of = { network: MemberCertificate.networkId(root.nodeId, name), root: root.nodeId }
  const issue = (member: NodeId, issuedAt = Date.now(), expiresAt = issuedAt + day) =>
    MemberCertificate.issue(root, of.network, { member, issuedAt, expiresAt })
  let last: Revocations.Revocations | undefined
  const revoke = (node: NodeId): Revocations.Revocations => {
    last = Revocations.revoke(root, of.network, last, node, Date.now() + day, Date.now())
    return last
  }
  const members = (identity = Identity.generate(), certificate = issue(identity.nodeId)) => ({
    identity,
    members: new Network.Members({ ...of, certificate })
  })
  return { root, of, issue, revoke, members }
}
