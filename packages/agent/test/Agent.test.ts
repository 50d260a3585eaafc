import { afterEach, describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Schema from "effect/Schema"
import { Agent } from "@parley/agent"
import * as Capability from "@parley/core/Capability"
import { NodeError } from "@parley/core/NodeError"

const started: Array<Agent.Agent> = []

/** An agent on loopback that neither asks the local network nor outlives its test. */
const start = async (options: Agent.Options = {}): Promise<Agent.Agent> => {
  const agent = await Agent.start({ mdns: false, host: "127.0.0.1", log: "None", ...options })
  started.push(agent)
  return agent
}

const pair = async (options: Agent.Options = {}) => {
  const ada = await start({ name: "ada" })
  const bob = await start({ name: "bob", peers: ada.addresses, ...options })
  return { ada, bob }
}

/** A promise and what fulfils it. */
const signal = <A = void>() => {
  let done: (value: A) => void = () => undefined
  const promise = new Promise<A>((resolve) => {
    done = resolve
  })
  return { promise, done }
}

const reasonOf = async (failing: Promise<unknown>): Promise<NodeError["reason"]> => {
  const error = await failing.then(
    () => undefined,
    (cause: unknown) => cause
  )
  if (!(error instanceof NodeError)) throw new Error(`not a NodeError: ${String(error)}`)
  return error.reason
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((agent) => agent.close()))
})

