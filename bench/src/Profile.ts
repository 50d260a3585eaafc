/** CPU profiles of the very moments that are measured, through the runtime's inspector. */
import { writeFileSync } from "node:fs"
import { Session } from "node:inspector"
import type { Profiler } from "node:inspector"

/** Time between samples, in microseconds. */
const INTERVAL_US = 200

/** A function and its part of the time, 0 to 1, not counting what it called. */
export interface Hot {
  readonly name: string
  readonly where: string
  readonly share: number
}

const hottest = ({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): ReadonlyArray<Hot> => {
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]))
  const spent = new Map<string, number>()
  let all = 0
  for (const [i, id] of samples.entries()) {
    const frame = byId.get(id)
    if (frame === undefined || frame.functionName === "(idle)" || frame.functionName === "(root)") continue
    const file = frame.url.split(/[\\/]/).slice(-3).join("/")
    const key = `${frame.functionName || "(anonymous)"}\n${file}:${frame.lineNumber + 1}`
    const micros = timeDeltas[i] ?? 0
    spent.set(key, (spent.get(key) ?? 0) + micros)
    all += micros
  }
  return [...spent]
    .sort(([, a], [, b]) => b - a)
    .map(([key, micros]) => {
      const [name = "", where = ""] = key.split("\n")
      return { name, where, share: micros / all }
    })
}

/** Profiles what happens between `start` and `stop`. */
export class Profile {
  readonly #session = new Session()

  async start(): Promise<void> {
    this.#session.connect()
    await this.#post("Profiler.enable")
    await this.#post("Profiler.setSamplingInterval", { interval: INTERVAL_US })
    await this.#post("Profiler.start")
  }

  /** Writes the profile for Chrome's developer tools, and gives its hottest functions. */
  async stop(file: string): Promise<ReadonlyArray<Hot>> {
    const { profile } = (await this.#post("Profiler.stop")) as Profiler.StopReturnType
    this.#session.disconnect()
    writeFileSync(file, JSON.stringify(profile))
    return hottest(profile)
  }

  #post(method: string, params: object = {}): Promise<unknown> {
    return new Promise((resolve, reject) =>
      this.#session.post(method, params, (error, result) => (error === null ? resolve(result) : reject(error)))
    )
  }
}
