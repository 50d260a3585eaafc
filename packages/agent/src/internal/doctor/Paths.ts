/** How this machine is seen from outside: whether it can be reached, what its NAT does, and whether its clock is right. */
import * as Effect from "effect/Effect"
import * as Look from "@parley/transport-tcp/Look"
import { CLOCK_SKEW } from "@parley/core/AgentRecord"
import { type Finding, of } from "./Finding.ts"
import type { Ground } from "./Ground.ts"
import * as Interfaces from "./Interfaces.ts"
import * as Reach from "./Reach.ts"
import type { Relays, Seen } from "./Relays.ts"

/** Clocks further apart than this, in ms, are told: signatures and leases still hold. */
const CLOCK_WARN_MS = 10_000

const isOwn = (address: string): boolean => {
  const host = Reach.hostPort(address)?.host
  return host !== undefined && (host === "127.0.0.1" || Interfaces.addresses().some((own) => own.address === host))
}

/** Whether what relays see of this machine is an address of its own. */
const isBehindNat = (seen: ReadonlyArray<Seen>): boolean => seen.some(({ look }) => !isOwn(look.address))

/** Two connections from one port to two relays: a NAT that gives them two outer ports is symmetric (RFC 4787, 4.1). */
export const nat = (ground: Ground, { seen }: Relays): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const known = seen.filter(({ look }) => look.address !== "")
    const [first, second] = known
    if (first === undefined) return []
    const find = of("nat", `what ${known.map(({ via }) => via).join(" and ")} see of this machine`)
    if (!isBehindNat(known))
      return [find("ok", "NoNat", `no NAT: it is seen as ${first.look.address}, its own address`)]
    const outer = Reach.hostPort(first.look.address)?.host ?? first.look.address
    const unknown = find(
      "warn",
      "NatUnknown",
      `behind a NAT at ${outer}; one relay alone does not show of which kind`,
      "give a second tracker on another machine to know whether direct connections are likely"
    )
    if (second === undefined) return [unknown]
    const ports = yield* fromOnePort(ground, [first.via, second.via])
    if (ports === undefined) return [unknown]
    if (ports[0] === ports[1]) {
      return [
        find("ok", "NatCone", `behind a NAT at ${outer} that keeps a port for all (${ports[0]}): hole punching works`)
      ]
    }
    return [
      find(
        "warn",
        "NatSymmetric",
        `behind a symmetric NAT at ${outer}: another outer port for each peer (${ports.join(" and ")})`,
        "calls to peers behind such NATs, too, stay relayed; forward a TCP port to this machine, or use IPv6, for direct ones"
      )
    ]
  })

/** The outer ports that two relays see of connections from one local port, one after the other. */
const fromOnePort = (ground: Ground, vias: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<number> | undefined> => {
  // From the range that is free for everybody (RFC 6335), where a port is seldom taken.
  const localPort = 49_152 + Math.floor(Math.random() * 16_000)
  return Effect.forEach(vias, (via) =>
    Effect.scoped(
      Effect.gen(function* () {
        const connections = yield* ground.connections({ listen: false, localPort })
        const relay = yield* connections.connect({ addresses: [via.replace(/\/z6Mk\w+$/, "")] })
        const { address } = yield* Look.at(relay, 0)
        return Reach.hostPort(address)?.port ?? 0
      })
    )
  ).pipe(Effect.catch(() => Effect.as(Effect.void, undefined)))
}

/** Whether relays get through to this machine, and if not, whether it is reached through them. */
export const inbound = ({ seen, slots }: Relays, port: number): ReadonlyArray<Finding> => {
  const tried = seen.filter(({ look }) => look.reached !== "not tried")
  if (tried.length === 0) return []
  const find = of("inbound", `${tried.map(({ via }) => via).join(", ")} connecting back to port ${port}`)
  const good = tried.find(({ look }) => look.reached === "accepted")
  if (good !== undefined) {
    const host = Reach.hostPort(good.look.address)?.host ?? ""
    return [find("ok", "Reachable", `others reach this machine at ${host}, port ${port}`)]
  }
  const refused = tried.some(({ look }) => look.reached === "refused")
  if (isBehindNat(tried)) {
    const found = `nobody outside of the NAT reaches port ${port}${slots > 0 ? `; ${slots === 1 ? "a relay stands" : `${slots} relays stand`} in` : ", and no relay stands in"}`
    const advice = "forward the port in the router for direct connections, and publish it: --advertise tcp://HOST:PORT"
    return [find(slots > 0 ? "warn" : "fail", "NoForward", found, advice)]
  }
  const what = refused ? "refused" : "dropped without a word"
  const found = `connections to port ${port} are ${what} before they reach this node: a firewall on this machine, or before it`
  return [
    find("fail", "FirewallInbound", found, `let TCP port ${port} through the firewall, or use --no-listen and relays`)
  ]
}

const middle = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2
}

const span = (ms: number): string => {
  const seconds = Math.abs(ms) / 1_000
  return seconds < 120
    ? `${seconds.toFixed(1)} s`
    : seconds < 7_200
      ? `${Math.round(seconds / 60)} min`
      : `${Math.round(seconds / 3_600)} h`
}

/** This machine's clock against those of the relays. Most of them agreeing says who is wrong. */
export const clock = ({ seen }: Relays): ReadonlyArray<Finding> => {
  if (seen.length === 0) return []
  const find = of("clock", `the time at ${seen.map(({ via }) => via).join(", ")}`)
  const off = middle(seen.map(({ look }) => look.clockOffsetMs))
  const isRight = Math.abs(off) <= CLOCK_WARN_MS
  const others = seen.filter(({ look }) => Math.abs(look.clockOffsetMs - (isRight ? 0 : off)) > CLOCK_WARN_MS)
  const theirs = others.map(({ look, via }) =>
    find(
      "warn",
      "RelayClockOff",
      `the clock of ${via} is ${span(look.clockOffsetMs)} ${look.clockOffsetMs > 0 ? "ahead of" : "behind"} this one, and others agree with this one`,
      "tell who runs it: it refuses records that seem to be of the future, and forgets others early"
    )
  )
  if (isRight) return [find("ok", "Clock", `within ${span(Math.max(100, Math.abs(off)))} of the others`), ...theirs]
  const whose = seen.length === 1 ? "of the tracker's, and one of the two is wrong" : "of what the trackers agree on"
  const found = `this machine's clock is ${span(off)} ${off > 0 ? "behind" : "ahead"} ${whose}`
  const isFatal = Math.abs(off) > CLOCK_SKEW
  const advice = `set it, or let it be set (NTP)${isFatal ? ": others refuse records that are more than 5 minutes ahead, and see ours expire early" : ""}`
  return [find(isFatal ? "fail" : "warn", "ClockOff", found, advice)]
}
