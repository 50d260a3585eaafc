/** Multicast, by which nodes of a local network find each other: what is sent to the group must come back. */
import { randomBytes } from "node:crypto"
import { createSocket } from "node:dgram"
import { networkInterfaces } from "node:os"
import * as Effect from "effect/Effect"
import { type Finding, of } from "./Finding.ts"

/** The group of mDNS (RFC 6762); on a port of our own, so that no responder hears it. */
const GROUP = "224.0.0.251"
/** How long the machine has to give back what it sent itself, in ms. */
const WAIT_MS = 1_000

/** Whether what is sent on an interface to the group comes back; otherwise why not. */
const echo = (address: string): Effect.Effect<string | undefined> =>
  Effect.callback<string | undefined>((resume) => {
    const socket = createSocket({ type: "udp4", reuseAddr: true })
    const nonce = randomBytes(16)
    const end = (why: string | undefined): void => {
      clearTimeout(timer)
      try {
        socket.close()
      } catch {
        // Closed already.
      }
      resume(Effect.succeed(why))
    }
    const timer = setTimeout(() => end("what was sent did not come back"), WAIT_MS)
    socket.on("error", (error) => end(error.message))
    socket.on("message", (message) => {
      if (nonce.equals(message)) end(undefined)
    })
    socket.bind(0, () => {
      try {
        socket.addMembership(GROUP, address)
        socket.setMulticastInterface(address)
        socket.setMulticastLoopback(true)
        socket.send(nonce, socket.address().port, GROUP, (error) => {
          if (error !== null && error !== undefined) end(error.message)
        })
      } catch (cause) {
        end(cause instanceof Error ? cause.message : String(cause))
      }
    })
    return Effect.sync(() => end(undefined))
  })

/** `needed`: nothing else finds peers. */
export const check = (used: boolean, needed: boolean): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const find = of("multicast", `a packet to ${GROUP} on each interface`)
    if (!used) return [find("ok", "MulticastOff", "mDNS is switched off")]
    const own = Object.entries(networkInterfaces()).flatMap(([name, entries]) => {
      const first = entries?.find(({ family }) => family === "IPv4")
      return first === undefined || first.internal ? [] : [{ name, address: first.address }]
    })
    const tried = yield* Effect.forEach(
      own,
      ({ address, name }) => Effect.map(echo(address), (why) => ({ name, why })),
      { concurrency: 8 }
    )
    const good = tried.filter(({ why }) => why === undefined)
    if (good.length > 0) return [find("ok", "Multicast", `works on ${good.map(({ name }) => name).join(", ")}`)]
    const why =
      tried.length === 0 ? "no interface has IPv4" : tried.map((each) => `${each.name}: ${each.why}`).join("; ")
    return [
      find(
        needed ? "fail" : "warn",
        "NoMulticast",
        `nodes of the local network are not found by mDNS (${why})`,
        "let multicast through (route, firewall, wireless isolation), or give peers, a tracker or a DHT"
      )
    ]
  })
