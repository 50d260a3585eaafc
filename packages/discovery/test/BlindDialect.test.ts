/** Verifies: what a node of a private network says by multicast is understood by members, and by nobody else; and nobody speaks for it. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import * as NodeId from "@parley/core/NodeId"
import * as Perimeter from "@parley/core/Perimeter"
import { fromSeed } from "@parley/core/testing/Seeded"
import type { TestApi } from "@parley/core/testing/TestApi"
import * as dnsPacket from "dns-packet"
import { brokenLaws } from "../../../test-support/BrokenLaws.ts"
import * as BlindDialect from "../src/internal/BlindDialect.ts"
import type { Dialect } from "../src/internal/Dialect.ts"
import { MAX_INSTANCES } from "../src/internal/ServiceCache.ts"

const seed = Number(process.env["PARLEY_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
const key = new Uint8Array(32).fill(5)
const start = 1_800_000_000_000
const { EPOCH_MS } = BlindDialect
const endpoint = { port: 7878, ips: ["10.1.2.3", "fd00::1:2"] }
const own = { own: true, services: false }
type Make = typeof BlindDialect.make

/** A packet as it leaves. */
const packetOf = ({ answers, additionals }: ReturnType<Dialect["answer"]>): Uint8Array =>
  dnsPacket.encode({ type: "response", answers, additionals })
const say = (dialect: Dialect, now: number, ttl = 120, at = endpoint) =>
  packetOf(dialect.answer(own, at, { ttl, flush: true, now }))
const hear = (dialect: Dialect, packet: Uint8Array, now: number, from = "10.1.2.3") =>
  dialect.ingest(dnsPacket.decode(Buffer.from(packet)), now, false, from)

const brief = ({ found, sound }: ReturnType<Dialect["ingest"]>) => [found.length, sound]

