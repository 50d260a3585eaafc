import { describe, expect, test } from "bun:test"
import { createHmac } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT, UnsecuredJWT } from "jose"
import * as Identity from "@parley/core/Identity"
import * as Authentication from "@parley/registry/Authentication"
import * as Challenge from "@parley/registry/Challenge"
import { Limits } from "@parley/registry/Limits"
import * as Principal from "@parley/registry/Principal"
import * as Tokens from "@parley/registry/Tokens"
import { AUDIENCE, handClock, instance, OPERATOR, SECRET } from "./identity.ts"

const address = "192.0.2.7"
const secretMode = { agentSecret: Redacted.make(SECRET) }

const signIn = async (at: ReturnType<typeof instance>, identity = Identity.generate()) => {
  const { challenge } = await at.run(at.auth.challenge(identity.nodeId))
  const signature = Challenge.sign(identity, AUDIENCE, challenge)
  const { token } = await at.run(at.auth.prove(identity.nodeId, challenge, signature))
  return { identity, challenge, signature, token }
}

const partsOf = (token: string) =>
  token
    .split(".")
    .slice(0, 2)
    .map((part) => JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>) as [
    Record<string, unknown>,
    Record<string, unknown>
  ]

describe("a node proves its key", () => {
  test("a signed challenge becomes a token of that node", async () => {
    const at = instance()
    const { identity, token } = await signIn(at)
    expect(await at.run(at.auth.identify({ token, address }))).toEqual({ kind: "node", id: identity.nodeId })
    const [header, claims] = partsOf(token)
    expect(header["alg"]).toBe("EdDSA")
    expect(Number(claims["exp"]) - Number(claims["iat"])).toBe(Tokens.TOKEN_MS / 1_000)
    const jwks = (await at.run(at.auth.jwks)) as { keys: Array<Record<string, unknown>> }
    expect(jwks.keys.map((key) => key["kid"])).toEqual([header["kid"]])
    expect(JSON.stringify(jwks)).not.toContain('"d"')
  })

  test("once, within a minute, by that node, for that node", async () => {
    const at = instance()
    const { identity, challenge, signature } = await signIn(at)
    expect(await at.code(at.auth.prove(identity.nodeId, challenge, signature))).toBe("Invalid")

    const fresh = await at.run(at.auth.challenge(identity.nodeId))
    const other = Identity.generate()
    expect(
      await at.code(at.auth.prove(identity.nodeId, fresh.challenge, Challenge.sign(other, AUDIENCE, fresh.challenge)))
    ).toBe("Invalid")
    expect(
      await at.code(at.auth.prove(other.nodeId, fresh.challenge, Challenge.sign(other, AUDIENCE, fresh.challenge)))
    ).toBe("Invalid")
    at.clock.now += Challenge.CHALLENGE_MS
    expect(
      await at.code(
        at.auth.prove(identity.nodeId, fresh.challenge, Challenge.sign(identity, AUDIENCE, fresh.challenge))
      )
    ).toBe("Expired")
  })

  test("a challenge that another registry passes on is worth nothing", async () => {
    const at = instance()
    const identity = Identity.generate()
    const { challenge } = await at.run(at.auth.challenge(identity.nodeId))
    const relayed = Challenge.sign(identity, "http://evil.example", challenge)
    expect(await at.code(at.auth.prove(identity.nodeId, challenge, relayed))).toBe("Invalid")
    expect(Challenge.audienceOf("HTTPS://Registry.Example:443/path?x")).toBe("https://registry.example")
    expect(Challenge.audienceOf("ftp://registry.example")).toBe(undefined)
  })

  test("a challenge of another making, changed or cut, is refused before its signature is looked at", async () => {
    const at = instance()
    const identity = Identity.generate()
    const { challenge } = await at.run(at.auth.challenge(identity.nodeId))
    const own = Challenge.make(new Uint8Array(32), identity.nodeId, at.clock.now).challenge
    const changed = `${challenge.slice(0, 30)}${challenge[30] === "A" ? "B" : "A"}${challenge.slice(31)}`
    for (const text of [own, changed, challenge.slice(1), `${challenge}A`, "", "!".repeat(96)]) {
      const signature = Challenge.sign(identity, AUDIENCE, text)
      expect(await at.code(at.auth.prove(identity.nodeId, text, signature))).toBe("Invalid")
    }
    for (const signature of ["", "A", "A".repeat(86), "A".repeat(10_000), "\u0000"]) {
      expect(await at.code(at.auth.prove(identity.nodeId, challenge, signature))).toBe("Invalid")
    }
    for (const node of ["", "z6Mk", "did:key:", "x".repeat(10_000)]) {
      expect(await at.code(at.auth.challenge(node))).toBe("Invalid")
      expect(await at.code(at.auth.prove(node, challenge, "A".repeat(86)))).toBe("Invalid")
    }
  })

  test("instances that share a store and limits know each other's challenges, and use each up once", async () => {
    const clock = handClock()
    const values = new Map<string, string>()
    const shared = instance({ clock })
    const limits = Layer.succeed(Limits, await shared.run(Limits))
    const [one, two] = [instance({ clock, values, limits }), instance({ clock, values, limits })]
    const identity = Identity.generate()
    const { challenge } = await one.run(one.auth.challenge(identity.nodeId))
    const signature = Challenge.sign(identity, AUDIENCE, challenge)
    const { token } = await two.run(two.auth.prove(identity.nodeId, challenge, signature))
    expect(await one.code(one.auth.prove(identity.nodeId, challenge, signature))).toBe("Invalid")
    expect((await one.run(one.auth.identify({ token, address }))).id).toBe(identity.nodeId)
    expect(await one.run(one.auth.jwks)).toEqual(await two.run(two.auth.jwks))
  })

  test("of twenty answers at once, one counts", async () => {
    const at = instance()
    const identity = Identity.generate()
    const { challenge } = await at.run(at.auth.challenge(identity.nodeId))
    const signature = Challenge.sign(identity, AUDIENCE, challenge)
    const codes = await Promise.all(
      Array.from({ length: 20 }, () => at.code(at.auth.prove(identity.nodeId, challenge, signature)))
    )
    expect(codes.filter((each) => each === "none").length).toBe(1)
  })
})

