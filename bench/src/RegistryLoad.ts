/** Who asks the registry of `Registry.ts`: HTTP/1.1 over connections that stay, one request under way on each. */
import { connect } from "node:net"
import { obey } from "./Obey.ts"
import { requestOf, type What } from "./RegistryWorld.ts"

/** What it is told: ask for so long over so many connections. Answered by a `Load`. */
export interface LoadOrder {
  readonly _tag: "Load"
  readonly url: string
  readonly what: What
  readonly agents: number
  readonly connections: number
  readonly seconds: number
}

/** What came of it. Times in milliseconds. */
export interface Load {
  readonly perSecond: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  /** Answers that were not 200. */
  readonly refused: number
}

/** Receipts are signed before the clock runs, for so many reports each second at most: signing is the executors' work. */
const MOST_PER_SECOND = 8_000

let n = 0

const load = ({ agents, connections, seconds, url, what }: LoadOrder): Promise<Load> =>
  new Promise((resolve, reject) => {
    const { host, hostname, port } = new URL(url)
    const ahead = Array.from({ length: what === "attested" ? Math.ceil(seconds * MOST_PER_SECOND) : 0 }, () =>
      requestOf(what, n++, agents)
    )
    const times: Array<number> = []
    let refused = 0
    let open = connections
    const begun = performance.now()
    const end = begun + seconds * 1_000
    const finish = (): void => {
      const sorted = Float64Array.from(times).sort()
      const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!
      const perSecond = times.length / ((performance.now() - begun) / 1_000)
      resolve({ perSecond, p50: at(0.5), p95: at(0.95), p99: at(0.99), refused })
    }
    for (let i = 0; i < connections; i++) {
      const socket = connect(Number(port), hostname)
      socket.setNoDelay(true)
      socket.setEncoding("latin1")
      let text = ""
      let askedAt = 0
      const ask = (): void => {
        const { body, path } = ahead.pop() ?? requestOf(what, n++, agents)
        const head = `POST ${path} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\n`
        askedAt = performance.now()
        socket.write(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
      }
      socket.on("connect", ask)
      socket.on("error", reject)
      socket.on("data", (chunk: string) => {
        text += chunk
        const headEnd = text.indexOf("\r\n\r\n")
        if (headEnd < 0) return
        const length = Number(/content-length: *(\d+)/i.exec(text.slice(0, headEnd))?.[1] ?? 0)
        if (text.length < headEnd + 4 + length) return
        const now = performance.now()
        times.push(now - askedAt)
        if (text.slice(9, 12) !== "200") refused++
        text = ""
        if (now < end) return ask()
        socket.destroy()
        if (--open === 0) finish()
      })
    }
  })

await obey<LoadOrder>({}, load)