describe("Agent", () => {
  test("limits of its transport are an option", async () => {
    const ada = await start({ limits: { maxConnectionsPerAddress: 1 } })
    await ada.serve("text.echo@1.0.0", ({ text }) => ({ text }))
    const to = ada.addresses[0]!
    const [bob, eve] = [await start(), await start()]
    expect(await bob.call("text.echo@1.0.0", { text: "first" }, { to })).toEqual({ text: "first" })
    expect((await reasonOf(eve.call("text.echo@1.0.0", { text: "second" }, { to })))._tag).toBe("Unreachable")
  })

  test("the ten lines", async () => {
    const agent = await start({ name: "ada" })
    await agent.serve("text.summarize@1.2.0", async ({ text }) => ({ summary: text.slice(0, 5) }))
    const other = await start({ name: "bob", peers: agent.addresses })
    await agent.serve("text.sentiment@2.0.0", () => ({ label: "positive" }))
    await agent.serve("text.write@1.0.0", async function* ({ topic }) {
      yield { text: `on ${topic}: ` }
      yield { text: "all of it" }
    })
    const { summary } = await agent.call("text.summarize@^1", { text: "summary of it" })
    expect(summary).toBe("summa")
    const verdict = await other.ask("text.sentiment@^2", { text: "…" }, { select: "top-5", aggregate: "majority-vote" })
    expect(verdict.status).toBe("reached")
    expect(verdict.value).toEqual({ label: "positive" })
    expect(verdict.dissent).toEqual([])
    const chunks: Array<string> = []
    for await (const chunk of agent.stream("text.write@^1", { topic: "mesh" })) chunks.push(chunk.text)
    expect(chunks).toEqual(["on mesh: ", "all of it"])
  })

  test("two agents find each other, call, and know who answered", async () => {
    const { ada, bob } = await pair()
    const callers: Array<string> = []
    await ada.serve(
      "text.count@1.0.0",
      ({ text }, task) => {
        callers.push(task.caller)
        return text.length
      },
      { description: "counts characters", tags: ["text"] }
    )
    expect(await bob.call("text.count", { text: "four" })).toBe(4)
    expect(callers).toEqual([bob.nodeId])
    const answered = await bob.request("text.count@^1", { text: "12" }, { receipt: true })
    expect(answered.peer).toBe(ada.nodeId)
    expect(answered.output).toBe(2)
    expect(answered.receipt?.caller).toBe(bob.nodeId)
    const [match] = await bob.discover("characters")
    expect(match?.node).toBe(ada.nodeId)
    expect((await bob.discover("text.*"))[0]?.capability.name).toBe("text.count")
    expect((await bob.peers()).map(({ node }) => node)).toEqual([ada.nodeId])
    expect((await ada.status()).serving[0]).toMatchObject({ id: "text.count@1.0.0", done: 2 })
  })

  test("a typed capability is served, called and checked", async () => {
    const Double = Capability.make("math.double", {
      version: "1.0.0",
      input: Schema.Struct({ n: Schema.Finite }),
      output: Schema.Finite
    })
    const Upto = Capability.stream("math.upto", {
      version: "1.0.0",
      input: Schema.Struct({ n: Schema.Finite }),
      output: Schema.Finite
    })
    const { ada, bob } = await pair()
    await ada.serve(Double, ({ n }) => n * 2)
    await ada.serve(Upto, async function* ({ n }) {
      for (let i = 1; i <= n; i++) yield i
    })
    expect(await bob.call(Double, { n: 21 })).toBe(42)
    const numbers: Array<number> = []
    for await (const number of bob.stream(Upto, { n: 3 })) numbers.push(number)
    expect(numbers).toEqual([1, 2, 3])
    const reason = await reasonOf(bob.call("math.double", { n: "many" }))
    expect(reason._tag).toBe("InputInvalid")
  })

  test("what a handler throws comes with its name and message", async () => {
    const { ada, bob } = await pair()
    await ada.serve("job.fail@1.0.0", () => {
      throw new TypeError("not today")
    })
    const reason = await reasonOf(bob.call("job.fail", {}))
    expect(reason).toMatchObject({ _tag: "HandlerFailed", peer: ada.nodeId, code: "TypeError", detail: "not today" })
  })

  test("nobody serves it: the error lists what was tried", async () => {
    const { ada, bob } = await pair()
    await ada.serve("noise.thing@1.0.0", () => null)
    const reason = await reasonOf(bob.call("nosuch.thing", {}, { deadline: "2 seconds" }))
    expect(reason._tag).toBe("NoPeer")
    if (reason._tag === "NoPeer") expect(reason.tried.length).toBeGreaterThan(0)
  })

  test("an aborted signal cancels at the executor and throws its reason", async () => {
    const { ada, bob } = await pair()
    const begun = signal()
    const cancelled = signal<boolean>()
    await ada.serve("job.long@1.0.0", (_input, task) => {
      begun.done()
      return new Promise((resolve) => {
        task.signal.addEventListener("abort", () => {
          cancelled.done(true)
          resolve(null)
        })
      })
    })
    const controller = new AbortController()
    const calling = bob.call("job.long", {}, { signal: controller.signal })
    await begun.promise
    controller.abort(new Error("changed my mind"))
    const error = await calling.catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(Error)
    expect((error as Error).message).toBe("changed my mind")
    expect(await cancelled.promise).toBe(true)
    const before = await bob
      .call("job.long", {}, { signal: AbortSignal.abort("early") })
      .catch((cause: unknown) => cause)
    expect(before).toBe("early")
  })

  test("the deadline aborts the handler", async () => {
    const { ada, bob } = await pair()
    const cancelled = signal<boolean>()
    await ada.serve(
      "job.long@1.0.0",
      (_input, task) =>
        new Promise((resolve) => {
          task.signal.addEventListener("abort", () => {
            cancelled.done(true)
            resolve(null)
          })
        })
    )
    const reason = await reasonOf(bob.call("job.long", {}, { deadline: 1_000 }))
    expect(reason._tag).toBe("DeadlineExceeded")
    expect(await cancelled.promise).toBe(true)
  })

  test("leaving a stream's loop ends the generator", async () => {
    const { ada, bob } = await pair()
    const ended = signal<boolean>()
    await ada.serve("count.up@1.0.0", async function* () {
      try {
        for (let i = 0; ; i++) yield i
      } finally {
        ended.done(true)
      }
    })
    for await (const number of bob.stream("count.up", {})) if (number === 5) break
    expect(await ended.promise).toBe(true)
  })

  test("several are asked, and who says something else is named", async () => {
    const ada = await start({ name: "ada" })
    const others = [
      await start({ name: "bob", peers: ada.addresses }),
      await start({ name: "carol", peers: ada.addresses })
    ]
    const asker = await start({ name: "dora", peers: [ada, ...others].flatMap(({ addresses }) => addresses) })
    const [bob, carol] = others
    await ada.serve("sum.up@1.0.0", () => 3)
    await bob?.serve("sum.up@1.0.0", () => 3)
    await carol?.serve("sum.up@1.0.0", () => 4)
    const verdict = await asker.ask("sum.up@^1", [1, 2], { select: "all", aggregate: "majority-vote" })
    expect(verdict.status).toBe("reached")
    expect(verdict.value).toBe(3)
    const events: Array<string> = []
    for await (const event of asker.answers("sum.up@^1", [1, 2], { select: "all", aggregate: "ensemble" })) {
      events.push(event._tag)
    }
    expect(events[0]).toBe("Invited")
    expect(events.at(-1)).toBe("Verdict")
    expect(events.filter((tag) => tag === "Answer")).toHaveLength(3)
  })

  test("messages on a topic reach who subscribed", async () => {
    const { ada, bob } = await pair()
    await bob.call("nobody.there", {}, { deadline: "1 second" }).catch(() => undefined)
    const controller = new AbortController()
    const messages = ada.subscribe("news", { signal: controller.signal })[Symbol.asyncIterator]()
    // A subscription travels; what was published before it came is not delivered.
    let handed = 0
    while (handed === 0) {
      handed = await bob.publish("news", { text: "hello" })
      await new Promise((resolve) => setImmediate(resolve))
    }
    const first = await messages.next()
    expect(first.value).toMatchObject({ topic: "news", from: bob.nodeId, data: { text: "hello" } })
    controller.abort()
    expect((await messages.next()).done).toBe(true)
  })

  test("a capability is taken back, and its name can be used again", async () => {
    const agent = await start()
    const serving = await agent.serve("a.b@1.0.0", () => 1)
    expect(serving.id).toBe("a.b@1.0.0")
    expect((await reasonOf(agent.serve("a.b@1.0.0", () => 2)))._tag).toBe("CannotServe")
    await serving.stop()
    await agent.serve("a.b@1.0.0", () => 3)
    expect(await agent.call("a.b", {})).toBe(3)
  })

  test("a name that is none is refused in words", async () => {
    const agent = await start()
    const reason = await reasonOf(agent.serve("Not A Name@1.0.0", () => 1))
    expect(reason).toMatchObject({ _tag: "CannotServe", capability: "Not A Name@1.0.0" })
  })

  test("identity and trust stay in their files", async () => {
    const home = mkdtempSync(join(tmpdir(), "parley-agent-"))
    try {
      const files = { identity: join(home, "identity.json"), trust: join(home, "trust.json") }
      const ada = await start({ name: "ada" })
      await ada.serve("a.b@1.0.0", () => 1)
      const first = await start({ ...files, peers: ada.addresses })
      await first.call("a.b", {})
      await first.close()
      expect(statSync(files.trust).mode & 0o777).toBe(0o600)
      const kept = JSON.parse(readFileSync(files.trust, "utf8"))
      expect(kept.entries[0]).toMatchObject({ node: ada.nodeId, capability: "a.b", samples: 1 })
      const second = await start({ ...files, peers: ada.addresses })
      expect(second.nodeId).toBe(first.nodeId)
      expect((await second.status()).trust[0]?.value).toBeCloseTo(0.55)
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  })

  test("two agents of one machine are two, a seed is one", async () => {
    const [one, two] = [await start(), await start()]
    expect(one.nodeId).not.toBe(two.nodeId)
    const seed = new Uint8Array(32).fill(7)
    const three = await start({ identity: seed })
    await three.close()
    expect((await start({ identity: seed })).nodeId).toBe(three.nodeId)
    expect(three.did).toBe(`did:key:${three.nodeId}`)
    expect(three.fingerprint).toMatch(/^([0-9a-f]{4}:){7}[0-9a-f]{4}$/)
  })

  test("a port in use is told at the start", async () => {
    const ada = await start()
    const port = Number(new URL(ada.addresses[0] ?? "").port)
    const error = await start({ port }).catch((cause: unknown) => cause)
    expect(error).toMatchObject({ _tag: "TransportError", reason: { _tag: "ListenFailed" } })
    expect((error as Error).message).toContain(String(port))
  })

  test("closing is safe twice, and a closed agent says so", async () => {
    const agent = await start({ name: "eve" })
    await agent.close()
    await agent.close()
    const error = await agent.call("a.b", {}).catch((cause: unknown) => cause)
    expect((error as Error).message).toContain("eve is closed")
  })

  test("without the network's key nobody gets in", async () => {
    const networkKey = new Uint8Array(32).fill(9)
    const ada = await start({ networkKey })
    await ada.serve("a.b@1.0.0", () => 1)
    const member = await start({ networkKey, peers: ada.addresses })
    expect(await member.call("a.b", {})).toBe(1)
    const stranger = await start({ peers: ada.addresses })
    const reason = await reasonOf(stranger.call("a.b", {}, { deadline: "2 seconds" }))
    expect(reason._tag).toBe("NoPeer")
    expect(await stranger.peers()).toEqual([])
  })
})
