/** Laws of simulated meshes that detect failures, and machines with a bug each which the laws find. */
import { describe, expect, test } from "bun:test"
import { seeded } from "@parley/core/testing/Seeded"
import * as Swim from "../src/Swim.ts"
import { parts, start, type Parts, world } from "./swim-world.ts"

const nobody = new Uint8Array(0)
const random = seeded(20_261_121)
console.log(`failure detection: PARLEY_SEED=${random.seed}`)

const accusation = (subject: string, incarnation: number, accuser: string): Swim.Accusation => ({
  _tag: "Accusation",
  subject,
  incarnation,
  accuser,
  evidence: nobody
})

/** What must hold of a mesh, whatever it is made of: throws where it does not. */
const laws: { readonly [law: string]: (made: Parts, seed: number) => void } = {
  "the dead are known dead by all, and nobody else is": (made, seed) => {
    const down = new Set<string>()
    const mesh = world(seed, 30, (_, told) => void (told._tag === "MemberDown" && down.add(told.peer)), made)
    mesh.runFor(5_000)
    for (const victim of ["n3", "n17"]) mesh.kill(victim, "machine")
    mesh.kill("n9", "process")
    mesh.runFor(9_000)
    for (const node of mesh.alive())
      for (const victim of ["n3", "n9", "n17"])
        expect(`${node}: ${victim} ${mesh.state(node).swim.status(victim)}`).toBe(`${node}: ${victim} dead`)
    expect([...down].sort()).toEqual(["n17", "n3", "n9"])
  },
  "slow nodes refute": (made, seed) => {
    const down: Array<string> = []
    let suspicions = 0
    const mesh = world(
      seed,
      30,
      (_, told) => {
        if (told._tag === "MemberDown") down.push(told.peer)
        if (told._tag === "MemberSuspect") suspicions += 1
      },
      made
    )
    for (let i = 0; i < 20; i++) {
      mesh.freeze(`n${i}`, 2_500 + mesh.random.int(1_000))
      mesh.runFor(2_500)
    }
    mesh.runFor(10_000)
    expect(suspicions > 0).toBe(true)
    expect(down).toEqual([])
  },
  "a liar has nobody held for dead": (made, seed) => {
    const down: Array<string> = []
    const mesh = world(seed, 30, (_, told) => void (told._tag === "MemberDown" && down.push(told.peer)), made)
    mesh.runFor(5_000)
    // Three of its friends say the same.
    for (let n = 0; n < 60; n++) {
      const incarnation = mesh.state("n5").swim.incarnation("n5")!
      const statements = ["n0", "n1", "n2"].map((accuser) => accusation("n5", incarnation, accuser))
      for (const node of mesh.alive()) if (node !== "n5") mesh.command(node, { _tag: "Know", statements })
      mesh.runFor(1_000)
    }
    expect(down).toEqual([])
  },
  "after a partition all know all again, and what was said meanwhile": (made, seed) => {
    const mesh = world(seed, 30, () => {}, made)
    mesh.runFor(5_000)
    mesh.partition((node) => Number(node.slice(1)) % 2)
    for (const node of ["n4", "n7"]) mesh.command(node, { _tag: "Keep", key: `m${node}`, version: 1, text: node })
    mesh.runFor(30_000)
    expect(mesh.state("n0").swim.status("n1")).toBe("dead")
    mesh.heal()
    mesh.runFor(10_000)
    for (const node of mesh.alive()) {
      for (const peer of mesh.alive())
        if (node !== peer)
          expect(`${node}: ${peer} ${mesh.state(node).swim.status(peer)}`).toBe(`${node}: ${peer} alive`)
      expect(["mn4", "mn7"].filter((key) => mesh.state(node).entropy.get(key) !== undefined)).toEqual(["mn4", "mn7"])
    }
  },
  "who comes again lives, and who leaves has left": (made, seed) => {
    const mesh = world(seed, 20, () => {}, made)
    mesh.runFor(3_000)
    mesh.kill("n3", "machine")
    mesh.command("n4", { _tag: "Leave" })
    mesh.runFor(500)
    mesh.kill("n4")
    mesh.runFor(9_500)
    expect(mesh.state("n0").swim.status("n3")).toBe("dead")
    start(mesh, seed, 3, 3)
    mesh.runFor(15_000)
    for (const node of mesh.alive()) {
      if (node !== "n3") expect(mesh.state(node).swim.status("n3")).toBe("alive")
      if (node !== "n3") expect(mesh.state(node).swim.status("n4")).toBe("left")
      expect(mesh.state(node).swim.size >= 18).toBe(true)
    }
  }
}

