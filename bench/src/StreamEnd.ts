/**
 * One end of a stream, in a process of its own: `StreamEnd.ts parley|tcp|sealed serve` or `StreamEnd.ts parley|tcp|sealed
 * read ADDRESS`. What is served by Parley comes from the Effect Stream of a handler and is taken as one; bare TCP is the same bytes
 * and no more; sealed TCP is them as records of AES-GCM by `node:crypto`, each opened at the other end.
 */
import { createCipheriv, createDecipheriv } from "node:crypto"
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import * as EffectStream from "effect/Stream"
import * as Layers from "@parley/agent/Layers"
import * as Capability from "@parley/core/Capability"
import { Node } from "@parley/core/Node"
import { lasting } from "./Lasting.ts"
import { obey } from "./Obey.ts"
import { BLOCK_BYTES, type Order, REST_BYTES, type Taken } from "./StreamOrders.ts"

const WATCH_MS = 10

const Rows = Capability.stream("bench.rows", {
  version: "1.0.0",
  input: Schema.Struct({ rows: Schema.Int }),
  output: Schema.Struct({ n: Schema.Finite, text: Schema.String })
})

const Blocks = Capability.stream("bench.blocks", {
  version: "1.0.0",
  input: Schema.Struct({ blocks: Schema.Int }),
  output: Schema.Uint8Array
})

/** What a row says. */
const TEXT = "a small chunk"
const block = Uint8Array.from({ length: BLOCK_BYTES }, (_, i) => i * 31)

interface Reader {
  readonly rows: (rows: number) => Promise<Taken>
  readonly bytes: (bytes: number, restMs: number) => Promise<Taken>
}

/** Counts what comes. */
class Count {
  readonly #startedAt = performance.now()
  #rested = 0
  chunks = 0
  bytes = 0

