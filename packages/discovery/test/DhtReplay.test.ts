/** Verifies: what is played again into a DHT brings nothing back, and makes a private network's nodes say nothing. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import * as Perimeter from "@parley/core/Perimeter"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Dht from "../src/Dht.ts"
import * as Bencode from "../src/internal/Bencode.ts"
import * as DhtNetwork from "../src/internal/DhtNetwork.ts"
import * as DhtNode from "../src/internal/DhtNode.ts"
import * as Message from "../src/internal/KrpcMessage.ts"
import * as PacketSeal from "../src/internal/PacketSeal.ts"
import { join, puppet, tap } from "./support/HostileDht.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))
const ID = Buffer.alloc(20, 0xee)

describe("a sealed datagram", () => {
  test("is opened once, as long as its nonce is remembered", () => {
    const seal = PacketSeal.make(new Uint8Array(32).fill(1))
    const other = PacketSeal.make(new Uint8Array(32).fill(1))
    const fill = (count: number): void => {
      for (let i = 0; i < count; i++) expect(seal.open(other.seal(Buffer.from("x"))) === undefined).toBe(false)
    }
    const packet = other.seal(Buffer.from("first"))
    expect(seal.open(packet)?.toString()).toBe("first")
    fill(PacketSeal.MIN_REMEMBERED - 1)
    expect(seal.open(packet)).toBe(undefined)
    fill(PacketSeal.MIN_REMEMBERED)
    // What strangers send fills nothing.
    for (let i = 0; i < 2 * PacketSeal.MIN_REMEMBERED; i++) seal.open(Buffer.alloc(PacketSeal.OVERHEAD + 1, i))
    expect(seal.open(packet)).toBe(undefined)
    fill(1)
    // Bounded, and so forgotten in the end.
    expect(seal.open(packet)?.toString()).toBe("first")
  })

  test("is opened for as long as clocks may differ, and neither earlier nor later", () => {
    let now = 1_800_000_000_000
    const clock = (): number => now
    const key = new Uint8Array(32).fill(1)
    const [seal, other] = [PacketSeal.make(key, clock), PacketSeal.make(key, clock)]
    const ahead = other.seal(Buffer.from("ahead"))
    now -= PacketSeal.MAX_AGE_MS + 1
    expect(seal.open(ahead)).toBe(undefined)
    now += 1
    expect(seal.open(ahead)?.toString()).toBe("ahead")
    const sealed = Array.from({ length: 3 * PacketSeal.MIN_REMEMBERED }, (_, i) => other.seal(Buffer.from([i])))
    const late = other.seal(Buffer.from("late"))
    now += PacketSeal.MAX_AGE_MS
    expect(seal.open(late)?.toString()).toBe("late")
    now += 1_000
    // As many as it remembers, of long ago: nothing is opened again, and nothing forgotten.
    const fresh = other.seal(Buffer.from("fresh"))
    expect(seal.open(fresh)?.toString()).toBe("fresh")
    expect(sealed.filter((packet) => seal.open(packet) !== undefined).length).toBe(0)
    expect([seal.open(late), seal.open(fresh)]).toEqual([undefined, undefined])
  })

  test("of a member, played again from elsewhere, is answered by nobody", () =>
    run(
      Effect.gen(function* () {
        const networkKey = new Uint8Array(32).fill(6)
        const hub = yield* Dht.serve({ host: "127.0.0.1", networkKey })
        const wire = yield* tap(hub.address.port)
        const ada = yield* join({ bootstrap: [wire.at], networkKey }, Identity.generate(), true)
        // Where the machine stands still for long, nobody has answered in time.
        yield* Effect.retry(ada.publish(), { times: 3 })
        const seal = PacketSeal.make(networkKey)
        const queries = wire.packets.filter((packet) => {
          const opened = seal.open(packet)
          return opened !== undefined && Message.read(opened)?.y === "q"
        })
        expect(queries.length).toBeGreaterThan(3)
        const victim = yield* puppet(() => undefined)
        const before = hub.dropped.malformed
        for (const packet of queries) victim.send(packet, hub.address.port)
        // The last of all is new, and answered: whatever was before it was looked at by then.
        let fresh = 0
        const ping = Effect.suspend(() => {
          fresh += 1
          const packet = seal.seal(Bencode.encode({ t: "aa", y: "q", q: "ping", a: { id: ID }, ro: 1 }))
          return victim.ask(packet, hub.address.port)
        })
        yield* ping.pipe(Effect.timeout("500 millis"), Effect.retry({ times: 20 }))
        expect(hub.dropped.malformed - before).toBeGreaterThanOrEqual(queries.length)
        expect(victim.heard()).toBeLessThanOrEqual(fresh)
      })
    ))
})

describe("an item of before", () => {
  test("does not take the place of a newer one, whoever sends it, and is not stored with a token of another address", () =>
    run(
      Effect.gen(function* () {
        const network = DhtNetwork.named(DhtNetwork.DEFAULT_NETWORK)
        const node = yield* DhtNode.open({
          port: 0,
          host: "0.0.0.0",
          bootstrap: [],
          network,
          seal: PacketSeal.none,
          rules: Perimeter.open
        })
        const owner = Identity.generate()
        const { salt } = network
        const signed = (seq: number, v: Buffer) => {
          const sig = owner.sign(Bencode.encode({ salt, seq, v }).subarray(1, -1))
          return { k: owner.publicKey, salt, seq, sig, v }
        }
        const [here, elsewhere] = [yield* puppet(() => undefined), yield* puppet(() => undefined, "127.0.0.2")]
        const target = network.target(owner.publicKey)
        const ask = (from: typeof here, q: string, a: { readonly [name: string]: Bencode.Encodable }) =>
          from.ask(Bencode.encode({ t: "aa", y: "q", q, a: { id: ID, ...a }, ro: 1 }), node.address.port).pipe(
            Effect.timeout("500 millis"),
            Effect.retry({ times: 20 }),
            Effect.map((packet) => Message.read(packet))
          )
        const token = Effect.map(ask(here, "get", { target }), (got) => (got?.y === "r" ? got.r.token : undefined))
        const had = yield* token
        const first = { token: had, ...signed(1, Buffer.from("first")) }
        const second = { token: had, ...signed(2, Buffer.from("second")) }
        expect(yield* ask(here, "put", first)).toMatchObject({ y: "r" })
        expect(yield* ask(elsewhere, "put", second)).toMatchObject({ y: "e", code: 203 })
        expect(yield* ask(here, "put", second)).toMatchObject({ y: "r" })
        expect(yield* ask(here, "put", first)).toMatchObject({ y: "e", code: 302 })
        const got = yield* ask(here, "get", { target })
        expect(got?.y === "r" ? [got.r.seq, got.r.v?.toString()] : got).toEqual([2, "second"])
      })
    ))
})
