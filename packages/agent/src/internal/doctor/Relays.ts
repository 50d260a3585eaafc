/** Trackers and relays: whether each is there, relays for this node, how well, and what it sees of this machine. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Connections } from "@parley/core/Connections"
import * as NodeId from "@parley/core/NodeId"
import type { TransportErrorReason } from "@parley/core/Transport"
import * as Look from "@parley/transport-tcp/Look"
import type { Health } from "@parley/transport-tcp/Reservations"
import { type Finding, of } from "./Finding.ts"
import { type Ground, relaysOf } from "./Ground.ts"
import * as Reach from "./Reach.ts"

/** How long relays have to grant a slot, in ms: as long as one dial and one answer may take. */
const GRANT_MS = 6_000

/** A relay that answers. */
export interface Seen {
  readonly via: string
  readonly look: Look.Seen
}

/** What came of looking at the relays. */
export interface Relays {
  readonly findings: ReadonlyArray<Finding>
  readonly seen: ReadonlyArray<Seen>
  /** How many gave a slot. */
  readonly slots: number
}

/** `tcp://HOST:PORT/NODE` without its end, and the key that is expected there. */
const targetOf = (via: string) => {
  const slash = via.lastIndexOf("/")
  const node = NodeId.parse(via.slice(slash + 1))
  return node === undefined ? { addresses: [via] } : { node, addresses: [via.slice(0, slash)] }
}

const reasonOf = (exit: {
  readonly cause: { readonly reasons: ReadonlyArray<unknown> }
}): TransportErrorReason | undefined => {
  for (const reason of exit.cause.reasons) {
    const { error } = reason as { readonly error?: { readonly reason?: TransportErrorReason } }
    if (error?.reason !== undefined) return error.reason
  }
  return undefined
}

const ofHealth = (via: string, health: Health | undefined, look: Look.Seen): Finding => {
  const find = of("relay", `a slot and a look at ${via}`)
  const ms = `${(health?.roundTripMs ?? look.roundTripMs).toFixed(1)} ms`
  if (health?.state !== "held") {
    const found = `${via} answers in ${ms}, and gives no slot: ${health?.refused ?? "it does not say why"}`
    return find("warn", "NoSlot", found, "use another relay too, or raise the limits of this one")
  }
  const { quota } = health
  if (quota !== undefined && quota.bytes === 0) {
    return find("warn", "QuotaExceeded", `${via} relays nothing more within this hour`, "use another relay too")
  }
  const left =
    quota === undefined
      ? ""
      : `, ${quota.circuits} circuits and ${Math.round(quota.bytes / 2 ** 20).toLocaleString("en-US")} MiB left`
  return find("ok", "Relay", `${via} answers in ${ms}, relays for this node${left}`)
}

/** `port` is where relays try to connect to this machine; 0: they do not. `listens`: the examination listens there. */
export const check = (ground: Ground, port: number, listens: boolean): Effect.Effect<Relays, never, Scope.Scope> =>
  Effect.gen(function* () {
    const vias = relaysOf(ground.options)
    if (vias.length === 0) return { findings: [], seen: [], slots: 0 }
    let health: ReadonlyArray<Health> = []
    let changed = (): void => {}
    const { host } = ground.options
    const opened = yield* Effect.exit(
      ground.connections({
        listen: listens,
        port,
        ...(host === undefined ? {} : { host }),
        relays: vias,
        relaySlots: vias.length,
        onRelays: (now) => {
          health = now
          changed()
        }
      })
    )
    if (opened._tag === "Failure") {
      const reason = reasonOf(opened)
      const cause = Reach.explain("this machine", reason ?? { _tag: "NoAddress", node: "" }, undefined)
      return {
        findings: [of("relay", vias.join(", "))("fail", cause.code, cause.why, cause.advice)],
        seen: [],
        slots: 0
      }
    }
    const connections = opened.value
    const each = yield* Effect.forEach(vias, (via) => one(ground, connections, via, port), { concurrency: 8 })
    const waits = (): boolean =>
      each.some(({ seen }) => seen !== undefined && health.find((of) => of.via === seen.via)?.state === "asked")
    yield* Effect.callback<void>((resume) => {
      changed = () => {
        if (!waits()) resume(Effect.void)
      }
      changed()
    }).pipe(Effect.timeoutOption(GRANT_MS))
    const findings = each.map(({ finding, seen }) =>
      seen === undefined || finding !== undefined
        ? finding!
        : ofHealth(
            seen.via,
            health.find(({ via }) => via === seen.via),
            seen.look
          )
    )
    return {
      findings,
      seen: each.flatMap(({ seen }) => (seen === undefined ? [] : [seen])),
      slots: health.filter(({ state }) => state === "held").length
    }
  })

/** One relay: the finding where something is wrong with it, and what it sees. */
const one = (ground: Ground, connections: Connections["Service"], via: string, port: number) =>
  Effect.gen(function* () {
    const find = of("relay", `a connection to ${via}`)
    const target = targetOf(via)
    const exit = yield* Effect.exit(connections.connect(target))
    if (exit._tag === "Failure") {
      const reason = reasonOf(exit) ?? { _tag: "NoAddress", node: via }
      const knocked = yield* Reach.knock(target.addresses[0]!, ground.perimeter)
      const { advice, code, why } = Reach.explain(via, reason, knocked)
      return { finding: find("fail", `Relay${code}`, why, advice), seen: undefined }
    }
    const looked = yield* Effect.exit(Look.at(exit.value, port))
    if (looked._tag === "Success") return { finding: undefined, seen: { via, look: looked.value } }
    const detail = reasonOf(looked)
    const found = `${via} is a Parley node that does not say what it sees: ${detail?._tag === "DialFailed" ? detail.detail : "no answer"}`
    const advice = "give the address of a parley tracker, and update it where it is older than this node"
    return { finding: find("warn", "NotARelay", found, advice), seen: undefined }
  })