describe("a token", () => {
  test("ends with its time, and says so", async () => {
    const at = instance()
    const { token } = await signIn(at)
    at.clock.now += Tokens.TOKEN_MS - 1
    expect(await at.code(at.auth.identify({ token, address }))).toBe("none")
    at.clock.now += Tokens.CLOCK_TOLERANCE_S * 1_000 + 1
    expect(await at.code(at.auth.identify({ token, address }))).toBe("Expired")
  })

  test("outlives the change of keys, and its key does not outlive it", async () => {
    const values = new Map<string, string>()
    const clock = handClock(Tokens.ROTATE_MS * 600 - 60_000)
    const at = instance({ values, clock })
    const first = await signIn(at)
    clock.now += 120_000
    const second = await signIn(at)
    expect(partsOf(second.token)[0]["kid"]).not.toBe(partsOf(first.token)[0]["kid"])
    // Neither memory of keys nor of tokens: an instance that has just started.
    const late = instance({ values, clock })
    expect(await late.code(late.auth.identify({ token: first.token, address }))).toBe("none")
    expect(((await late.run(late.auth.jwks)) as { keys: Array<unknown> }).keys.length).toBe(2)
    clock.now += 2 * Tokens.ROTATE_MS
    await signIn(late)
    expect([...values].filter(([name]) => name.startsWith("auth/key/")).map(([, value]) => value === "")).toEqual([
      false,
      true,
      false
    ])
  })

  test("is believed for what its signature says alone", async () => {
    const values = new Map<string, string>()
    const at = instance({ values })
    const { token } = await signIn(at)
    const [header, claims] = partsOf(token)
    const kid = String(header["kid"])
    const [, stored] = [...values].find(([name]) => name.startsWith("auth/key/"))!
    const jwk = JSON.parse(stored) as JWK
    const real = await importJWK(jwk, "EdDSA")
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
    const sign = (head: object, body: object) =>
      new SignJWT({ ...claims, ...body }).setProtectedHeader({ alg: "EdDSA", kid, typ: "JWT", ...head }).sign(real)
    // The control: made by the same hand, unchanged, it is good.
    expect(await at.code(at.auth.identify({ token: await sign({}, {}), address }))).toBe("none")

    const foreign = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true })
    const hmac = (head: object, key: string | Buffer) => {
      const text = `${encode({ alg: "HS256", typ: "JWT", ...head })}.${encode(claims)}`
      return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`
    }
    const [head, body, signature] = token.split(".") as [string, string, string]
    const seconds = Math.floor(at.clock.now / 1_000)
    const forged: Record<string, string> = {
      "alg none": new UnsecuredJWT(claims).encode(),
      "alg none with kid": `${encode({ alg: "none", kid, typ: "JWT" })}.${body}.`,
      "alg None with a signature": `${encode({ alg: "None", kid, typ: "JWT" })}.${body}.${signature}`,
      "HS256 under the public key": hmac({ kid }, Buffer.from(String(jwk.x), "base64url")),
      "HS256 under the public key's text": hmac({ kid }, String(jwk.x)),
      "HS256 under the JWK": hmac({ kid }, JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x })),
      "another's key": await new SignJWT(claims)
        .setProtectedHeader({ alg: "EdDSA", kid, typ: "JWT" })
        .sign(foreign.privateKey),
      "its own key in the header": await new SignJWT(claims)
        .setProtectedHeader({ alg: "EdDSA", kid, typ: "JWT", jwk: await exportJWK(foreign.publicKey) })
        .sign(foreign.privateKey),
      "a key set elsewhere": await new SignJWT(claims)
        .setProtectedHeader({ alg: "EdDSA", kid, typ: "JWT", jku: "http://169.254.169.254/jwks" })
        .sign(foreign.privateKey),
      "no kid": await new SignJWT(claims).setProtectedHeader({ alg: "EdDSA", typ: "JWT" }).sign(real),
      "a kid that is a path": await sign({ kid: "../../etc/passwd" }, {}),
      "a kid that is SQL": await sign({ kid: "1' OR '1'='1" }, {}),
      "a kid of the far future": await sign({ kid: "9999999999.AAAAAAAA" }, {}),
      "a kid of the right period": await sign({ kid: kid.replace(/\..*/, ".AAAAAAAA") }, {}),
      "a critical header that nobody knows": `${encode({ alg: "EdDSA", kid, typ: "JWT", crit: ["x"], x: 1 })}.${body}.${signature}`,
      "another type": await sign({ typ: "dpop+jwt" }, {}),
      "another audience": await sign({}, { aud: "parley-registry:of-somebody-else" }),
      "another issuer": await sign({}, { iss: "parley-registry:of-somebody-else" }),
      "not yet": await sign({}, { nbf: seconds + 60 }),
      "a changed body": `${head}.${encode({ ...claims, sub: Identity.generate().nodeId })}.${signature}`,
      "a cut signature": `${head}.${body}.${signature.slice(0, -2)}`,
      "two parts": `${head}.${body}`,
      "the kind of an operator": await sign({}, { kind: "operator" }),
      "no kind": await sign({}, { kind: undefined }),
      "no subject": await sign({}, { sub: undefined }),
      "a subject that is no text": await sign({}, { sub: 7 as unknown as string }),
      "no id": await sign({}, { jti: undefined }),
      "no end": await sign({}, { exp: undefined }),
      "far too long": `${token}${"A".repeat(100_000)}`
    }
    for (const [name, text] of Object.entries(forged)) {
      expect([name, await at.code(at.auth.identify({ token: text, address }))]).toEqual([name, "Invalid"])
    }
    expect(await at.code(at.auth.identify({ token: await sign({}, { exp: seconds - 60 }), address }))).toBe("Expired")
    const other = instance()
    expect(await other.code(other.auth.identify({ token, address }))).toBe("Invalid")
  })

  test("costs its signature once: the memory of it is bounded, and asks no store", async () => {
    const at = instance()
    const { token } = await signIn(at)
    await at.run(at.auth.identify({ token, address }))
    const started = performance.now()
    await at.run(Effect.forEach(Array(20_000), () => at.auth.identify({ token, address }), { discard: true }))
    // 80 µs each if every one were verified; generous, since the machine may be busy.
    expect(performance.now() - started).toBeLessThan(1_500)
  })
})

describe("the operator, and whoever says nothing", () => {
  test("the operator's token is known in every mode, and no other one like it", async () => {
    for (const options of [{}, secretMode, { open: true }]) {
      const at = instance({ options })
      expect(await at.run(at.auth.identify({ token: OPERATOR, address }))).toEqual({ kind: "operator", id: "operator" })
      for (const token of [OPERATOR.slice(1), `${OPERATOR} `, "nonsense", "."]) {
        expect(await at.code(at.auth.identify({ token, address }))).toBe("Invalid")
      }
    }
  })

  test("without a token: local where the registry is open, unknown elsewhere", async () => {
    const open = instance({ options: { open: true } })
    expect(open.auth.mode).toBe("open")
    expect(await open.run(open.auth.identify({ address }))).toEqual({ kind: "local", id: "" })
    for (const [mode, options] of [
      ["keys", {}],
      ["secret", secretMode]
    ] as const) {
      const at = instance({ options })
      expect(at.auth.mode).toBe(mode)
      expect(await at.code(at.auth.identify({ address }))).toBe("Missing")
      expect(await at.code(at.auth.identify({ token: "", address }))).toBe("Missing")
    }
  })
})

describe("AgentMesh's shared secret", () => {
  test("becomes a token of a registered agent, and of nobody else", async () => {
    const at = instance({ options: secretMode, agents: new Set(["agent-a"]) })
    const { token } = await at.run(at.auth.exchange("agent-a", SECRET, { address }))
    const principal = await at.run(at.auth.identify({ token, address }))
    expect(principal).toEqual({ kind: "agent", id: "agent-a" })
    expect(Principal.mayActFor(principal, "agent-a")).toBe(true)
    expect(Principal.mayActFor(principal, "agent-b")).toBe(false)
    expect(await at.code(at.auth.exchange("agent-b", SECRET, { address }))).toBe("Unknown")
    expect(await at.code(at.auth.exchange("agent-b", `${SECRET}!`, { address }))).toBe("Invalid")
    expect(await at.code(Authentication.actFor("agent-b", { token, address }))).toBe("Forbidden")
  })

  test("cannot speak for a node, whose id is its key", async () => {
    const node = Identity.generate().nodeId
    const at = instance({ options: secretMode, agents: new Set([node, `did:key:${node}`]) })
    expect(await at.code(at.auth.exchange(node, SECRET, { address }))).toBe("Forbidden")
    expect(await at.code(at.auth.exchange(`did:key:${node}`, SECRET, { address }))).toBe("Forbidden")
  })

  test("is nothing where none is set, not even the empty one", async () => {
    for (const options of [{}, { open: true }, { agentSecret: Redacted.make("") }]) {
      const at = instance({ options, agents: new Set(["agent-a"]) })
      for (const secret of ["", SECRET, "undefined"]) {
        expect(await at.code(at.auth.exchange("agent-a", secret, { address }))).toBe("Invalid")
      }
    }
  })

  test("is not guessed: ten wrong ones of an address, then not even the right one is looked at", async () => {
    const at = instance({ options: secretMode, agents: new Set(["agent-a", "agent-b"]) })
    const codes: Array<string> = []
    for (let i = 0; i < 12; i++) codes.push(await at.code(at.auth.exchange("agent-a", `guess ${i}`, { address })))
    expect(codes).toEqual([...Array<string>(11).fill("Invalid"), "Limited"])
    expect(await at.code(at.auth.exchange("agent-b", SECRET, { address }))).toBe("Limited")
    expect(await at.code(at.auth.exchange("agent-b", SECRET, { address: "192.0.2.8" }))).toBe("none")
    at.clock.now += 60_000
    expect(await at.code(at.auth.exchange("agent-a", SECRET, { address }))).toBe("none")
  })

  test("is not guessed from many addresses either, and the agent itself is not kept out by that", async () => {
    const at = instance({ options: secretMode, agents: new Set(["agent-a"]) })
    expect(await at.code(at.auth.exchange("agent-a", SECRET, { address }))).toBe("none")
    let limited = 0
    for (let i = 0; i < 100; i++) {
      const code = await at.code(at.auth.exchange("agent-a", "wrong", { address: `198.51.100.${i}` }))
      if (code === "Limited") limited++
    }
    expect(limited).toBe(49)
    expect(await at.code(at.auth.exchange("agent-a", SECRET, { address: "198.51.100.200" }))).toBe("Limited")
    expect(await at.code(at.auth.exchange("agent-a", SECRET, { address }))).toBe("none")
  })
})

test("a store that does not answer lets nobody in, and is asked again", async () => {
  const values = new Map<string, string>()
  const clock = handClock()
  const { token, identity } = await signIn(instance({ values, clock }))
  let down = true
  const at = instance({
    values,
    clock,
    isDown: () => down,
    options: secretMode,
    agents: new Set(["agent-a"])
  })
  expect(await at.code(at.auth.identify({ token, address }))).toBe("Unavailable")
  expect(await at.code(at.auth.challenge(identity.nodeId))).toBe("Unavailable")
  expect(await at.code(at.auth.exchange("agent-a", SECRET, { address }))).toBe("Unavailable")
  expect(await at.run(at.auth.jwks)).toEqual({ keys: [] })
  down = false
  expect(await at.code(at.auth.identify({ token, address }))).toBe("none")
  expect(await at.code(at.auth.exchange("agent-a", SECRET, { address }))).toBe("none")
})
