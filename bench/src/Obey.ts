/** The child's side of `Child.ts`. */
import { createInterface } from "node:readline"

/** What every child understands. */
export interface Common {
  /** Answered by a `Used`; a collected one runs the garbage collector first, which takes some CPU time itself. */
  readonly _tag: "Used" | "Collected"
}

/** What a process has used: CPU time in microseconds, all its threads together, and resident memory in bytes. */
export interface Used {
  readonly micros: number
  readonly rss: number
}

const collect = async (): Promise<void> => {
  const { Bun, gc } = globalThis as unknown as {
    readonly Bun?: { readonly gc: (force: boolean) => void }
    readonly gc?: () => void
  }
  for (let i = 0; i < 3; i++) {
    Bun?.gc(true)
    gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Says the first line, then does what it reads until its input ends. */
export const obey = async <Order extends { readonly _tag: string }>(
  first: object,
  run: (order: Order) => Promise<unknown>
): Promise<never> => {
  const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line ?? null)}\n`)
  say(first)
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as Order | Common
    if (order._tag === "Used" || order._tag === "Collected") {
      if (order._tag === "Collected") await collect()
      const { system, user } = process.cpuUsage()
      say({ micros: system + user, rss: process.memoryUsage().rss } satisfies Used)
    } else say(await run(order as Order))
  }
  process.exit(0)
}
