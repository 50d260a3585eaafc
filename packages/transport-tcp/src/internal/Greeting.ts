/**
 * The greeting in a network with a root: whoever dialled knows that it is let in when the acceptor says so, or why it is not. Until then
 * nothing of its node is told, and the connection is reported to nobody.
 */
import type { Refused } from "@parley/core/MemberCertificate"
import * as Network from "@parley/core/Network"
import * as Protocol from "@parley/core/Protocol"
import type { SessionOwner } from "./SessionOptions.ts"

const empty = new Uint8Array(0)

/** What came of waiting; each at most once, and only one of them. */
export interface Greeted {
  readonly onWelcome: () => void
  readonly onRefused: (refused: Refused) => void
  readonly onClosed: (why: string) => void
}

/** Stands between a session and whom it serves until the greeting has come. */
export const awaiting = (serves: SessionOwner, on: Greeted): SessionOwner => {
  let state: "waiting" | "in" | "out" = "waiting"
  const refuse = (refused: Refused): void => {
    state = "out"
    on.onRefused(refused)
  }
  return {
    onStream: (connection, protocol, stream) => {
      if (state === "in") return serves.onStream(connection, protocol, stream)
      if (state === "out" || protocol !== Protocol.MEMBERS) return undefined
      return {
        onMessage: (message) => {
          if (state !== "waiting") return
          const greeting = Network.readGreeting(message)
          if (greeting === "welcome") {
            stream.send(empty, undefined, true)
            state = "in"
            on.onWelcome()
          } else refuse(greeting ?? { code: "CertificateInvalid", detail: "its greeting cannot be read" })
        },
        onWritable: () => {},
        onClosed: () => {}
      }
    },
    onClosed: (connection, why) => {
      if (state === "in") return serves.onClosed(connection, why)
      if (state === "waiting") on.onClosed(why)
      state = "out"
    }
  }
}