  taken(): Taken {
    return { chunks: this.chunks, bytes: this.bytes, seconds: (performance.now() - this.#startedAt) / 1_000 }
  }

  /** Whether a slow reader rests now. */
  isTired(): boolean {
    if (this.bytes - this.#rested < REST_BYTES) return false
    this.#rested = this.bytes
    return true
  }
}

const start = () => ManagedRuntime.make(Layers.layer({ host: "127.0.0.1", mdns: false }))

const serveParley = (): Promise<string> =>
  start().runPromise(
    Effect.gen(function* () {
      const node = yield* Node
      const all = lasting(
        Effect.all([
          node.serve(Rows, ({ rows }) => EffectStream.map(EffectStream.range(1, rows), (n) => ({ n, text: TEXT }))),
          node.serve(Blocks, ({ blocks }) => EffectStream.map(EffectStream.range(1, blocks), () => block))
        ])
      )
      yield* all
      return node.connections.addresses()[0]!
    })
  )

const readParley = async (address: string): Promise<Reader> => {
  const runtime = start()
  const node = await runtime.runPromise(
    Effect.gen(function* () {
      const node = yield* Node
      yield* node.connections.connect({ addresses: [address] })
      return node
    })
  )
  const read = <A>(stream: EffectStream.Stream<A, unknown>, restMs: number, take: (count: Count, item: A) => void) => {
    const count = new Count()
    return runtime.runPromise(
      Effect.map(
        EffectStream.runForEachArray(stream, (items) => {
          for (const item of items) take(count, item)
          return restMs > 0 && count.isTired() ? Effect.sleep(restMs) : Effect.void
        }),
        () => count.taken()
      )
    )
  }
  return {
    rows: (rows) =>
      read(node.stream(Rows, { rows }, { deadline: "5 minutes" }), 0, (count, { n, text }) => {
        count.chunks += 1
        count.bytes += text.length
        if (n !== count.chunks) throw new Error(`chunk ${n} came as chunk ${count.chunks}`)
      }),
    bytes: (bytes, restMs) =>
      read(node.stream(Blocks, { blocks: bytes / BLOCK_BYTES }, { deadline: "5 minutes" }), restMs, (count, item) => {
        count.chunks += 1
        count.bytes += item.length
        if (item[item.length - 1] !== block[BLOCK_BYTES - 1]) throw new Error("other bytes came than were sent")
      })
  }
}

/** Sends as many blocks as an eight-byte number before them says. */
const serveTcp = async (): Promise<string> => {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy())
    socket.on("data", (chunk: Buffer) => void send(socket, Number(chunk.readBigUInt64BE(0))))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the server has no port")
  return `tcp://127.0.0.1:${address.port}`
}

const send = async (socket: Socket, bytes: number): Promise<void> => {
  for (let sent = 0; sent < bytes; sent += BLOCK_BYTES) {
    if (!socket.write(isSealed ? seal(block) : block)) await once(socket, "drain")
  }
}

const TAG_BYTES = 16
const SEALED_BYTES = BLOCK_BYTES + TAG_BYTES
/** One key and one nonce for all: this is no protocol, it costs what one costs at least. */
const key = new Uint8Array(32).fill(7)
const nonce = new Uint8Array(12)

const seal = (bytes: Uint8Array): Uint8Array => {
  const cipher = createCipheriv("aes-256-gcm", key, nonce)
  const out = Buffer.allocUnsafe(SEALED_BYTES)
  out.set(cipher.update(bytes))
  cipher.final()
  out.set(cipher.getAuthTag(), BLOCK_BYTES)
  return out
}

const opened = (record: Uint8Array): number => {
  const decipher = createDecipheriv("aes-256-gcm", key, nonce)
  decipher.setAuthTag(record.subarray(BLOCK_BYTES))
  const bytes = decipher.update(record.subarray(0, BLOCK_BYTES))
  decipher.final()
  return bytes.length
}

/** Opens what comes, record by record; gives how many bytes were in the chunk. */
const opener = () => {
  const carry = Buffer.alloc(SEALED_BYTES)
  let filled = 0
  return (chunk: Uint8Array): number => {
    let bytes = 0
    for (let at = 0; at < chunk.length;) {
      if (filled === 0 && chunk.length - at >= SEALED_BYTES) {
        bytes += opened(chunk.subarray(at, at + SEALED_BYTES))
        at += SEALED_BYTES
        continue
      }
      const taken = Math.min(SEALED_BYTES - filled, chunk.length - at)
      carry.set(chunk.subarray(at, at + taken), filled)
      at += taken
      filled += taken
      if (filled < SEALED_BYTES) break
      bytes += opened(carry)
      filled = 0
    }
    return bytes
  }
}

const readTcp = async (address: string): Promise<Reader> => {
  const { hostname, port } = new URL(address)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  await once(socket, "connect")
  let take: (chunk: Buffer) => void = () => {}
  socket.on("data", (chunk: Buffer) => take(chunk))
  return {
    rows: () => Promise.reject(new Error("bare TCP has no chunks")),
    bytes: (bytes) =>
      new Promise((resolve) => {
        const count = new Count()
        const open = opener()
        take = (chunk) => {
          count.chunks += 1
          count.bytes += isSealed ? open(chunk) : chunk.length
          if (count.bytes >= bytes) resolve(count.taken())
        }
        const order = Buffer.alloc(8)
        order.writeBigUInt64BE(BigInt(bytes))
        socket.write(order)
      })
  }
}

const [what, role, to] = process.argv.slice(2)
const isParley = what === "parley"
const isSealed = what === "sealed"
const reader = role === "read" ? await (isParley ? readParley : readTcp)(to!) : undefined
const address = role === "serve" ? await (isParley ? serveParley : serveTcp)() : to!

let watch: ReturnType<typeof setInterval> | undefined
let peak: { before: number; most: number } = { before: 0, most: 0 }
const look = (): void => {
  peak.most = Math.max(peak.most, process.memoryUsage().rss)
}

await obey<Order>({ address }, async (order) => {
  switch (order._tag) {
    case "Rows":
      return reader!.rows(order.rows)
    case "Bytes":
      return reader!.bytes(order.bytes, order.restMs)
    case "Watch":
      clearInterval(watch)
      if (order.on) {
        const before = process.memoryUsage().rss
        peak = { before, most: before }
        watch = setInterval(look, WATCH_MS)
      } else look()
      return peak
  }
})