const suite =
  (make: Make) =>
  ({ describe: group, expect: expects, test: law }: TestApi): void => {
    const nodes = () => {
      const [ada, bob] = [Identity.generate().nodeId, Identity.generate().nodeId]
      return { ada, a: make(ada, key), bob, b: make(bob, key) }
    }
    group("a blind dialect", () => {
      law("a member hears who is there, once, and who goes", () => {
        const { a, ada, b } = nodes()
        const found = {
          source: "mDNS",
          node: ada,
          addresses: ["tcp://10.1.2.3:7878", "tcp://[fd00:0:0:0:0:0:1:2]:7878"]
        }
        expects(hear(b, say(a, start), start).found).toEqual([found])
        expects(brief(hear(b, say(a, start + 5), start + 5))).toEqual([0, true])
        expects(b.known()).toEqual([found])
        expects(hear(b, say(a, start + 9, 0), start + 9).found).toEqual([{ ...found, addresses: [], gone: true }])
        expects(b.known()).toEqual([])
      })
      law("who is not heard again is forgotten", () => {
        const { a, b } = nodes()
        hear(b, say(a, start), start)
        expects(b.expire(start + 119_000)).toEqual([])
        expects(b.expire(start + 121_000).map(({ gone }) => gone)).toEqual([true])
      })
      law("played again, an announcement does not bring back who was forgotten", () => {
        const { a, b } = nodes()
        const first = say(a, start)
        hear(b, first, start)
        expects(b.expire(start + 121_000).length).toBe(1)
        expects(hear(b, first, start + 130_000).found).toEqual([])
        expects(b.expire(start + EPOCH_MS)).toEqual([])
        expects(hear(b, say(a, start + EPOCH_MS), start + EPOCH_MS).found.length).toBe(1)
      })
      law(
        "it turns with the quarter, when the node has another name to be told by, and answers no tool of the network",
        () => {
          const { a } = nodes()
          expects(a.turn(start)).toBe(a.turn(start + EPOCH_MS - 1))
          expects(a.turn(start) === a.turn(start + EPOCH_MS)).toBe(false)
          expects(a.answersResolvers).toBe(false)
        }
      )
      law("of one packet few values are opened", () => {
        const { a, b } = nodes()
        const genuine = a.answer(own, endpoint, { ttl: 120, flush: true, now: start }).answers[1]!
        const sealed = Buffer.concat((genuine as { data: Array<Buffer> }).data)
        sealed[0] = sealed[0]! ^ 1
        const forged = { ...genuine, data: [sealed.subarray(0, 255), sealed.subarray(255)] }
        const packet = (count: number) => ({ answers: [...Array.from({ length: count }, () => forged), genuine] })
        expects(b.ingest(packet(100), start, false, "10.9.9.9").sound).toBe(false)
        expects(b.ingest(packet(3), start, false, "10.1.2.3").sound).toBe(true)
      })
      law("clocks may differ by a quarter of an hour, and questions meet answers all the same", () => {
        for (const skew of [-EPOCH_MS + 1, 0, EPOCH_MS - 1]) {
          const { a, b } = nodes()
          expects(hear(b, say(a, start + skew), start).found.length).toBe(1)
          expects(b.wanted(a.question(start + skew), start).own).toBe(true)
        }
      })
      law("a word from a clock that is far ahead does not silence the node that it names", () => {
        const { a, ada, b } = nodes()
        const ahead = make(ada, key)
        expects(hear(b, say(ahead, start + EPOCH_MS + 5, 0), start).found).toEqual([])
        expects(hear(b, say(a, start + 10), start + 10).found.length).toBe(1)
        // Set right, the clock is believed again.
        expects(hear(b, say(ahead, start + 20, 0), start + 20).found.map(({ gone }) => gone)).toEqual([true])
      })
      law("nobody without the key understands it, and nothing of the node stands in it", () => {
        const { a, ada, bob } = nodes()
        const other = make(bob, new Uint8Array(32).fill(6))
        const packet = Buffer.from(say(a, start))
        expects(brief(hear(other, packet, start))).toEqual([0, false])
        const fingerprint = NodeId.fingerprint(ada).replaceAll(":", "")
        for (const secret of [ada, fingerprint.slice(0, 8), "parley", "tcp://", "7878"])
          expects([secret, packet.includes(secret)]).toEqual([secret, false])
        for (const bytes of [NodeId.toPublicKey(ada), Uint8Array.of(10, 1, 2, 3), key])
          expects(packet.includes(bytes)).toBe(false)
        expects(other.wanted(a.question(start), start).own).toBe(false)
      })
      law("names are others in the next quarter, and never the same value is sealed twice", () => {
        const { a, b } = nodes()
        const names = [0, 1, 2, 3].map((n) => a.question(start + n * EPOCH_MS).questions[0]!.name)
        expects(new Set(names).size).toBe(4)
        const instance = (dialect: Dialect, now: number) =>
          String(dialect.answer(own, endpoint, { ttl: 120, flush: true, now }).answers[1]!.name).split(".")[0]
        const all = [instance(a, start), instance(a, start + EPOCH_MS), instance(b, start)]
        expects([new Set(all).size, instance(a, start + 1) === all[0]]).toEqual([3, true])
        expects(Buffer.from(say(a, start)).equals(Buffer.from(say(a, start)))).toBe(false)
      })
      law("all that nodes say is of one length, however many addresses they have", () => {
        const { a } = nodes()
        const many = { port: 1, ips: Array.from({ length: 16 }, (_, n) => `fd00::${n}:1`) }
        expects(say(a, start).length).toBe(say(a, start, 120, many).length)
      })
      law("played again, an announcement does not bring back who has gone, nor a goodbye remove who is there", () => {
        const { a, ada, b } = nodes()
        const first = say(a, start)
        hear(b, first, start)
        const goodbye = say(a, start + 10, 0)
        hear(b, goodbye, start + 10)
        for (const [after, packet] of [
          [20, first],
          [60_000, first],
          [EPOCH_MS - 1, first]
        ] as const)
          expects(hear(b, packet, start + after).found).toEqual([])
        expects(b.known()).toEqual([])
        hear(b, say(a, start + 100_000), start + 100_000)
        expects(hear(b, goodbye, start + 100_001, "10.9.9.9").found).toEqual([])
        expects(b.known().map(({ node }) => node)).toEqual([ada])
        // Long after, not even its key is in use any more.
        const newcomer = make(Identity.generate().nodeId, key)
        expects(brief(hear(newcomer, first, start + 3 * EPOCH_MS))).toEqual([0, false])
      })
      law(`changed anywhere, a packet says nothing for anybody (seed ${seed})`, () => {
        const { a, b } = nodes()
        hear(b, say(a, start), start)
        const [known] = b.known()
        const goodbye = a.answer(own, endpoint, { ttl: 0, flush: true, now: start + 5 })
        const txt = goodbye.answers[1]!
        const sealed = Buffer.concat((txt as { data: Array<Buffer> }).data)
        const random = fromSeed(seed)
        for (let at = 0; at < sealed.length; at++) {
          const changed = Buffer.from(sealed)
          changed[at] = changed[at]! ^ (1 << random.int(8))
          const data = [changed.subarray(0, 255), changed.subarray(255)]
          expects(b.ingest({ answers: [{ ...txt, data }] }, start + 6, false, "10.9.9.9").sound).toBe(false)
        }
        // A plain goodbye with a time to live of zero, as any tool sends it.
        for (const ttl of [0, 1])
          b.ingest({ answers: goodbye.answers.map((one) => ({ ...one, ttl, data: "" })) }, start, false, "10.9.9.9")
        expects(b.known()).toEqual([known!])
      })
      law(`whatever is heard, nothing throws and little is kept (seed ${seed})`, () => {
        const { a, b } = nodes()
        const random = fromSeed(seed)
        const packet = say(a, start)
        for (let round = 0; round < 3_000; round++) {
          const bytes = Buffer.from(packet.subarray(0, random.int(packet.length + 1)))
          for (let n = random.int(6); n > 0; n--)
            if (bytes.length > 0) bytes[random.int(bytes.length)] = random.int(256)
          let heard: ReturnType<typeof dnsPacket.decode> | undefined
          try {
            heard = dnsPacket.decode(bytes)
          } catch {
            // It is no DNS: the link's library drops it.
          }
          if (heard !== undefined) b.ingest(heard, start, false, "10.9.9.9")
        }
        const odd: ReadonlyArray<unknown> = [
          undefined,
          null,
          7,
          "x",
          [],
          [null],
          [7],
          [{}],
          [{ type: "TXT" }],
          [{ type: "TXT", name: 7 }]
        ]
        for (const answers of odd) expects(b.ingest({ answers }, start, false, "x").sound).toBe(false)
        expects(b.known().length <= 1).toBe(true)
      })
      law("members who lie fill their own place, and nobody else's", () => {
        const { a, ada, b } = nodes()
        hear(b, say(a, start), start, "10.1.2.3")
        for (let n = 0; n < MAX_INSTANCES + 50; n++) {
          const posed = make(
            NodeId.fromPublicKey(Uint8Array.from({ length: 32 }, (_, at) => (at < 2 ? (n >> (8 * at)) & 255 : 1))),
            key
          )
          hear(b, say(posed, start), start, "10.6.6.6")
        }
        expects(b.known().length).toBe(MAX_INSTANCES)
        expects(b.known().some(({ node }) => node === ada)).toBe(true)
      })
      law("addresses outside of the perimeter are not passed on", () => {
        const { a, bob } = nodes()
        const closed = make(bob, key, Perimeter.closed.allows)
        const at = { port: 1, ips: ["8.8.8.8", "10.0.0.1", "2001:db8::1"] }
        expects(hear(closed, say(a, start, 120, at), start).found.map(({ addresses }) => addresses)).toEqual([
          ["tcp://10.0.0.1:1"]
        ])
      })
    })
  }