describe("a simulated mesh", () => {
  for (const [law, holds] of Object.entries(laws)) test(law, () => void holds(parts, random.seed))
})

type SwimMachine = typeof Swim.machine

/** Machines with a bug each, and a law that finds it. */
const broken: { readonly [bug: string]: readonly [law: string, swim: SwimMachine] } = {
  "accuses nobody": [
    "the dead are known dead by all, and nobody else is",
    {
      step: (state, event) => {
        if (event._tag !== "Timer") return Swim.machine.step(state, event)
        const [next, actions] = Swim.machine.step(state, event)
        const isAccusing = (statement: Swim.Statement) =>
          statement._tag === "Accusation" && statement.accuser === state.self
        return [
          next,
          actions.map((action) =>
            action._tag === "Send" && action.message._tag === "News"
              ? {
                  ...action,
                  message: { ...action.message, statements: action.message.statements.filter((s) => !isAccusing(s)) }
                }
              : action
          )
        ]
      }
    }
  ],
  "does not hear that it is accused": [
    "slow nodes refute",
    {
      step: (state, event) => {
        if (event._tag !== "Message") return Swim.machine.step(state, event)
        const { message } = event
        const others = (said: ReadonlyArray<Swim.Statement>) => said.filter(({ subject }) => subject !== state.self)
        if (message._tag === "Ping" || message._tag === "Ack")
          return Swim.machine.step(state, { ...event, message: { ...message, about: others(message.about) } })
        if (message._tag === "News")
          return Swim.machine.step(state, { ...event, message: { ...message, statements: others(message.statements) } })
        return Swim.machine.step(state, event)
      }
    }
  ],
  "refutes with an incarnation that is known": [
    "a liar has nobody held for dead",
    {
      step: (state, event) => {
        const [next, actions] = Swim.machine.step(state, event)
        const own = (statement: Swim.Statement): Swim.Statement =>
          statement._tag === "Alive" && statement.subject === state.self ? { ...statement, incarnation: 1 } : statement
        return [
          next,
          actions.map((action) => {
            if (action._tag !== "Send") return action
            const { message } = action
            if (message._tag === "Ack" || message._tag === "Ping")
              return { ...action, message: { ...message, about: message.about.map(own) } }
            if (message._tag === "News")
              return { ...action, message: { ...message, statements: message.statements.map(own) } }
            return action
          })
        ]
      }
    }
  ],
  "never asks the dead": [
    "after a partition all know all again, and what was said meanwhile",
    {
      step: (state, event) => {
        const [next, actions] = Swim.machine.step(state, event)
        return [next, actions.filter((action) => action._tag !== "Send" || state.status(action.to) !== "dead")]
      }
    }
  ],
  "keeps the news of leaving to itself": [
    "who comes again lives, and who leaves has left",
    {
      step: (state, event) =>
        event._tag === "Command" && event.command._tag === "SwimLeave" ? [state, []] : Swim.machine.step(state, event)
    }
  ]
}

describe("the laws find", () => {
  for (const [bug, [law, swim]] of Object.entries(broken)) {
    test(`a machine that ${bug}`, () => {
      let found = false
      try {
        laws[law]!({ ...parts, swim }, random.seed)
      } catch {
        found = true
      }
      expect(found).toBe(true)
    })
  }

  test("and one seed gives one run", () => {
    const runs = [1, 2].map(() => {
      const heard: Array<string> = []
      const mesh = world(
        random.seed,
        20,
        (node, told, now) => void heard.push(`${now} ${node} ${JSON.stringify(told)}`)
      )
      mesh.runFor(2_000)
      mesh.kill("n1", "machine")
      mesh.runFor(8_000)
      return heard.join("\n")
    })
    expect(runs[0]).toBe(runs[1]!)
  })
})
