import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Identity from "@parley/core/Identity"
import * as Admission from "@parley/registry/Admission"
import * as Authentication from "@parley/registry/Authentication"
import { AgentManifest, type Manifest } from "@parley/registry/Model"
import { handClock, instance, SECRET } from "./identity.ts"

const home = "192.0.2.7"
const elsewhere = "198.51.100.9"
const options = { agentSecret: Redacted.make(SECRET) }

const manifest = (id: string, description = ""): Manifest => ({
  ...Schema.decodeSync(AgentManifest)({ name: id, endpoint: "ws://localhost:9000", description }),
  agent_id: id
})

describe("a first registration", () => {
  test("waits for the secret, then is settled once", async () => {
    const at = instance({ options })
    await at.run(at.admission.hold(manifest("agent-a"), home))
    expect(at.admission.isHeld("agent-a", home)).toBe(true)
    expect(await at.code(at.auth.exchange("agent-a", "wrong", { address: home }))).toBe("Invalid")
    expect(at.admission.isHeld("agent-a", home)).toBe(true)
    expect(await at.code(at.auth.exchange("agent-a", SECRET, { address: home }))).toBe("none")
    expect((await at.run(at.admission.settle("agent-a", home)))?.name).toBe("agent-a")
    expect(await at.run(at.admission.settle("agent-a", home))).toBe(undefined)
    expect(at.admission.waiting()).toBe(0)
  })

  test("is over after a minute", async () => {
    const at = instance({ options })
    await at.run(at.admission.hold(manifest("agent-a"), home))
    at.clock.now += Admission.PENDING_MS
    expect(at.admission.isHeld("agent-a", home)).toBe(false)
    expect(await at.code(at.auth.exchange("agent-a", SECRET, { address: home }))).toBe("Unknown")
    expect(await at.run(at.admission.settle("agent-a", home))).toBe(undefined)
  })

  test("of somebody else under the same id never takes the place of the one that proves the secret", async () => {
    const at = instance({ options })
    await at.run(at.admission.hold(manifest("agent-a", "the true one"), home))
    await at.run(at.admission.hold(manifest("agent-a", "a stranger's"), elsewhere))
    await at.run(at.auth.exchange("agent-a", SECRET, { address: home }))
    expect((await at.run(at.admission.settle("agent-a", home)))?.description).toBe("the true one")
  })

  test("cannot be in a node's name", async () => {
    const at = instance({ options })
    expect(await at.code(at.admission.hold(manifest(Identity.generate().nodeId), home))).toBe("Forbidden")
  })

  test("of many from one address, from many addresses, or of many bytes: all are bounded", async () => {
    const at = instance({ options })
    for (let i = 0; i < Admission.MAX_PENDING_OF_ADDRESS; i++) {
      await at.run(at.admission.hold(manifest(`agent-${i}`), home))
    }
    const failure = await at.run(Effect.flip(at.admission.hold(manifest("one-more"), home)))
    expect(failure.code).toBe("Limited")
    expect(failure.retryAfterMs).toBe(Admission.PENDING_MS)
    // An IPv6 customer has a whole /64, and is one.
    for (let i = 0; i < Admission.MAX_PENDING_OF_ADDRESS; i++) {
      await at.run(at.admission.hold(manifest("six"), `2001:db8:0:1::${i.toString(16)}`))
    }
    expect(await at.code(at.admission.hold(manifest("six"), "2001:db8:0:1::ffff"))).toBe("Limited")
    expect(await at.code(at.admission.hold(manifest("six"), "2001:db8:0:2::1"))).toBe("none")
    // The same agent again takes its own place.
    expect(await at.code(at.admission.hold(manifest("agent-5"), elsewhere))).toBe("none")
    for (let i = 0; i < Admission.MAX_PENDING + 10; i++) {
      await at.run(at.admission.hold(manifest("agent"), `10.0.${i >> 8}.${i & 255}`))
    }
    expect(at.admission.waiting()).toBe(Admission.MAX_PENDING)
    at.clock.now += Admission.PENDING_MS
    expect(at.admission.waiting()).toBe(0)

    const large = manifest("large")
    const heavy: Manifest = {
      ...large,
      capabilities: [
        {
          name: "a",
          description: "",
          input_schema: { text: "x".repeat(1_048_576) },
          output_schema: {},
          avg_latency_ms: null,
          cost_per_call_usd: null
        }
      ]
    }
    const codes: Array<string> = []
    for (let i = 0; i < 20; i++) codes.push(await at.code(at.admission.hold(heavy, `10.1.0.${i}`)))
    expect(codes).toEqual(Array<string>(20).fill("none"))
    // The oldest have made room: strangers' bytes keep nobody out.
    expect([at.admission.waiting(), at.admission.isHeld("large", "10.1.0.19")]).toEqual([15, true])
  })
})

describe("an address that has proven the secret", () => {
  test("may use that agent's heartbeat and traces without a token, and nobody else's", async () => {
    const at = instance({ options, agents: new Set(["agent-a", "agent-b"]) })
    await at.run(at.auth.exchange("agent-a", SECRET, { address: home }))
    const acts = (agent: string, credentials: { token?: string; address: string }) =>
      at.code(Authentication.actForOrGranted(agent, credentials))
    expect(await acts("agent-a", { address: home })).toBe("none")
    expect(await acts("agent-b", { address: home })).toBe("Missing")
    expect(await acts("agent-a", { address: elsewhere })).toBe("Missing")
    expect(await acts("agent-a", { address: home, token: "wrong" })).toBe("Invalid")
    // A page in a browser at that address is not the agent, but with its token.
    const { token } = await at.run(at.auth.exchange("agent-a", SECRET, { address: home }))
    const page = { address: home, isPage: true }
    expect([await acts("agent-a", page), await acts("agent-a", { ...page, token })]).toEqual(["Missing", "none"])
    // For all else a token is asked for.
    expect(await at.code(Authentication.actFor("agent-a", { address: home }))).toBe("Missing")
  })

  test("keeps it over a restart and at other instances, until it is unused for a day or the agent leaves", async () => {
    const values = new Map<string, string>()
    const clock = handClock()
    const at = instance({ options, values, clock, agents: new Set(["agent-a"]) })
    await at.run(at.auth.exchange("agent-a", SECRET, { address: home }))
    const other = instance({ options, values, clock })
    for (let hours = 0; hours < 48; hours += 12) {
      expect(await other.run(other.admission.isGranted("agent-a", home))).toBe(true)
      clock.now += 12 * 3_600_000
    }
    clock.now += Admission.GRANT_MS
    expect(await other.run(other.admission.isGranted("agent-a", home))).toBe(false)

    await at.run(at.admission.grant("agent-a", home))
    expect(await at.run(at.admission.isGranted("agent-a", home))).toBe(true)
    await at.run(at.admission.revoke("agent-a"))
    expect(await at.run(at.admission.isGranted("agent-a", home))).toBe(false)
  })

  test("is one of four at most", async () => {
    const at = instance({ options })
    for (let i = 0; i < 6; i++) await at.run(at.admission.grant("agent-a", `192.0.2.${i}`))
    const held: Array<boolean> = []
    for (let i = 0; i < 6; i++) held.push(await at.run(at.admission.isGranted("agent-a", `192.0.2.${i}`)))
    expect(held).toEqual([false, false, true, true, true, true])
  })

  test("has nothing of it in the other modes", async () => {
    const at = instance()
    await at.run(at.admission.grant("agent-a", home))
    expect(await at.code(Authentication.actForOrGranted("agent-a", { address: home }))).toBe("Missing")
  })
})
