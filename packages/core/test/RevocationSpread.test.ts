/**
 * Verifies: every member that can be reached comes to the newest list, in whatever order lists come; nobody goes back to an older one; and
 * no list counts that the root has not signed. The laws are seen to fail on machines with planted bugs.
 */
import { describe, expect, test } from "bun:test"
import * as RevocationSpread from "@parley/core/RevocationSpread"
import * as Revocations from "@parley/core/Revocations"
import { Simulation } from "@parley/core/testing/Simulation"
import type { TestApi } from "@parley/core/testing/TestApi"
import { brokenLaws } from "../../../test-support/BrokenLaws.ts"
import { makeNetwork } from "./members.ts"

type Machine = typeof RevocationSpread.machine
type Step = Machine["step"]

const seed = Number(process.env["PARLEY_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
const NODES = 30

/** A machine that also makes links when it is commanded to: `link NAME`. */
const linking = (machine: Machine): Machine => ({
  step: (state, event) =>
    event._tag === "Command" && event.command.startsWith("link ")
      ? [state, [{ _tag: "Send", to: event.command.slice(5), message: "" }]]
      : machine.step(state, event)
})

const network = makeNetwork()
const stranger = makeNetwork()
const nodeIds = Array.from({ length: 6 }, () => makeNetwork().root.nodeId)
const lists = nodeIds.map((node) => network.revoke(node))
const texts = lists.map((list) => JSON.stringify(list))
const last = lists.at(-1)!

/** Lists that must not count: another root's, a changed one, a changed number. */
const forged = [
  JSON.stringify({ ...stranger.revoke(nodeIds[0]!), number: 99 }),
  JSON.stringify({ ...Revocations.revoke(stranger.root, network.of.network, last, nodeIds[0]!, 2 ** 42, 1) }),
  JSON.stringify({ ...last, revoked: last.revoked.slice(1), number: 99 }),
  JSON.stringify({ ...last, number: 98 }),
  "{",
  `[${"[".repeat(2_000)}`,
  "x".repeat(Revocations.MAX_REVOCATIONS_BYTES + 1)
]

/** The laws, for any machine that claims to spread revocations. */
const suite =
  (machine: Machine) =>
  ({ describe: group, expect: expects, test: law }: TestApi): void => {
    const name = (at: number): string => `n${at}`
    const makeWorld = (worldSeed: number) => {
      const numbers = new Map<string, number>()
      let backwards = 0
      let messages = 0
      const world = new Simulation({
        seed: worldSeed,
        machine: linking(machine),
        delay: (random) => 1 + random.int(60),
        silenceMs: 500,
        told: (node, told) => {
          if (told.number < (numbers.get(node) ?? 0)) backwards++
          numbers.set(node, told.number)
        },
        sent: (_from, _to, message) => {
          if (message !== "") messages++
        }
      })
      for (let at = 0; at < NODES; at++) world.add(name(at), RevocationSpread.make(network.of))
      const link = (): void => {
        for (let at = 1; at < NODES; at++) {
          world.command(name(at), `link ${name(world.random.int(at))}`)
          world.command(name(at), `link ${name(at - 1)}`)
        }
      }
      const known = () => world.alive().map((node) => world.state(node).known?.number ?? 0)
      return { world, link, known, went: () => ({ backwards, messages }) }
    }

    group("spreading revocations", () => {
      for (let round = 0; round < 5; round++) {
        const worldSeed = (seed + round) >>> 0
        law(`all come to the newest list, and none goes back (seed ${worldSeed})`, () => {
          const { known, link, went, world } = makeWorld(worldSeed)
          link()
          world.runFor(1_000)
          const order = [...texts, ...forged].sort(() => world.random.next() - 0.5)
          for (const text of order) {
            world.command(name(world.random.int(NODES)), text)
            world.runFor(world.random.int(80))
          }
          world.runFor(3_000)
          expects(known()).toEqual(Array.from({ length: NODES }, () => last.number))
          expects(went().backwards).toBe(0)
          // Each list crosses each of at most 2 × 29 links about once each way, however it is shaken.
          expects(went().messages <= texts.length * 2 * 2 * NODES + 4 * NODES).toBe(true)
        })
        law(`a part that was cut off learns when it comes back, and so does a newcomer (seed ${worldSeed})`, () => {
          const { known, link, world } = makeWorld(worldSeed)
          link()
          world.runFor(1_000)
          world.command(name(0), texts[0]!)
          world.runFor(2_000)
          world.partition((node) => Number(node.slice(1)) % 2)
          world.runFor(1_000)
          world.command(name(0), texts.at(-1)!)
          world.command(name(1), texts[2]!)
          world.runFor(2_000)
          world.heal()
          world.runFor(1_000)
          link()
          world.runFor(3_000)
          expects(known()).toEqual(Array.from({ length: NODES }, () => last.number))
          world.add("newcomer", RevocationSpread.make(network.of))
          world.command("newcomer", `link ${name(world.random.int(NODES))}`)
          world.runFor(1_000)
          expects(world.state("newcomer").known?.number).toBe(last.number)
        })
      }
      law("what the root has not signed changes nothing", () => {
        let state = RevocationSpread.make(network.of, lists[1])
        for (const text of forged) {
          const [next, actions] = machine.step(state, { _tag: "Message", now: 0, from: "x", message: text })
          state = next
          expects(actions).toEqual([])
          expects(state.known?.sig).toBe(lists[1]!.sig)
        }
      })
      law("two lists of one number end the same way in either order", () => {
        const other = Revocations.revoke(network.root, network.of.network, lists[0], nodeIds[5]!, 2 ** 42, 5)
        const ends = [
          [texts[1]!, JSON.stringify(other)],
          [JSON.stringify(other), texts[1]!]
        ].map((order) => {
          let state = RevocationSpread.make(network.of)
          for (const command of order) [state] = machine.step(state, { _tag: "Command", now: 0, command })
          return state.known?.sig
        })
        expects(ends[0]).toBe(ends[1])
      })
    })
  }

suite(RevocationSpread.machine)({ describe, expect, test })

/** Takes any list that it has not had yet, whatever its number. */
const forgetful: Step = (state, event) => {
  const text = event._tag === "Message" ? event.message : event._tag === "Command" ? event.command : ""
  const had = state as RevocationSpread.State & { had?: Set<string> }
  had.had ??= new Set()
  if (texts.includes(text) && !had.had.has(text)) {
    had.had.add(text)
    state.known = undefined
  }
  return RevocationSpread.machine.step(state, event)
}
/** Believes what nobody has signed. */
const gullible: Step = (state, event) => {
  if (event._tag === "Message") {
    try {
      const list = JSON.parse(event.message)
      if (list.number > (state.known?.number ?? 0)) {
        state.known = list
        state.text = event.message
        return [state, [{ _tag: "Tell", told: list }]]
      }
    } catch {
      // Not even JSON.
    }
  }
  return RevocationSpread.machine.step(state, event)
}
/** Hands nothing on. */
const selfish: Step = (state, event) => {
  const [next, actions] = RevocationSpread.machine.step(state, event)
  return [next, event._tag === "Message" ? actions.filter(({ _tag }) => _tag !== "Send") : actions]
}
/** Tells nobody whom it meets. */
const shy: Step = (state, event) => {
  const [next, actions] = RevocationSpread.machine.step(state, event)
  return [next, event._tag === "LinkUp" ? [] : actions]
}
/** Of two lists with one number, keeps the one that came first. */
const firstOnly: Step = (state, event) => {
  const { known, text } = state
  const [next, actions] = RevocationSpread.machine.step(state, event)
  if (known === undefined || next.known?.number !== known.number) return [next, actions]
  next.known = known
  next.text = text
  return [next, []]
}

describe("planted bugs", () => {
  for (const [what, step, broken] of [
    ["a lower number that is accepted", forgetful, "none goes back"],
    ["a list that is believed without the root's signature", gullible, "has not signed"],
    ["a list that is not handed on", selfish, "all come to the newest"],
    ["a newcomer that is told nothing", shy, "cut off"],
    ["the first of two lists with one number", firstOnly, "either order"]
  ] as const) {
    test(`${what} is caught`, async () => {
      const failed = await brokenLaws(suite({ step }))
      expect(failed.some((law) => law.includes(broken))).toBe(true)
    })
  }
  test("the machine as it is breaks no law", async () => {
    expect(await brokenLaws(suite(RevocationSpread.machine))).toEqual([])
  })
})
