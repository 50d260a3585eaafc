import { describe, expect, test } from "bun:test"
import { fromSeed, type Seeded } from "@parley/core/testing/Seeded"
import * as Message from "../src/internal/KrpcMessage.ts"
import * as Lookup from "../src/internal/Lookup.ts"

const seed = Number(process.env["PARLEY_SEED"] ?? Math.floor(Math.random() * 2 ** 31))

interface Simulated {
  readonly id: Buffer
  readonly host: string
  readonly port: number
  readonly knows: ReadonlyArray<Simulated>
  readonly kind: "honest" | "dead" | "liar"
}

const bytesOf = (nodes: ReadonlyArray<{ readonly id: Buffer; readonly host: string; readonly port: number }>): Buffer =>
  Buffer.concat(nodes.map(({ host, id, port }) => Buffer.concat([id, Message.endpointBytes(host, port)])))

/** A network whose nodes know their neighbours and some others, as Kademlia's tables make them. */
const makeNetwork = (random: Seeded, size: number, kindOf: (index: number) => Simulated["kind"]) => {
  const nodes: Array<Simulated & { knows: Array<Simulated> }> = []
  for (let i = 0; i < size; i++) {
    const host = `10.${i >> 16}.${(i >> 8) & 255}.${(i & 255) + 1}`
    nodes.push({ id: Buffer.from(random.bytes(20)), host, port: 6881, knows: [], kind: kindOf(i) })
  }
  for (const node of nodes) {
    const others = nodes.filter((other) => other !== node)
    const byDistance = others.sort((a, b) => Lookup.closer(node.id, a.id, b.id))
    node.knows.push(...byDistance.slice(0, Lookup.K))
    for (let i = 0; i < 60; i++) node.knows.push(random.pick(others))
  }
  return nodes
}

interface Ran {
  readonly asked: ReadonlyArray<string>
  readonly answered: ReadonlyArray<Buffer>
  readonly fakes: ReadonlySet<string>
}

/** One search through a network; liars answer with 8 nodes that are not there, next to the target. */
const run = (
  random: Seeded,
  network: ReadonlyArray<Simulated>,
  target: Buffer,
  /** Nodes that are not there answer like liars. */
  isHaunted = false
): Promise<Ran> =>
  new Promise((resolve) => {
    const at = new Map(network.map((node) => [`${node.host}:${node.port}`, node]))
    const asked: Array<string> = []
    const answered: Array<Buffer> = []
    const fakes = new Set<string>()
    const fake = () => {
      const id = Buffer.from(target)
      // Each closer than those before.
      id.writeUInt32BE((id.readUInt32BE(16) ^ (1_000_000 - fakes.size)) >>> 0, 16)
      const node = { id, host: `11.${random.int(256)}.${random.int(256)}.${1 + random.int(254)}`, port: 6881 }
      fakes.add(`${node.host}:${node.port}`)
      return node
    }
    Lookup.start({
      target,
      ownId: Buffer.alloc(20),
      message: { q: "get", a: { target } },
      seeds: [0, 1, 2].map(() => random.pick(network.filter(({ kind }) => kind !== "dead"))),
      isShared: () => false,
      socket: {
        query: (peer, _message, done) => {
          const name = `${peer.host}:${peer.port}`
          asked.push(name)
          const node = at.get(name)
          setTimeout(() => {
            if (node === undefined && isHaunted) {
              const id = Buffer.from(random.bytes(20))
              return done?.(null, { y: "r", t: id, r: { id, nodes: bytesOf(Array.from({ length: 8 }, fake)) } }, peer)
            }
            if (node === undefined || node.kind === "dead") return done?.(new Error("no answer"), null, peer)
            const known = [...node.knows].sort((a, b) => Lookup.closer(target, a.id, b.id)).slice(0, Message.MAX_NODES)
            const nodes = bytesOf(node.kind === "liar" ? Array.from({ length: 8 }, fake) : known)
            done?.(null, { y: "r", t: Buffer.alloc(8), r: { id: node.id, nodes } }, peer)
          }, random.int(3))
        }
      },
      visit: ({ r }) => void answered.push(r.id),
      done: () => resolve({ asked, answered, fakes })
    })
  })

/** Of the closest that can be found, how many were. */
const recall = (network: ReadonlyArray<Simulated>, target: Buffer, { answered }: Ran): number => {
  const live = network.filter(({ kind }) => kind === "honest")
  const closest = live.sort((a, b) => Lookup.closer(target, a.id, b.id)).slice(0, Lookup.K)
  return closest.filter(({ id }) => answered.some((other) => other.equals(id))).length / Lookup.K
}

const average = async (kindOf: (random: Seeded) => (index: number) => Simulated["kind"], rounds: number) => {
  const random = fromSeed(seed)
  const network = makeNetwork(random, 400, kindOf(random))
  const recalls: Array<number> = []
  let most = 0
  for (let round = 0; round < rounds; round++) {
    const target = Buffer.from(random.bytes(20))
    const ran = await run(random, network, target)
    recalls.push(recall(network, target, ran))
    most = Math.max(most, ran.asked.length)
    if (new Set(ran.asked).size !== ran.asked.length) throw new Error(`a node was asked twice (PARLEY_SEED=${seed})`)
  }
  return { recall: recalls.reduce((sum, one) => sum + one, 0) / rounds, most }
}

