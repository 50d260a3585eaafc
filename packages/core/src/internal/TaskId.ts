/**
 * The id of a task, which is also its idempotency key: 16 bytes that its caller chose, held as four numbers so that reading,
 * comparing and hashing one makes no string and no buffer.
 */
import { randomBytes, randomFillSync } from "node:crypto"

/** Bytes of a task id. */
export const TASK_BYTES = 16

/** The id of a task. */
export class TaskId {
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number

  constructor(a: number, b: number, c: number, d: number) {
    this.a = a
    this.b = b
    this.c = c
    this.d = d
  }

  same(other: TaskId): boolean {
    return this.a === other.a && this.b === other.b && this.c === other.c && this.d === other.d
  }

  /** 32 lower-case digits. */
  get hex(): string {
    return digits(this.a) + digits(this.b) + digits(this.c) + digits(this.d)
  }
}

/** A word as 8 hex digits. */
export const digits = (word: number): string => (word >>> 0).toString(16).padStart(8, "0")

/** Four bytes, big-endian. */
export const word = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!

/** Reads an id, which must be there whole. */
export const read = (bytes: Uint8Array, at: number): TaskId =>
  new TaskId(word(bytes, at), word(bytes, at + 4), word(bytes, at + 8), word(bytes, at + 12))

/** Random words, made many at a time. */
const pool = new Int32Array(1_024)
let poolAt = pool.length

/** A fresh random id. */
export const fresh = (): TaskId => {
  if (poolAt === pool.length) {
    randomFillSync(pool)
    poolAt = 0
  }
  const at = poolAt
  poolAt += 4
  return new TaskId(pool[at]!, pool[at + 1]!, pool[at + 2]!, pool[at + 3]!)
}

const [k0, k1, k2, k3, k4, k5, k6, k7, k8] = new Int32Array(Uint8Array.from(randomBytes(36)).buffer) as unknown as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number
]

/**
 * A hash of at most 17 good bits, the upper ones: halves of words times secret keys, added up (multilinear hashing; Lemire and
 * Kaser, 2014). Whatever ids a caller chooses, two of them fall together no more often than by chance.
 */
export const hash = ({ a, b, c, d }: TaskId): number =>
  (k0 +
    Math.imul(k1, a & 0xffff) +
    Math.imul(k2, a >>> 16) +
    Math.imul(k3, b & 0xffff) +
    Math.imul(k4, b >>> 16) +
    Math.imul(k5, c & 0xffff) +
    Math.imul(k6, c >>> 16) +
    Math.imul(k7, d & 0xffff) +
    Math.imul(k8, d >>> 16)) |
  0
