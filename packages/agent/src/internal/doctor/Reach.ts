/** What it means that a dial failed, and whether anybody accepts connections at an address at all. */
import { connect } from "node:net"
import * as Effect from "effect/Effect"
import type { Rules } from "@parley/core/Perimeter"
import type { TransportErrorReason } from "@parley/core/Transport"

/** How long nobody answering counts as nobody being there, in ms: a lost SYN is sent again after one second. */
const KNOCK_MS = 2_500

/** What a machine says of a port before anything is said to it. */
export type Knocked = "accepted" | "refused" | "no answer" | "unknown host" | "not allowed"

/** Host and port of `tcp://HOST:PORT`. */
export const hostPort = (address: string): { readonly host: string; readonly port: number } | undefined => {
  const match = /^tcp:\/\/(?:\[([^\]]+)\]|([^:/[\]]+)):(\d{1,5})/.exec(address)
  return match === null ? undefined : { host: (match[1] ?? match[2])!, port: Number(match[3]) }
}

/** Whether anybody accepts connections there; the connection is closed without a word. */
export const knock = (address: string, perimeter: Rules): Effect.Effect<Knocked> =>
  Effect.callback<Knocked>((resume) => {
    const at = hostPort(address)
    if (at === undefined) return resume(Effect.succeed("unknown host"))
    if (!perimeter.allows(at.host)) return resume(Effect.succeed("not allowed"))
    const socket = connect(at)
    const end = (knocked: Knocked): void => {
      clearTimeout(timer)
      socket.destroy()
      resume(Effect.succeed(knocked))
    }
    const timer = setTimeout(() => end("no answer"), KNOCK_MS)
    socket.once("connect", () => end("accepted"))
    socket.on("error", (error: NodeJS.ErrnoException) =>
      end(error.code === "ECONNREFUSED" ? "refused" : error.code === "ENOTFOUND" ? "unknown host" : "no answer")
    )
    return Effect.sync(() => {
      clearTimeout(timer)
      socket.destroy()
    })
  })

/** Why somebody cannot be reached. */
export interface Cause {
  readonly code: string
  readonly why: string
  readonly advice: string
}

const ofHandshake = (address: string, code: string, detail: string): Cause => {
  switch (code) {
    case "WrongMagic":
      return {
        code: "NotParley",
        why: `something else than Parley answers at ${address}`,
        advice: "check host and port: parley tracker and parley serve print theirs when they start"
      }
    case "NetworkKeyMissing":
    case "NetworkKeyUnexpected":
    case "NetworkKeyMismatch":
      return {
        code: "WrongNetworkKey",
        why: `${address} is of another network than this node (${code}): ${detail}`,
        advice: "give both the same --network or --network-key, or neither of them one"
      }
    case "CertificateMissing":
    case "CertificateInvalid":
    case "CertificateExpired":
    case "MemberRevoked":
      return {
        code: code === "MemberRevoked" ? "Revoked" : "NotAMember",
        why: `${address} and this node are not both members of the network (${code}): ${detail}`,
        advice: "whichever is not asks who keeps the network's root for an invitation: parley join, parley invite"
      }
    case "UnexpectedPeer":
      return {
        code: "OtherKey",
        why: `another node than expected lives at ${address}: ${detail}`,
        advice: "the address is of somebody else now, or the node has a new key: look it up anew"
      }
    case "Busy":
      return {
        code: "Busy",
        why: `${address} takes no more connections now`,
        advice: "try again in a minute; who runs it can raise its limits"
      }
    default:
      return {
        code: "HandshakeFailed",
        why: `${address} answers, and no session comes of it (${code}): ${detail}`,
        advice: "the two may be of versions that have nothing in common: update the older one"
      }
  }
}

/** Puts a failed dial into words, with what a knock at the same address showed. */
export const explain = (address: string, reason: TransportErrorReason, knocked: Knocked | undefined): Cause => {
  if (reason._tag === "AllFailed")
    return explain(address, reason.causes[0] ?? { _tag: "NoAddress", node: reason.node }, knocked)
  if (reason._tag === "HandshakeFailed") return ofHandshake(address, reason.code, reason.detail)
  if (knocked === "not allowed") {
    return {
      code: "OutsidePerimeter",
      why: `${address} lies outside of the private networks that this node keeps to`,
      advice: "in a closed network give addresses of the private ranges, as numbers"
    }
  }
  if (knocked === "accepted") {
    return {
      code: "Silent",
      why: `the machine at ${address} accepts the connection, and the program there says nothing`,
      advice: "it is stopped, asleep or overloaded (or not Parley): look at it there, wake or restart it"
    }
  }
  if (knocked === "refused") {
    return {
      code: "NothingListens",
      why: `the machine at ${address} is there, and nothing listens on that port`,
      advice: "start the program there, or correct the port"
    }
  }
  if (knocked === "unknown host") {
    return {
      code: "UnknownHost",
      why: `the name in ${address} is not known`,
      advice: "check the name, and this machine's DNS"
    }
  }
  return {
    code: "NoAnswer",
    why:
      reason._tag === "DialFailed" ? `${address} cannot be reached: ${reason.detail}` : `nothing answers at ${address}`,
    advice:
      "it is switched off, behind a firewall or a NAT, or this machine has no way there: check cable, address and firewalls"
  }
}