describe("a search", () => {
  test("finds the closest nodes, and asks few", async () => {
    console.log(`PARLEY_SEED=${seed}`)
    const { most, recall } = await average(() => () => "honest", 20)
    expect(recall).toBeGreaterThan(0.97)
    expect(most).toBeLessThan(60)
  })

  test("finds those that live among many dead", async () => {
    const { recall } = await average((random) => () => (random.next() < 0.4 ? "dead" : "honest"), 20)
    expect(recall).toBeGreaterThan(0.9)
  })

  test("finds honest nodes though some tell of closer ones that are not there", async () => {
    const { most, recall } = await average((random) => () => (random.next() < 0.05 ? "liar" : "honest"), 20)
    expect(recall).toBeGreaterThan(0.85)
    expect(most).toBeLessThanOrEqual(Lookup.MAX_QUERIES)
  })

  test("ends within its bound where every node tells of closer ones", async () => {
    const random = fromSeed(seed)
    const network = makeNetwork(random, 50, () => "liar")
    const began = Date.now()
    const { asked } = await run(random, network, Buffer.alloc(20, 3), true)
    expect(asked.length).toBeGreaterThan(Lookup.MAX_QUERIES / 2)
    expect(asked.length).toBeLessThanOrEqual(Lookup.MAX_QUERIES)
    expect(Date.now() - began).toBeLessThan(Lookup.LOOKUP_MS + 2_000)
  })

  test("asks one host a few times, however many nodes it is said to have", async () => {
    const target = Buffer.alloc(20, 7)
    const hosts: Array<string> = []
    let port = 1
    await new Promise<void>((resolve) => {
      Lookup.start({
        target,
        ownId: Buffer.alloc(20),
        message: { q: "get", a: { target } },
        seeds: [{ host: "10.0.0.1", port: 6881 }],
        isShared: () => false,
        socket: {
          query: (peer, _message, done) => {
            hosts.push(peer.host ?? "")
            const id = Buffer.alloc(20, 7)
            id.writeUInt16BE(port, 18)
            const nodes = Array.from({ length: 8 }, () => {
              const node = Buffer.from(target)
              node.writeUInt16BE(0x0707 ^ (60_000 - ++port), 18)
              return { id: node, host: "10.0.0.2", port }
            })
            setTimeout(() => done?.(null, { y: "r", t: id, r: { id, nodes: bytesOf(nodes) } }, peer), 0)
          }
        },
        visit: () => undefined,
        done: () => resolve()
      })
    })
    expect(hosts.filter((host) => host === "10.0.0.2").length).toBe(Lookup.MAX_OF_HOST)
  })

  test("is not held up by nodes that never answer", async () => {
    const target = Buffer.alloc(20, 9)
    const began = Date.now()
    const answered = await new Promise<number>((resolve) => {
      Lookup.start({
        target,
        ownId: Buffer.alloc(20),
        message: { q: "get", a: { target } },
        seeds: Array.from({ length: 6 }, (_, i) => ({ host: `10.0.1.${i + 1}`, port: 6881 })),
        isShared: () => false,
        socket: { query: () => undefined },
        visit: () => undefined,
        done: resolve
      })
    })
    expect(answered).toBe(0)
    expect(Date.now() - began).toBeLessThan(Lookup.LOOKUP_MS + 2_000)
  })

  test("asks others in the place of the closest ones where these never answer", async () => {
    const target = Buffer.alloc(20, 9)
    const seeds = Array.from({ length: Lookup.ALPHA + Lookup.K }, (_, i) => {
      const id = Buffer.from(target)
      id[19] = target[19]! ^ (i + 1)
      return { id, host: `10.0.1.${i + 1}`, port: 6881 }
    })
    const mute = new Set(seeds.slice(0, Lookup.ALPHA).map(({ host }) => host))
    const answered = await new Promise<number>((resolve) => {
      Lookup.start({
        target,
        ownId: Buffer.alloc(20),
        message: { q: "get", a: { target } },
        seeds,
        isShared: () => false,
        socket: {
          query: (peer, _message, done) => {
            if (mute.has(peer.host ?? "") || peer.id === undefined || peer.id === null) return
            const { id } = peer
            setTimeout(() => done?.(null, { y: "r", t: target, r: { id } }, peer), 0)
          }
        },
        visit: () => undefined,
        done: resolve
      })
    })
    expect(answered).toBe(Lookup.K)
  })

  test("tells nothing more once it was stopped", async () => {
    const target = Buffer.alloc(20, 9)
    let told = 0
    const answers: Array<() => void> = []
    const stop = Lookup.start({
      target,
      ownId: Buffer.alloc(20),
      message: { q: "get", a: { target } },
      seeds: [{ host: "10.0.0.1", port: 6881 }],
      isShared: () => false,
      socket: {
        query: (peer, _message, done) => {
          answers.push(() => done?.(null, { y: "r", t: target, r: { id: target } }, peer))
        }
      },
      visit: () => void told++,
      done: () => void told++
    })
    while (answers.length === 0) await Promise.resolve()
    stop()
    answers[0]!()
    expect(told).toBe(0)
  })
})
