/** What somebody with the wrong identity, or somebody else's, can do at a running registry: nothing, and it is told so. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { createHmac, randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Identity from "@parley/core/Identity"
import * as Receipt from "@parley/core/Receipt"
import * as Challenge from "@parley/registry/Challenge"
import { agent, type Answer, ask, friend, member, node, OPERATOR, SECRET, start, type Started } from "./hostile.ts"
import { raw, statusOf } from "./http.ts"

let at: Started
let helper: ReturnType<typeof friend>
const impersonated = Identity.generate()
let pages = ""
beforeAll(async () => {
  // What is served, what lies beside it, and links from the one to the other.
  pages = mkdtempSync(join(tmpdir(), "parley-pages-"))
  mkdirSync(join(pages, "dist", "assets"), { recursive: true })
  writeFileSync(join(pages, "dist", "index.html"), "the page")
  writeFileSync(join(pages, "dist", "assets", "app.js"), "the script")
  writeFileSync(join(pages, "private.txt"), "not for the world")
  symlinkSync(join(pages, "private.txt"), join(pages, "dist", "link.txt"))
  symlinkSync(pages, join(pages, "dist", "up"))
  at = await start({
    secret: true,
    node: impersonated.nodeId,
    seeds: [impersonated.nodeId],
    dashboard: join(pages, "dist")
  })
  helper = friend(at)
}, 30_000)
afterAll(async () => {
  await helper.end()
  await at.stop()
  rmSync(pages, { recursive: true, force: true })
}, 30_000)

/** All tokens, signatures and secrets of these tests: nothing of it may be printed. */
const secrets: Array<string> = []
const signIn = async (identity = Identity.generate()) => {
  const one = await node(at, identity)
  secrets.push(one.token, one.proof.signature)
  return one
}
const enlist = async (id: string) => {
  const one = await agent(at, id)
  secrets.push(one.token)
  return one
}

