/** Held: the items of a node, and what two nodes compare of them. */
import type { Entry, Item } from "../AntiEntropy.ts"

/** Keys held, those that are ignored among them: records and statements of a mesh of 16,384, and messages of minutes. */
export const MAX_HELD = 100_000
/** Bytes held: past it new keys are refused until others expire. */
export const MAX_HELD_BYTES = 128 * 1024 * 1024
/** Least and most buckets of a digest; four items for a bucket in between. */
const MIN_BUCKETS = 16
const MAX_BUCKETS = 1_024

interface Slot<Payload> {
  readonly version: number
  /** Undefined where the version is ignored. */
  readonly item: Item<Payload> | undefined
  readonly expiresAt: number
  readonly low: number
  readonly high: number
}

export class Held<Payload> {
  readonly #slots = new Map<string, Slot<Payload>>()
  #bytes = 0

  get size(): number {
    return this.#slots.size
  }

  /** How many buckets a digest of this node has. */
  get buckets(): number {
    let count = MIN_BUCKETS
    while (count < MAX_BUCKETS && count * 4 < this.#slots.size) count *= 2
    return count
  }

  /** Whether a digest may have so many buckets. */
  isCount(of: number): boolean {
    return of >= MIN_BUCKETS && of <= MAX_BUCKETS && (of & (of - 1)) === 0
  }

  get(key: string, now: number): Slot<Payload> | undefined {
    const slot = this.#slots.get(key)
    return slot !== undefined && slot.expiresAt > now ? slot : undefined
  }

  /** The version held; less than any where there is none. */
  version(key: string, now: number): number {
    return this.get(key, now)?.version ?? Number.NEGATIVE_INFINITY
  }

  /** False where as new a one is held, or there is no room. */
  put(item: Item<Payload>, expiresAt: number, now: number): boolean {
    return this.#set(item.key, item.version, item, expiresAt, now)
  }

  ignore({ key, version }: Entry, expiresAt: number, now: number): void {
    this.#set(key, version, undefined, expiresAt, now)
  }

  delete(key: string): void {
    const slot = this.#slots.get(key)
    if (slot === undefined) return
    this.#bytes -= slot.item?.bytes ?? 0
    this.#slots.delete(key)
  }

  /** Lets go of what has expired. */
  sweep(now: number): void {
    for (const [key, { expiresAt }] of this.#slots) if (expiresAt <= now) this.delete(key)
  }

  /** A hash over the entries of each bucket. */
  digest(salt: number, of: number, now: number): Array<number> {
    const buckets = Array.from<number>({ length: of }).fill(0)
    const mask = of - 1
    for (const { expiresAt, high, low, version } of this.#slots.values()) {
      if (expiresAt <= now) continue
      const bucket = low & mask
      const mixed = mix(mix(mix(low ^ salt) ^ high) ^ (version >>> 0)) ^ Math.floor(version / 0x1_0000_0000)
      buckets[bucket] = (buckets[bucket]! ^ mix(mixed)) >>> 0
    }
    return buckets
  }

  /** Adds the entries of these buckets. */
  list(buckets: Map<number, Array<Entry>>, of: number, now: number): void {
    for (const [key, { expiresAt, low, version }] of this.#slots)
      if (expiresAt > now) buckets.get(low & (of - 1))?.push({ key, version })
  }

  /** What is held in these buckets and is newer than the entries, or not among them. */
  missing(
    {
      buckets,
      entries,
      of
    }: { readonly buckets: ReadonlyArray<number>; readonly entries: ReadonlyArray<Entry>; readonly of: number },
    now: number
  ): ReadonlyArray<Item<Payload>> {
    if (!this.isCount(of)) return []
    const theirs = new Map<string, number>()
    for (const { key, version } of entries) theirs.set(key, version)
    const asked = new Set(buckets)
    const items: Array<Item<Payload>> = []
    for (const [key, { expiresAt, item, low, version }] of this.#slots) {
      if (item === undefined || expiresAt <= now || !asked.has(low & (of - 1))) continue
      if ((theirs.get(key) ?? Number.NEGATIVE_INFINITY) < version) items.push(item)
    }
    return items
  }

  #set(key: string, version: number, item: Item<Payload> | undefined, expiresAt: number, now: number): boolean {
    const before = this.get(key, now)
    if (before !== undefined && before.version >= version) return false
    const bytes = item?.bytes ?? 0
    if (before === undefined && (this.#slots.size >= MAX_HELD || this.#bytes + bytes > MAX_HELD_BYTES)) return false
    const known = this.#slots.get(key)
    this.#bytes += bytes - (known?.item?.bytes ?? 0)
    const low = known?.low ?? hash(key, 0x811c9dc5)
    const high = known?.high ?? hash(key, 0x9747b28c)
    this.#slots.set(key, { version, item, expiresAt, low, high })
    return true
  }
}

/** FNV-1a over a key's letters, and mixed, so that two starts give two hashes. */
const hash = (text: string, start: number): number => {
  let h = start
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return mix(h ^ start)
}

/** The finaliser of MurmurHash3. */
const mix = (value: number): number => {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
