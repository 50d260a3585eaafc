/** The books of a soak: what the agents wrote that they began, beside what the asking nodes wrote that they were answered. */
import { closeSync, existsSync, openSync, readSync } from "node:fs"

/** How an agent's process ended. */
export type End = "lives" | "left" | "killed"

const CHUNK_BYTES = 1 << 20

/** Calls back for each entry of a log, of so many numbers. A last one that was not written to its end is left out. */
const read = (file: string, size: 1 | 2, onEntry: (n: number, by: number) => void): void => {
  if (!existsSync(file)) return
  const handle = openSync(file, "r")
  try {
    const numbers = new Uint32Array(CHUNK_BYTES / 4)
    const bytes = new Uint8Array(numbers.buffer)
    let at = 0
    for (;;) {
      let held = 0
      for (let more = -1; held < CHUNK_BYTES && more !== 0; held += more)
        more = readSync(handle, bytes, held, CHUNK_BYTES - held, at + held)
      at += held
      const whole = Math.floor(held / (4 * size)) * size
      for (let i = 0; i < whole; i += size) onEntry(numbers[i]!, size === 2 ? numbers[i + 1]! : 0)
      if (held < CHUNK_BYTES) return
    }
  } finally {
    closeSync(handle)
  }
}

/** What the books come to. */
export interface Account {
  /** Tasks that were begun, each as often as it was. */
  readonly begun: number
  /** Tasks whose handler began twice at the same agent. */
  readonly twiceAtOne: number
  /** Tasks that two agents began though neither of them was killed. */
  readonly twiceUnforced: number
  /** Tasks that an agent that was killed had begun, and another one began after it. */
  readonly afterDeath: number
  /** Answers of an agent that never began the task. */
  readonly unfounded: number
  /** Tasks that were answered more than once. */
  readonly answeredTwice: number
  /** Some of the tasks that were begun twice without need, with the agents that did. */
  readonly twice: ReadonlyArray<{ readonly n: number; readonly agents: ReadonlyArray<number> }>
}

/** Tasks that are told in full; beyond, they are only counted. */
const TOLD = 20

/** The tasks of one asking node, numbered from `first`. */
export class Ledger {
  readonly #first: number
  readonly #most: number
  /** The agent that answered, plus one. */
  readonly #answeredBy: Uint16Array
  /** How often a task was begun by agents that were not killed, and by ones that were. */
  readonly #unforced: Uint8Array
  readonly #killed: Uint8Array
  /** The first agent that began it and was not killed, plus one. */
  readonly #firstBy: Uint16Array
  readonly #twice: Array<Account["twice"][number]> = []
  #begun = 0
  #twiceAtOne = 0
  #answered = 0
  #confirmed = 0
  #answeredTwice = 0

  constructor(first: number, most: number) {
    this.#first = first
    this.#most = most
    this.#answeredBy = new Uint16Array(most)
    this.#unforced = new Uint8Array(most)
    this.#killed = new Uint8Array(most)
    this.#firstBy = new Uint16Array(most)
  }

  /** Reads what the asking node was answered; before all agents. */
  answers(file: string): void {
    read(file, 2, (n, by) => {
      const at = n - this.#first
      if (this.#answeredBy[at] !== 0) this.#answeredTwice += 1
      else this.#answered += 1
      this.#answeredBy[at] = by + 1
    })
  }

  /** Reads what an agent began, and gives how much that was. */
  agent(file: string, by: number, end: End): number {
    const seen = new Uint8Array(this.#most)
    const before = this.#begun
    const runs = end === "killed" ? this.#killed : this.#unforced
    read(file, 1, (n) => {
      const at = n - this.#first
      if (at < 0 || at >= this.#most) return
      this.#begun += 1
      if (seen[at] === 1) {
        this.#twiceAtOne += 1
        this.#tell(n, [by, by])
      } else {
        seen[at] = 1
        runs[at]! += 1
        if (end !== "killed" && runs[at]! > 1) this.#tell(n, [this.#firstBy[at]! - 1, by])
        else if (end !== "killed") this.#firstBy[at] = by + 1
        if (this.#answeredBy[at] === by + 1) this.#confirmed += 1
      }
    })
    return this.#begun - before
  }

  /** Whether an agent that was not killed began it. */
  isBegun(n: number): boolean {
    return this.#unforced[n - this.#first] !== 0
  }

  #tell(n: number, agents: ReadonlyArray<number>): void {
    if (this.#twice.length < TOLD) this.#twice.push({ n, agents })
  }

  account(): Account {
    let twiceUnforced = 0
    let afterDeath = 0
    for (let at = 0; at < this.#most; at++) {
      const unforced = this.#unforced[at]!
      const killed = this.#killed[at]!
      if (unforced > 1) twiceUnforced += 1
      if (killed > 0 && unforced + killed > 1) afterDeath += 1
    }
    return {
      begun: this.#begun,
      twiceAtOne: this.#twiceAtOne,
      twiceUnforced,
      afterDeath,
      unfounded: this.#answered - this.#confirmed,
      answeredTwice: this.#answeredTwice,
      twice: this.#twice
    }
  }
}