suite(BlindDialect.make)({ describe, expect, test })

describe("planted bugs", () => {
  const broken =
    (change: (dialect: Dialect, node: NodeId.NodeId) => Partial<Dialect>): Make =>
    (node, networkKey, allows) => {
      const dialect = BlindDialect.make(node, networkKey, allows)
      return { ...dialect, ...change(dialect, node) }
    }
  const bugs: ReadonlyArray<readonly [string, string, Make]> = [
    [
      "names that do not rotate",
      "others in the next quarter",
      broken((dialect) => ({ question: () => dialect.question(start) }))
    ],
    [
      "the NodeId in clear beside the sealed value",
      "nothing of the node stands in it",
      broken((dialect, node) => ({
        answer: (...args) => {
          const { additionals, answers } = dialect.answer(...args)
          return { answers, additionals: [...additionals, { type: "TXT", name: "x.local", data: `id=${node}` }] }
        }
      }))
    ],
    [
      "old words that count again",
      "played again",
      (node, networkKey, allows) => {
        let dialect = BlindDialect.make(node, networkKey, allows)
        return {
          ...dialect,
          answer: (...args) => dialect.answer(...args),
          known: () => dialect.known(),
          ingest: (...args) => {
            const fresh = BlindDialect.make(node, networkKey, allows)
            const learned = fresh.ingest(...args)
            if (learned.sound) dialect = fresh
            return learned
          }
        }
      }
    ]
  ]
  for (const [what, law, make] of bugs) {
    test(`${what}: caught`, async () => {
      expect((await brokenLaws(suite(make))).some((failed) => failed.includes(law))).toBe(true)
    })
  }
})
