/**
 * A TCP proxy on loopback that does to connections what networks do: delay, little bandwidth, connections lost, cut, frozen,
 * half-open and refused. What is held back is kept in order and goes on when the fault is over, as TCP would send it again;
 * only `reset`, `end` and `loss` take connections down. Plain `node:net`, the same on Bun and on Deno.
 *
 * ```ts
 * const proxy = await FaultProxy.to({ port: server.port })
 * proxy.delay(50, 10)
 * proxy.cut()
 * await proxy.heal()
 * await proxy.close()
 * ```
 */
import net from "node:net"
import { performance } from "node:perf_hooks"

/** Which way bytes go: `toServer` from who dialled the proxy to its target, `toClient` back. */
export type Direction = "toServer" | "toClient"

/** Where a proxy passes connections on to. */
export interface Target {
  readonly port: number
  /** 127.0.0.1 unless said otherwise. */
  readonly host?: string
}

/** What passed so far. */
export interface Counters {
  /** Connections taken. */
  readonly accepted: number
  /** Connections that stand now. */
  readonly open: number
  /** Connections that the proxy took down by a fault. */
  readonly broken: number
  /** Connections whose target could not be reached. */
  readonly unreachable: number
  /** Bytes passed on. */
  readonly toServer: number
  readonly toClient: number
  /** Bytes that wait in the proxy now. */
  readonly held: number
}

/** Bytes of one direction of one connection that the proxy takes before it reads no more: about what a kernel buffers. */
const MAX_HELD_BYTES = 256 * 1024

/** Bytes, or the end of one direction, and when they are due by `performance.now()`. */
interface Item {
  readonly due: number
  readonly bytes: Uint8Array | undefined
}

/** One direction of one connection. */
class Pipe {
  readonly #proxy: FaultProxy
  readonly #link: Link
  readonly #direction: Direction
  readonly #items: Array<Item> = []
  #from: net.Socket | undefined
  #to: net.Socket | undefined
  #latest = 0
  #held = 0
  #full = false
  #paused = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(proxy: FaultProxy, link: Link, direction: Direction) {
    this.#proxy = proxy
    this.#link = link
    this.#direction = direction
  }

  get held(): number {
    return this.#held
  }

  from(socket: net.Socket): void {
    this.#from = socket
    socket.on("data", (bytes: Uint8Array) => this.#take(bytes))
    socket.on("end", () => this.#take(undefined))
    this.update()
  }

  to(socket: net.Socket): void {
    this.#to = socket
    socket.on("drain", () => {
      this.#full = false
      this.#link.update()
    })
    this.update()
  }

  #take(bytes: Uint8Array | undefined): void {
    const now = performance.now()
    // No item overtakes the one before it.
    this.#latest = Math.max(this.#latest, this.#proxy.dueAt(this.#direction, bytes?.length ?? 0, now))
    this.#items.push({ due: this.#latest, bytes })
    this.#held += bytes?.length ?? 0
    this.update()
  }

  /** Passes on what is due, and reads no more than may be held. */
  update(): void {
    const blocked = this.#proxy.blocks(this.#direction)
    if (!blocked) this.#pass()
    // A frozen peer's kernel still takes what comes; on a cut line nothing is taken at all.
    const pause = this.#held >= MAX_HELD_BYTES || (blocked && !this.#proxy.isFrozen)
    if (pause === this.#paused) return
    this.#paused = pause
    if (pause) this.#from?.pause()
    else this.#from?.resume()
  }

  #pass(): void {
    const to = this.#to
    if (to === undefined) return
    while (!this.#full) {
      const item = this.#items[0]
      if (item === undefined) return
      const wait = item.due - performance.now()
      if (wait > 0) {
        this.#timer ??= setTimeout(() => {
          this.#timer = undefined
          this.#link.update()
        }, wait)
        return
      }
      this.#items.shift()
      if (item.bytes === undefined) to.end()
      else {
        this.#held -= item.bytes.length
        this.#proxy.passed(this.#direction, item.bytes.length)
        this.#full = !to.write(item.bytes)
        if (this.#proxy.isUnlucky()) return this.#link.reset()
      }
    }
  }

  /** Nothing waits any more. */
  get isEmpty(): boolean {
    return this.#items.length === 0
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#items.length = 0
    this.#held = 0
  }
}