/** A refusal: this status, as a problem that says why, and no stack or path. */
const refused = (name: string, answer: Answer, ...statuses: ReadonlyArray<number>) => {
  expect([name, statuses.includes(answer.status) ? "refused" : `${answer.status} ${answer.body}`]).toEqual([
    name,
    "refused"
  ])
  expect([name, answer.type]).toEqual([name, expect.stringContaining("application/problem+json") as unknown as string])
  const problem = JSON.parse(answer.body) as { readonly [name: string]: unknown }
  expect([name, problem["status"], typeof problem["title"]]).toEqual([name, answer.status, "string"])
  expect([name, /\n\s+at |\/(src|node_modules)\//.test(answer.body)]).toEqual([name, false])
}

let seq = Date.now()
const record = (identity: Identity.Identity["Service"], name = "a") =>
  AgentRecord.make(identity, {
    name,
    seq: seq++,
    issuedAt: Date.now(),
    addresses: ["tcp://192.0.2.1:7878"],
    capabilities: []
  })
const hash = CanonicalJson.hash({ a: 1 })
const receipt = (executor: Identity.Identity["Service"], caller: string, task = randomBytes(16).toString("hex")) =>
  Receipt.make(executor, {
    task,
    capability: "text.count@1.0.0",
    caller: caller as Receipt.Fields["caller"],
    inputHash: hash,
    outputHash: hash,
    startedAt: Date.now() - 5,
    finishedAt: Date.now()
  })

describe("pages and sizes", () => {
  test("a page in the browser of an agent's machine cannot act for the agent, whatever name it came by", async () => {
    const { id } = await enlist("paged")
    const body = JSON.stringify({ task_id: "t", event_type: "failed", from_agent: id, to_agent: "x" })
    const post = async (headers: string) =>
      statusOf(
        (
          await raw(
            at.port,
            `POST /traces HTTP/1.1\r\n${headers}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`
          )
        ).text
      )
    const json = "Content-Type: application/json\r\n"
    const rebound = "Host: evil.example\r\nOrigin: http://evil.example\r\n"
    // The SDK, which is no page, and sends no token either.
    expect(await post(`Host: 127.0.0.1\r\n${json}`)).toBe(201)
    expect(await post(rebound + json)).toBe(401)
    for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
      const status = await post(`Host: 127.0.0.1\r\nOrigin: https://evil.example\r\nContent-Type: ${type}\r\n`)
      expect([type, status >= 400 && status < 500]).toEqual([type, true])
    }
    const beat = '{"type":"heartbeat"}'
    const frame = Buffer.concat([Buffer.from([0x81, 0x80 + beat.length, 0, 0, 0, 0]), Buffer.from(beat)])
    const socket = async (headers: string) => {
      const request =
        `GET /ws/heartbeat/${id} HTTP/1.1\r\n${headers}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
      return (await raw(at.port, request, { more: frame, waitMs: 600 })).text
    }
    expect(await socket("Host: 127.0.0.1\r\n")).toContain("heartbeat_ack")
    expect(await socket(rebound)).toContain("Say who you are")
  })

  test("manifests and traces that everybody would be sent are as small as records and frames", async () => {
    const { id, manifest, token } = await enlist("large")
    const schema = (length: number) => ({
      ...manifest,
      agent_id: "larger",
      capabilities: [{ name: "a", description: "", input_schema: { text: "x".repeat(length) } }]
    })
    expect((await ask(at, "POST", "/agents/register", { body: schema(64_000) })).status).toBe(200)
    refused("manifest", await ask(at, "POST", "/agents/register", { body: schema(65_536) }), 413)
    const trace = (length: number) => ({
      token,
      body: { task_id: "t", event_type: "failed", from_agent: id, to_agent: id, payload: { text: "x".repeat(length) } }
    })
    expect((await ask(at, "POST", "/traces", trace(65_000))).status).toBe(201)
    refused("trace", await ask(at, "POST", "/traces", trace(65_536)), 413)
  })
})

describe("registering what is not one's own", () => {
  test("an agent acts for itself alone", async () => {
    const [own, other] = [await enlist("own"), await enlist("other")]
    const { token } = own
    const forOther = await ask(at, "POST", "/agents/register", { token, body: other.manifest })
    refused("another's registration", forOther, 403)
    expect(member(forOther, "detail")).toBe("Token agent_id does not match manifest.agent_id")
    const leave = await ask(at, "DELETE", "/agents/other", { token })
    refused("another's leaving", leave, 403)
    expect(member(leave, "detail")).toBe("Cannot deregister another agent")
    refused("leaving without a token", await ask(at, "DELETE", "/agents/other"), 401)
    const trace = { task_id: "t", event_type: "completed", from_agent: "other", to_agent: "somebody", payload: {} }
    refused("another's trace", await ask(at, "POST", "/traces", { token, body: trace }), 403)
    refused(
      "a stranger's trace",
      await ask(at, "POST", "/traces", { body: { ...trace, from_agent: "nobody", to_agent: "none" } }),
      401
    )
    expect((await ask(at, "GET", "/agents/other")).status).toBe(200)
  })

  test("without the secret a registration is seen by nobody, and takes nobody's place", async () => {
    const manifest = { agent_id: "sneaky", name: "sneaky", endpoint: "ws://localhost:9999" }
    expect((await ask(at, "POST", "/agents/register", { body: manifest })).status).toBe(200)
    refused("a registration that waits", await ask(at, "GET", "/agents/sneaky"), 404)
    expect((await ask(at, "GET", "/agents")).body).not.toContain("sneaky")
    refused(
      "a wrong secret",
      await ask(at, "POST", "/auth/token", { body: { agent_id: "sneaky", secret: "wrong" } }),
      401
    )
    refused("still waiting", await ask(at, "GET", "/agents/sneaky"), 404)
    const { manifest: known } = await enlist("placed")
    const displaced = await ask(at, "POST", "/agents/register", { body: { ...known, endpoint: "ws://evil.example:1" } })
    refused("the place of one that is there", displaced, 409)
    expect((await ask(at, "GET", "/agents/placed")).body).not.toContain("evil.example")
    refused(
      "a token for nobody",
      await ask(at, "POST", "/auth/token", { body: { agent_id: "nobody", secret: SECRET } }),
      404
    )
  })

  test("a node's id belongs to its key: no secret, token or signature of others speaks for it", async () => {
    const victim = await signIn()
    const { token } = await enlist("thief")
    const manifest = { agent_id: victim.id, name: "x", endpoint: "ws://localhost:1" }
    refused("by registration", await ask(at, "POST", "/agents/register", { body: manifest }), 403)
    refused("by registration with a token", await ask(at, "POST", "/agents/register", { token, body: manifest }), 403)
    refused(
      "by the secret",
      await ask(at, "POST", "/auth/token", { body: { agent_id: victim.id, secret: SECRET } }),
      403
    )
    const thief = await signIn()
    refused("by another's record", await ask(at, "PUT", `/nodes/${victim.id}`, { body: record(thief.identity) }), 403)
    const forged = { ...record(thief.identity), node: victim.id }
    refused("by a forged record", await ask(at, "PUT", `/nodes/${victim.id}`, { body: forged }), 403, 422)
    const changed = { ...record(victim.identity), name: "changed" }
    refused("by a changed record", await ask(at, "PUT", `/nodes/${victim.id}`, { body: changed }), 403, 422)
    const first = record(victim.identity)
    const second = record(victim.identity)
    expect((await ask(at, "PUT", `/nodes/${victim.id}`, { body: second })).status).toBe(200)
    // Its record can be read by everybody; that it is still there, only the node says.
    refused("kept alive by nobody", await ask(at, "PUT", `/nodes/${victim.id}`, { body: second }), 401)
    refused(
      "kept alive by another",
      await ask(at, "PUT", `/nodes/${victim.id}`, { token: thief.token, body: second }),
      403
    )
    expect((await ask(at, "PUT", `/nodes/${victim.id}`, { token: victim.token, body: second })).status).toBe(200)
    refused("by an older record", await ask(at, "PUT", `/nodes/${victim.id}`, { body: first }), 409)
    const grave = AgentRecord.tombstone(thief.identity, seq++, Date.now())
    refused("by another's tombstone", await ask(at, "PUT", `/nodes/${victim.id}`, { body: grave }), 403)
    expect((await ask(at, "GET", `/nodes/${victim.id}`)).status).toBe(200)
  })

  test("another's heartbeat is nobody's", async () => {
    await enlist("beating")
    const { token } = await enlist("not-beating")
    const upgrade = (path: string, authorization = "") =>
      raw(
        at.port,
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
          `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${authorization}\r\n`,
        { waitMs: 500 }
      )
    expect(statusOf((await upgrade("/ws/heartbeat/beating", `Authorization: Bearer ${token}\r\n`)).text)).toBe(403)
    expect(statusOf((await upgrade(`/ws/heartbeat/beating?token=${token}`)).text)).toBe(403)
    expect(statusOf((await upgrade("/ws/heartbeat/beating?token=nonsense")).text)).toBe(401)
    expect(statusOf((await upgrade("/ws/heartbeat/nobody")).text)).toBe(403)
    expect(statusOf((await upgrade("/ws/events", "Origin: https://evil.example\r\n")).text)).toBe(403)
  })
})

describe("reports that are not true", () => {
  test("where the secret alone lets in and no seeds are named, nobody founds a reputation with keys of his own", async () => {
    const closed = await start({ secret: true })
    try {
      const [executor, caller] = [await node(closed), await node(closed)]
      const honest = await agent(closed, "honest")
      await ask(closed, "PUT", `/nodes/${executor.id}`, { body: record(executor.identity) })
      const given = receipt(executor.identity, caller.id)
      const report = { agent_id: executor.id, capability: "text.count", task_id: given.task, success: true, quality: 1 }
      const send = (body: object) => ask(closed, "POST", "/trust/reports", { token: caller.token, body })
      refused("with a receipt", await send({ ...report, receipt: given }), 403)
      refused("without one", await send(report), 403)
      const words = (token: string, about: string) =>
        ask(closed, "POST", `/trust/update?agent_id=${about}&success=false&quality=0`, { token })
      refused("AgentMesh's", await words(caller.token, honest.id), 403)
      const other = await agent(closed, "other")
      expect((await words(other.token, honest.id)).status).toBe(200)
    } finally {
      await closed.stop()
    }
  })

  test("each is refused, and changes nothing", async () => {
    const [executor, caller, third] = [await signIn(), await signIn(), await signIn()]
    for (const one of [executor, caller, third])
      await ask(at, "PUT", `/nodes/${one.id}`, { body: record(one.identity) })
    const good = receipt(executor.identity, caller.id)
    const report = (given: Receipt.Receipt, more: object = {}) => ({
      receipt: given,
      agent_id: executor.id,
      capability: "text.count",
      task_id: given.task,
      success: true,
      quality: 1,
      ...more
    })
    const send = (token: string | undefined, body: unknown) => ask(at, "POST", "/trust/reports", { token, body })
    const before = (await ask(at, "GET", `/agents/${executor.id}`)).body

    refused("without a token", await send(undefined, report(good)), 401)
    refused("by a third party", await send(third.token, report(good)), 403)
    refused("by the executor itself", await send(executor.token, report(good)), 403, 409)
    refused("about oneself", await send(executor.token, report(receipt(executor.identity, executor.id))), 403, 409, 422)
    refused("with a changed receipt", await send(caller.token, report({ ...good, outputHash: "0".repeat(64) })), 422)
    refused(
      "with a receipt that another signed",
      await send(caller.token, report({ ...receipt(third.identity, caller.id), executor: executor.id })),
      422
    )
    refused("about another than who did it", await send(caller.token, report(good, { agent_id: third.id })), 422)
    refused("for another task", await send(caller.token, report(good, { task_id: "0".repeat(32) })), 422)
    refused("for another capability", await send(caller.token, report(good, { capability: "text.other" })), 422)
    refused("with a quality beyond", await send(caller.token, report(good, { quality: 1.5 })), 422)
    refused("with no number", await send(caller.token, report(good, { quality: "1" })), 422)
    refused(
      "about nobody",
      await send(caller.token, { agent_id: "nobody", capability: "a", task_id: "t", success: true, quality: 1 }),
      404
    )
    refused(
      "AgentMesh's, without a token",
      await ask(at, "POST", `/trust/update?agent_id=${executor.id}&success=true&quality=1`),
      401
    )
    refused(
      "AgentMesh's, NaN",
      await ask(at, "POST", `/trust/update?agent_id=${executor.id}&success=true&quality=NaN`, { token: caller.token }),
      422
    )
    refused(
      "AgentMesh's, about oneself",
      await ask(at, "POST", `/trust/update?agent_id=${executor.id}&success=true&quality=1`, { token: executor.token }),
      409
    )
    expect((await ask(at, "GET", `/agents/${executor.id}`)).body).toBe(before)

    expect((await send(caller.token, report(good))).status).toBe(200)
    refused("a second time", await send(caller.token, report(good)), 409)
  })
})

describe("signing in as somebody else", () => {
  test("a proof counts once, for the node and the registry that it names", async () => {
    const one = await signIn()
    refused("replayed", await ask(at, "POST", "/auth/proof", { body: one.proof }), 401)
    const fresh = String(member(await ask(at, "POST", "/auth/challenge", { body: { node: one.id } }), "challenge"))
    const relayed = Challenge.sign(one.identity, "http://127.0.0.1:1", fresh)
    refused(
      "relayed by another registry",
      await ask(at, "POST", "/auth/proof", { body: { node: one.id, challenge: fresh, signature: relayed } }),
      401
    )
    const stranger = Identity.generate()
    const forged = Challenge.sign(stranger, at.url, fresh)
    refused(
      "signed by another",
      await ask(at, "POST", "/auth/proof", { body: { node: one.id, challenge: fresh, signature: forged } }),
      401
    )
    const moved = Challenge.sign(stranger, at.url, fresh)
    refused(
      "of another's challenge",
      await ask(at, "POST", "/auth/proof", { body: { node: stranger.nodeId, challenge: fresh, signature: moved } }),
      401
    )
    const spoofed = {
      node: one.id,
      challenge: fresh,
      signature: Challenge.sign(one.identity, "http://evil.example", fresh)
    }
    const { text } = await raw(
      at.port,
      `POST /auth/proof HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nContent-Type: application/json\r\n` +
        `Connection: close\r\nContent-Length: ${JSON.stringify(spoofed).length}\r\n\r\n${JSON.stringify(spoofed)}`
    )
    expect(statusOf(text)).toBe(401)
  })

  test("a token that is none opens nothing, wherever it is shown", async () => {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
    const { good, ...others } = at.tokens
    secrets.push(good!)
    const [, claims = ""] = good!.split(".")
    const jwks = JSON.parse((await ask(at, "GET", "/.well-known/jwks.json")).body) as {
      keys: ReadonlyArray<Record<string, string>>
    }
    expect(Object.keys(jwks.keys[0]!).sort()).toEqual(["alg", "crv", "kid", "kty", "use", "x"])
    const { kid = "", x = "" } = jwks.keys[0]!
    const confused = (key: Buffer | string) => {
      const head = `${encode({ alg: "HS256", kid, typ: "JWT" })}.${claims}`
      return `${head}.${createHmac("sha256", key).update(head).digest("base64url")}`
    }
    const tokens: Record<string, string> = {
      ...others,
      "alg none": `${encode({ alg: "none", kid, typ: "JWT" })}.${claims}.`,
      "HS256 under the public key": confused(Buffer.from(x, "base64url")),
      "HS256 under its text": confused(x),
      "a kid that is a path": `${encode({ alg: "EdDSA", kid: "../../../../dev/null" })}.${claims}.${"A".repeat(86)}`,
      "a key set elsewhere": `${encode({ alg: "EdDSA", kid, jku: "http://169.254.169.254/" })}.${claims}.${"A".repeat(86)}`,
      "the agents' secret": SECRET,
      "almost the operator's": OPERATOR.slice(0, -1),
      "a long one": "A".repeat(5_000),
      dots: "...."
    }
    // The control: the same key, the right claims.
    expect((await ask(at, "GET", "/memory", { token: good })).status).toBe(200)
    for (const [name, token] of Object.entries(tokens)) {
      if (token.length > 50) secrets.push(token)
      for (const [method, path, body] of [
        ["GET", "/memory", undefined],
        ["PUT", "/memory/a/b", { value: 1 }],
        ["DELETE", `/agents/${impersonated.nodeId}`, undefined],
        ["POST", "/trust/update?agent_id=a&success=true", undefined]
      ] as const) {
        refused(`${name}: ${method} ${path}`, await ask(at, method, path, { token, body }), 401)
      }
      const query = await ask(at, "GET", `/memory?token=${encodeURIComponent(token)}`)
      refused(`${name}: in the URL`, query, 401, 414)
    }
    expect((await ask(at, "GET", "/memory", { token: OPERATOR })).status).toBe(200)
  })

  test("guessing the secret ends soon, and everybody else of that address can still read", async () => {
    const own = await enlist("guessed")
    const statuses: Array<number> = []
    for (let i = 0; i < 20; i++) {
      statuses.push(
        (await ask(at, "POST", "/auth/token", { body: { agent_id: "guessed", secret: `guess-${i}` } })).status
      )
    }
    expect(statuses[0]).toBe(401)
    expect(statuses.at(-1)).toBe(429)
    expect((await ask(at, "GET", "/memory", { token: own.token })).status).toBe(200)
  })
})

test("text that has no canonical JSON, and numbers that JSON has none for, are refused before they reach the log", async () => {
  const { token } = await signIn()
  for (const text of ["\\ud800", "\\udfff\\ud83d"]) {
    for (const name of ["capability", "task_id"]) {
      const report = {
        agent_id: impersonated.nodeId,
        capability: "a",
        task_id: "t",
        success: true,
        quality: 1,
        [name]: "?"
      }
      const body = JSON.stringify(report).replace('"?"', `"${text}"`)
      const headers = { "content-type": "application/json" }
      refused(`${name} ${text}`, await ask(at, "POST", "/trust/reports", { token, body, headers }), 422)
    }
  }
  const headers = { "content-type": "application/json" }
  for (const body of [
    '{"top_k":1e400}',
    '{"max_cost_usd":-1e400}',
    '{"tags":[1e400]}',
    '{"capability_name":{"a":1e400}}'
  ]) {
    refused(body, await ask(at, "POST", "/discover", { body, headers }), 422)
  }
})

describe("files that are not for the world", () => {
  test("no path leads out of the dashboard's folder, nor does a link in it", async () => {
    expect((await ask(at, "GET", "/assets/app.js")).body).toBe("the script")
    expect((await ask(at, "GET", "/")).body).toBe("the page")
    for (const path of [
      "/../private.txt",
      "/..%2fprivate.txt",
      "/%2e%2e/private.txt",
      "/%2e%2e%2fprivate.txt",
      "/%252e%252e%252fprivate.txt",
      "/..\\private.txt",
      "/..%5cprivate.txt",
      "/....//private.txt",
      "//private.txt",
      "/assets/../../private.txt",
      "/ui/../../private.txt",
      "/link.txt",
      "/up/private.txt",
      "/assets/app.js%00.txt",
      "/%c0%ae%c0%ae/private.txt",
      `/${pages}/private.txt`,
      `/file://${pages}/private.txt`,
      "/%",
      "/etc/passwd",
      "/.git/config"
    ]) {
      const { text } = await raw(at.port, `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`)
      const isRefused = statusOf(text) >= 400 && statusOf(text) < 500
      expect([path, isRefused || text.endsWith("the page")]).toEqual([path, true])
      expect([path, text.includes("not for the world")]).toEqual([path, false])
    }
  })
})

test("meanwhile a friend was served without a pause, and nothing secret was printed", async () => {
  const { served, refused: missed, p95 } = await helper.end()
  expect(missed).toBe(0)
  expect(served).toBeGreaterThan(20)
  expect(p95).toBeLessThan(2_500)
  for (const secret of [SECRET, OPERATOR, ...secrets]) {
    expect([secret.slice(0, 12), at.output().includes(secret)]).toEqual([secret.slice(0, 12), false])
  }
})
