/**
 * Which endpoints of AgentMesh agents may be dialled. Anybody can register anything as an endpoint, so a name in a registry must not
 * make a node knock on doors inside its own network.
 *
 * An endpoint may be as near as the registry itself: a registry on loopback may name agents on loopback (AgentMesh's SDK always
 * advertises `ws://localhost:port`), one in a private network may name agents there, a public one public agents. Every address that
 * the host stands for must be allowed, and those that were looked at are the ones that are dialled.
 */
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import ipaddr from "ipaddr.js"
import type { Resolve } from "./AgentMeshCaller.ts"
import { AgentMeshError } from "./AgentMeshError.ts"
import { MAX_ENDPOINT_LENGTH } from "./Model.ts"
import * as SafeUrl from "./SafeUrl.ts"

/** How near an address is. What is nearer than `public` is dialled only for registries that are as near. */
export type Reach = "public" | "private" | "loopback"

const depth: { readonly [R in Reach]: number } = { public: 0, private: 1, loopback: 2 }

/** How near an IP address is; `undefined` for addresses that nobody may name: link-local, multicast, reserved, unspecified. */
export const reachOf = (address: string): Reach | undefined => {
  if (SafeUrl.isPublic(address)) return "public"
  if (!ipaddr.isValid(address)) return undefined
  const range = ipaddr.process(address).range()
  if (range === "loopback") return "loopback"
  return range === "private" || (range === "uniqueLocal" && !metadata.has(address)) ? "private" : undefined
}

/** Unique local addresses under which clouds tell their machines secrets (AWS, GCP). */
const metadata: ReadonlySet<string> = new Set(["fd00:ec2::254", "fd20:ce::254"])

const addressesOf = async (host: string): Promise<ReadonlyArray<string>> => {
  const bare = host.replace(/^\[|\]$/g, "")
  if (isIP(bare) !== 0) return [bare]
  // The name is reserved for this (RFC 6761, 6.3); AgentMesh's agents listen on IPv4.
  if (bare === "localhost" || bare.endsWith(".localhost")) return ["127.0.0.1", "::1"]
  return (await lookup(bare, { all: true })).map(({ address }) => address)
}

/** How near a registry is: the nearest of its addresses; `public` where its name cannot be looked up. */
export const reachOfUrl = (url: string): Effect.Effect<Reach> =>
  Effect.promise(async () => {
    try {
      const reaches = (await addressesOf(new URL(url).hostname)).map((address) => reachOf(address) ?? "public")
      return reaches.reduce<Reach>((nearest, reach) => (depth[reach] > depth[nearest] ? reach : nearest), "public")
    } catch {
      return "public"
    }
  })

/** Says where an endpoint may be dialled, for a registry that is as near as `reach`. */
export const resolver =
  (reach: Reach): Resolve =>
  (agent, endpoint) => {
    const fail = (code: "Forbidden" | "Unreachable", detail: string) => new AgentMeshError({ code, who: agent, detail })
    const shown = endpoint.slice(0, 200)
    return Effect.gen(function* () {
      if (endpoint.length > MAX_ENDPOINT_LENGTH) {
        return yield* fail("Forbidden", `its endpoint has more than ${MAX_ENDPOINT_LENGTH} characters`)
      }
      const safe = SafeUrl.parse(endpoint, { schemes: ["ws:", "wss:"] })
      // Addresses are judged below, by how near the registry is.
      if (Result.isFailure(safe) && safe.failure.code !== "Address") {
        return yield* fail("Forbidden", `its endpoint may not be dialled: ${safe.failure.message}`)
      }
      const url = new URL(endpoint)
      const addresses = yield* Effect.tryPromise({
        try: () => addressesOf(url.hostname),
        catch: () => fail("Unreachable", `the host of its endpoint ${shown} cannot be looked up`)
      })
      for (const address of addresses) {
        const near = reachOf(address)
        if (near === undefined || depth[near] > depth[reach]) {
          const what = near === undefined ? "no agent's address" : `nearer than the registry, which is ${reach}`
          return yield* fail("Forbidden", `its endpoint ${shown} is at ${address}, which is ${what}`)
        }
      }
      return {
        host: SafeUrl.hostOf(url),
        port: SafeUrl.portOf(url),
        secure: url.protocol === "wss:",
        path: `${url.pathname}${url.search}`,
        addresses
      }
    })
  }
