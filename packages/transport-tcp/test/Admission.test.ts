/** Verifies: whoever brings many sockets stands in nobody's way but its own, and costs a bounded share of the processor. */
import { describe, expect, test } from "bun:test"
import { connect as connectSocket } from "node:net"
import type { Socket } from "node:net"
import { Admission, type Guest } from "../src/internal/Admission.ts"
import { forRounds, seeded } from "@parley/core/testing/Seeded"
import * as Handshake from "../src/Handshake.ts"
import { acceptDefaults, HANDSHAKES_AT_ONCE, HANDSHAKES_PER_SECOND, MAX_REFUSING } from "../src/Limits.ts"
import { call, start, until } from "./nodes.ts"

const wide = { ...acceptDefaults, maxPendingPerAddress: 1_000_000, maxConnectionsPerAddress: 1_000_000 }

const isGuest = (answer: unknown): answer is Guest => typeof answer === "object" && answer !== null && "left" in answer

describe("admission", () => {
  test("two addresses cannot take every handshake: the one that has most gives up its oldest", () => {
    const admission = new Admission({ ...acceptDefaults, maxPendingHandshakes: 8, maxPendingPerAddress: 4 })
    const evicted: Array<string> = []
    const come = (host: string, name: string) => admission.admit(host, 0, () => void evicted.push(name))
    for (let n = 0; n < 6; n++) for (const host of ["192.0.2.1", "192.0.2.2"]) come(host, `${host} ${n}`)
    expect(evicted).toEqual([])
    expect(isGuest(come("192.0.2.3", "honest"))).toBe(true)
    expect(evicted).toEqual(["192.0.2.1 0"])
    expect(come("192.0.2.2", "greedy")).toEqual(["maxPendingPerAddress", 4])
    // The one that gave way may not push another one out in turn.
    expect(come("192.0.2.1", "back")).toEqual(["maxPendingHandshakes", 8])
  })

  test("connections are shared out the same way, and the newest of the greedy goes", () => {
    const admission = new Admission({ ...wide, maxConnections: 10 })
    const evicted: Array<number> = []
    for (let n = 0; n < 10; n++) {
      const guest = admission.admit("192.0.2.1", 0, () => void evicted.push(n))
      if (isGuest(guest)) guest.proven()
    }
    for (let n = 0; n < 8; n++) {
      const guest = admission.admit(`198.51.100.${n}`, 0, () => void evicted.push(100 + n))
      expect(isGuest(guest)).toBe(true)
    }
    expect(evicted).toEqual([9, 8, 7, 6, 5, 4, 3, 2])
    expect(admission.admit("198.51.100.1", 0, () => {})).toEqual(["maxConnections", 10])
  })

  test("all of an IPv6 subscriber's addresses count as one", () => {
    const admission = new Admission({ ...acceptDefaults, maxPendingPerAddress: 3 })
    const answers = Array.from({ length: 6 }, (_, n) => admission.admit(`2001:db8::${n + 1}`, 0, () => {}))
    expect(answers.map(isGuest)).toEqual([true, true, true, false, false, false])
    expect(isGuest(admission.admit("2001:db8:0:1::1", 0, () => {}))).toBe(true)
  })

  test("all networks of an IPv6 site together are worth one address where places are taken", () => {
    for (const [limits, givesUpItsOwn] of [
      [{ ...wide, maxPendingHandshakes: 1_024 }, true],
      [{ ...wide, maxPendingHandshakes: 1_024 }, false],
      [{ ...wide, maxPendingHandshakes: 2_000, maxConnections: 1_024 }, false]
    ] as const) {
      const admission = new Admission(limits, givesUpItsOwn)
      const evicted: Array<string> = []
      const come = (host: string) => isGuest(admission.admit(host, 0, () => void evicted.push(host)))
      const greedy = (n: number) => `2001:db8:1:${n.toString(16)}::1`
      for (let n = 0; n < 1_024; n++) expect(come(greedy(Math.max(0, n - 3)))).toBe(true)
      // Within the site, the network that has most gives up: four of them, one each at last.
      expect([1_100, 1_101, 1_102, 1_103].map((n) => come(greedy(n)))).toEqual([true, true, true, false])
      expect(evicted).toEqual([greedy(0), greedy(0), greedy(0)])
      expect(["192.0.2.1", "2001:db8:2::1", "2001:db8:2:1::1"].map(come)).toEqual([true, true, true])
      expect(evicted.length).toBe(6)
      expect(evicted.every((host) => host.startsWith("2001:db8:1:"))).toBe(true)
    }
  })

  test("counts stay right, whoever comes and goes", () => {
    const random = seeded(5)
    forRounds(random, 40, () => {
      const admission = new Admission({ ...wide, maxConnections: 24, maxPendingHandshakes: 8 }, random.int(2) === 0)
      const inside = new Map<Guest, { readonly site: number; pending: boolean }>()
      const count = (site: number, pending: boolean): number =>
        [...inside.values()].filter((each) => each.site === site && (!pending || each.pending)).length
      for (let step = 0; step < 300; step++) {
        const some = [...inside.keys()]
        const guest = random.pick(some)
        const what = random.int(3)
        if (what === 0 || guest === undefined) {
          const site = random.int(4)
          let own: Guest | undefined
          const host = `2001:db8:${site}:${random.int(3)}::1`
          const answer = admission.admit(host, 0, () => {
            const from = inside.get(own!)!.site
            const isMost = [false, true].some((pending) =>
              [0, 1, 2, 3].every((other) => count(other, pending) <= count(from, pending))
            )
            if (!isMost) throw new Error(`site ${from} gives a place up, and another one has more`)
            inside.delete(own!)
          })
          if (isGuest(answer)) {
            own = answer
            inside.set(answer, { site, pending: true })
          } else {
            // Refused only where no other site has two more of what is full.
            const counts = [0, 1, 2, 3].map((each) => count(each, answer[0] === "maxPendingHandshakes"))
            const isFair = Math.max(...counts) <= counts[site]! + 1
            if (!isFair) throw new Error(`${answer[0]}: ${counts.join(" ")}, and site ${site} is refused`)
          }
        } else if (what === 1) {
          guest.proven()
          inside.get(guest)!.pending = false
        } else {
          guest.left()
          inside.delete(guest)
        }
        const all = [...inside.values()]
        if (all.length > 24 || all.filter(({ pending }) => pending).length > 8) throw new Error("more than may")
      }
    })
  })

  test("sockets that come and go are let in at a bounded rate", () => {
    const rush = (admission: Admission, now: number): number => {
      let taken = 0
      for (let n = 0; n < 5_000; n++) {
        const guest = admission.admit("192.0.2.1", now, () => {})
        if (!isGuest(guest)) continue
        taken += 1
        guest.left()
      }
      return taken
    }
    const admission = new Admission(wide)
    expect(rush(admission, 0)).toBe(HANDSHAKES_AT_ONCE)
    expect(rush(admission, 1_000)).toBe(HANDSHAKES_PER_SECOND)
    const tighter = new Admission({ ...wide, handshakesAtOnce: 20, handshakesPerSecond: 7 })
    expect(rush(tighter, 0)).toBe(20)
    expect(rush(tighter, 1_000)).toBe(7)
    expect(isGuest(admission.admit("192.0.2.2", 1_000, () => {}))).toBe(true)
  })

  test("where each gives up its own, who fills all places loses its oldest, to others first", () => {
    const admission = new Admission({ ...wide, maxPendingHandshakes: 4 }, true)
    const evicted: Array<string> = []
    const come = (relay: string, name: string) => admission.admit(relay, 0, () => void evicted.push(name))
    for (let n = 0; n < 6; n++) expect(isGuest(come("greedy", `greedy ${n}`))).toBe(true)
    expect(evicted).toEqual(["greedy 0", "greedy 1"])
    const honest = come("honest", "honest")
    expect(isGuest(honest)).toBe(true)
    expect(evicted.at(-1)).toBe("greedy 2")
    // What comes from the greedy one never costs the other its place.
    for (let n = 6; n < 20; n++) come("greedy", `greedy ${n}`)
    expect(evicted).not.toContain("honest")
    if (isGuest(honest)) honest.left()
    expect(isGuest(come("third", "third"))).toBe(true)
  })

  test("a place given up is counted once", () => {
    const admission = new Admission({ ...wide, maxPendingHandshakes: 2 })
    const first = admission.admit("192.0.2.1", 0, () => {}) as Guest
    admission.admit("192.0.2.1", 0, () => {})
    admission.admit("192.0.2.2", 0, () => {})
    first.proven()
    first.left()
    first.left()
    expect(admission.admit("192.0.2.2", 0, () => {})).toEqual(["maxPendingHandshakes", 2])
  })

  test("of those who come again and again, some are told why they are turned away, and the rest closed without a word", async () => {
    const node = await start({ limits: { maxConnectionsPerAddress: 0 } })
    const come = (): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = connectSocket({ host: "127.0.0.1", port: node.port })
        let heard = 0
        socket.on("data", (bytes: Uint8Array) => (heard += bytes.length))
        socket.on("error", () => {})
        socket.once("close", () => resolve(heard === Handshake.busy.length))
      })
    try {
      const began = performance.now()
      let told = 0
      for (let n = 0; n < 4 * MAX_REFUSING; n++) if (await come()) told++
      const seconds = Math.ceil((performance.now() - began + 1) / 1_000)
      expect(told).toBeGreaterThanOrEqual(MAX_REFUSING)
      expect(told).toBeLessThanOrEqual(MAX_REFUSING * seconds)
      expect(node.refused.map(({ reason }) => reason)).toEqual(
        Array.from({ length: 4 * MAX_REFUSING }, () => ({
          _tag: "LimitReached",
          limit: "maxConnectionsPerAddress",
          value: 0
        }))
      )
    } finally {
      await node.stop()
    }
  })

  test("a crowd that never closes is turned away, and the node serves on", async () => {
    const node = await start({ limits: { maxConnectionsPerAddress: 2 } })
    const other = await start({})
    const crowd: Array<Socket> = []
    try {
      const connection = await other.dial(node.address, node.nodeId)
      let closed = 0
      for (let n = 0; n < 200; n++) {
        const socket = connectSocket({ host: "127.0.0.1", port: node.port, allowHalfOpen: true })
        // It never closes its own side.
        socket.resume()
        socket.on("error", () => {})
        socket.once("end", () => closed++)
        crowd.push(socket)
      }
      await until("most were turned away", () => closed >= 198)
      expect(node.refused.every(({ reason }) => reason._tag === "LimitReached")).toBe(true)
      expect(await call(connection, "still")).toBe("STILL")
    } finally {
      for (const socket of crowd) socket.destroy()
      await node.stop()
      await other.stop()
    }
  })
})