/** One connection through the proxy. */
class Link {
  readonly #proxy: FaultProxy
  readonly #client: net.Socket
  readonly #toServer: Pipe
  readonly #toClient: Pipe
  #server: net.Socket | undefined
  #gone: "closed" | "failed" | undefined
  #over = false

  constructor(proxy: FaultProxy, client: net.Socket) {
    this.#proxy = proxy
    this.#client = client
    this.#toServer = new Pipe(proxy, this, "toServer")
    this.#toClient = new Pipe(proxy, this, "toClient")
    this.#watch(client)
    this.#toServer.from(client)
    this.#toClient.to(client)
    this.update()
  }

  get held(): number {
    return this.#toServer.held + this.#toClient.held
  }

  #watch(socket: net.Socket): void {
    socket.setNoDelay(true)
    socket.on("error", () => undefined)
    socket.on("close", (failed: boolean) => {
      this.#gone = failed || this.#gone === "failed" ? "failed" : "closed"
      this.update()
    })
  }

  /** Goes on as the faults of now allow. */
  update(): void {
    if (this.#over) return
    if (this.#server === undefined && !this.#proxy.isHanging) this.#dial()
    this.#toServer.update()
    this.#toClient.update()
    if (this.#gone === undefined || this.#proxy.isHanging) return
    // What a side said before it closed still arrives; after a reset nothing does.
    if (this.#gone === "failed") return this.#end((socket) => socket.resetAndDestroy())
    if (this.#toServer.isEmpty && this.#toClient.isEmpty) this.#end((socket) => socket.end())
  }

  #dial(): void {
    const server = net.connect({ ...this.#proxy.target, allowHalfOpen: true })
    this.#server = server
    let connected = false
    server.on("connect", () => {
      connected = true
      this.#toServer.to(server)
    })
    server.on("error", () => {
      if (connected) return
      this.#proxy.missed()
      this.reset()
    })
    this.#watch(server)
    this.#toClient.from(server)
  }

  reset(): void {
    this.#end((socket) => socket.resetAndDestroy())
  }

  /** Closes both sides as a program does that ends in good order. */
  end(): void {
    this.#end((socket) => socket.destroy())
  }

  #end(close: (socket: net.Socket) => void): void {
    if (this.#over) return
    this.#over = true
    this.#toServer.stop()
    this.#toClient.stop()
    this.#proxy.left(this)
    for (const socket of [this.#client, this.#server]) if (socket !== undefined && !socket.destroyed) close(socket)
  }
}

/** A proxy in front of one target. */
export class FaultProxy {
  readonly #host: string
  readonly #random: () => number
  readonly #links = new Set<Link>()
  readonly #silent = new Set<Direction>()
  readonly #freeAt: Record<Direction, number> = { toServer: 0, toClient: 0 }
  readonly #passed: Record<Direction, number> = { toServer: 0, toClient: 0 }
  #target: net.TcpNetConnectOpts
  #listener: net.Server | undefined
  #port = 0
  #state: "open" | "cut" | "frozen" = "open"
  #delayMs = 0
  #jitterMs = 0
  #bytesPerSecond = Number.POSITIVE_INFINITY
  #loss = 0
  #accepted = 0
  #broken = 0
  #unreachable = 0

  private constructor(target: Target, host: string, random: () => number) {
    this.#target = { host: "127.0.0.1", ...target }
    this.#host = host
    this.#random = random
  }

  /** A proxy that listens, at a free port unless one is named. `random` decides about jitter and loss. */
  static async to(
    target: Target,
    options: { readonly host?: string; readonly port?: number; readonly random?: () => number } = {}
  ): Promise<FaultProxy> {
    const proxy = new FaultProxy(target, options.host ?? "127.0.0.1", options.random ?? Math.random)
    await proxy.#listen(options.port ?? 0)
    return proxy
  }

  #listen(port: number): Promise<void> {
    const listener = net.createServer({ allowHalfOpen: true }, (client) => {
      this.#accepted += 1
      this.#links.add(new Link(this, client))
    })
    this.#listener = listener
    return new Promise((resolve, reject) => {
      listener.on("error", reject)
      listener.listen(port, this.#host, () => {
        this.#port = (listener.address() as net.AddressInfo).port
        resolve()
      })
    })
  }

  get port(): number {
    return this.#port
  }
  /** `tcp://HOST:PORT` of the proxy itself. */
  get address(): string {
    return `tcp://${this.#host}:${this.#port}`
  }
  /** Where connections go. */
  get target(): net.TcpNetConnectOpts {
    return this.#target
  }
  get counters(): Counters {
    let held = 0
    for (const link of this.#links) held += link.held
    return {
      accepted: this.#accepted,
      open: this.#links.size,
      broken: this.#broken,
      unreachable: this.#unreachable,
      ...this.#passed,
      held
    }
  }

  /** Passes connections from now on to another target, as when a server has moved; those that stand stay where they are. */
  retarget(target: Target): void {
    this.#target = { host: "127.0.0.1", ...target }
  }

  /** Each piece of bytes takes this long one way, give or take up to `jitterMs`. */
  delay(ms: number, jitterMs: number = 0): void {
    this.#delayMs = ms
    this.#jitterMs = jitterMs
  }

  /** All connections together get so many bytes a second each way; undefined for no limit. */
  bandwidth(bytesPerSecond: number | undefined): void {
    this.#bytesPerSecond = bytesPerSecond ?? Number.POSITIVE_INFINITY
  }

  /** The chance of each piece of bytes to be the last one of its connection, which is reset. */
  loss(probability: number): void {
    this.#loss = probability
  }

  /** Resets connections at once, all or each with this chance; gives how many. */
  reset(chance: number = 1): number {
    const unlucky = [...this.#links].filter(() => chance >= 1 || this.#random() < chance)
    for (const link of unlucky) link.reset()
    this.#broken += unlucky.length
    return unlucky.length
  }

  /** Closes all connections in good order; gives how many. */
  end(): number {
    const links = [...this.#links]
    for (const link of links) link.end()
    this.#broken += links.length
    return links.length
  }

  /** Nothing passes, and nobody is told: connections stay, new ones hang, closing is not heard of. */
  cut(): void {
    this.#become("cut")
  }

  /** As a stopped process: what comes is taken and held (at most 256 KiB each way), nothing is answered. */
  freeze(): void {
    this.#become("frozen")
  }

  /** Half-open: nothing passes one way, and all goes on the other way. */
  silence(direction: Direction): void {
    this.#silent.add(direction)
    this.#update()
  }

  /** New connections are refused; those that stand go on. */
  async refuse(): Promise<void> {
    const listener = this.#listener
    this.#listener = undefined
    // Listening ends at once; the callback would wait for the connections as well.
    listener?.close()
  }

  /** Ends cut, freeze, silence and refusal: what was held goes on. Delay, bandwidth and loss stay as they are. */
  async heal(): Promise<void> {
    if (this.#listener === undefined) await this.#listen(this.#port)
    this.#silent.clear()
    this.#become("open")
  }

  /** Ends the proxy and all that goes through it. */
  async close(): Promise<void> {
    await this.refuse()
    this.#state = "open"
    for (const link of [...this.#links]) link.reset()
  }

  #become(state: "open" | "cut" | "frozen"): void {
    this.#state = state
    this.#update()
  }
  #update(): void {
    for (const link of [...this.#links]) link.update()
  }

  // What connections ask their proxy, and tell it.

  get isFrozen(): boolean {
    return this.#state === "frozen"
  }
  get isHanging(): boolean {
    return this.#state !== "open"
  }
  blocks(direction: Direction): boolean {
    return this.#state !== "open" || this.#silent.has(direction)
  }
  /** When bytes that come now are to be passed on: after those before them on the line, and the delay. */
  dueAt(direction: Direction, bytes: number, now: number): number {
    const start = Math.max(now, this.#freeAt[direction])
    const sent = start + (bytes * 1_000) / this.#bytesPerSecond
    this.#freeAt[direction] = sent
    const jitter = this.#jitterMs === 0 ? 0 : (2 * this.#random() - 1) * this.#jitterMs
    return this.#delayMs === 0 ? sent : sent + Math.max(0, this.#delayMs + jitter)
  }
  isUnlucky(): boolean {
    const unlucky = this.#loss > 0 && this.#random() < this.#loss
    if (unlucky) this.#broken += 1
    return unlucky
  }
  passed(direction: Direction, bytes: number): void {
    this.#passed[direction] += bytes
  }
  missed(): void {
    this.#unreachable += 1
  }
  left(link: Link): void {
    this.#links.delete(link)
  }
}
