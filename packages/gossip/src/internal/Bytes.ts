/**
 * Writing and reading of wire bytes: big-endian, every length said before what it measures, nothing read beyond the end.
 */
import { Buffer, isUtf8 } from "node:buffer"
import * as NodeId from "@parley/core/NodeId"

/** Bytes of a public key. */
export const KEY_BYTES = 32
/** NodeIds of keys that came lately: writing one as text costs more than all else in a small message. */
const MAX_NAMED = 16_384

const names = new Map<string, NodeId.NodeId>()

/** The NodeId of 32 bytes. */
const named = (key: Buffer): NodeId.NodeId => {
  const index = key.toString("latin1", 0, KEY_BYTES)
  const known = names.get(index)
  if (known !== undefined) return known
  const node = NodeId.fromPublicKey(new Uint8Array(key))
  if (names.size >= MAX_NAMED) names.clear()
  names.set(index, node)
  return node
}

/** Writes into a buffer that grows. */
export class Writer {
  #bytes = Buffer.allocUnsafe(256)
  #size = 0

  /** What was written, in a buffer of its own. */
  done(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.#bytes, 0, this.#size)
  }

  #room(bytes: number): number {
    const at = this.#size
    this.#size += bytes
    if (this.#size > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#size, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    return at
  }

  u8(value: number): this {
    const at = this.#room(1)
    this.#bytes[at] = value
    return this
  }
  u16(value: number): this {
    const at = this.#room(2)
    this.#bytes.writeUInt16BE(value, at)
    return this
  }
  u32(value: number): this {
    const at = this.#room(4)
    this.#bytes.writeUInt32BE(value, at)
    return this
  }
  u48(value: number): this {
    const at = this.#room(6)
    this.#bytes.writeUIntBE(value, at, 6)
    return this
  }
  /** A whole number up to 2^53 - 1, in eight bytes. */
  u64(value: number): this {
    return this.u32(Math.floor(value / 2 ** 32)).u32(value % 2 ** 32)
  }
  bytes(value: Uint8Array): this {
    const at = this.#room(value.length)
    this.#bytes.set(value, at)
    return this
  }
  node(node: NodeId.NodeId): this {
    return this.bytes(NodeId.toPublicKey(node))
  }
  /** Behind a u16 with its length in bytes. */
  text16(text: string): this {
    const bytes = Buffer.from(text, "utf8")
    return this.u16(bytes.length).bytes(bytes)
  }
  /** Behind a u32 with its length in bytes. */
  bytes32(bytes: Uint8Array): this {
    return this.u32(bytes.length).bytes(bytes)
  }
}

/** Bytes that are not what they should be. Caught where decoding begins. */
export class Malformed extends Error {}

/** Reads from bytes that a stranger sent; throws `Malformed` where they are not what is asked for. */
export class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  get at(): number {
    return this.#at
  }
  get left(): number {
    return this.#bytes.length - this.#at
  }

  #take(bytes: number, what: string): number {
    const at = this.#at
    if (bytes > this.#bytes.length - at)
      throw new Malformed(`${what} needs ${bytes} bytes at ${at}, and ${this.#bytes.length - at} are left`)
    this.#at = at + bytes
    return at
  }

  u8(what: string): number {
    return this.#bytes[this.#take(1, what)]!
  }
  u16(what: string): number {
    return this.#bytes.readUInt16BE(this.#take(2, what))
  }
  u32(what: string): number {
    return this.#bytes.readUInt32BE(this.#take(4, what))
  }
  u48(what: string): number {
    return this.#bytes.readUIntBE(this.#take(6, what), 6)
  }
  /** A whole number up to 2^53 - 1, of eight bytes. */
  u64(what: string): number {
    const value = this.u32(what) * 2 ** 32 + this.u32(what)
    if (!Number.isSafeInteger(value)) throw new Malformed(`${what} is beyond 2^53 - 1`)
    return value
  }
  /** A whole number from 0 to `most`, of one byte. */
  upTo(most: number, what: string): number {
    const value = this.u8(what)
    if (value > most) throw new Malformed(`${what} is ${value}, at most ${most}`)
    return value
  }
  /** A count in two bytes, at most `most`. */
  count(most: number, what: string): number {
    const value = this.u16(what)
    if (value > most) throw new Malformed(`${value} ${what}, at most ${most}`)
    return value
  }
  /** So many bytes, copied. */
  bytes(length: number, what: string): Uint8Array {
    const at = this.#take(length, what)
    return Uint8Array.prototype.slice.call(this.#bytes, at, at + length)
  }
  hex(length: number, what: string): string {
    const at = this.#take(length, what)
    return this.#bytes.toString("hex", at, at + length)
  }
  node(what: string): NodeId.NodeId {
    const at = this.#take(KEY_BYTES, what)
    return named(this.#bytes.subarray(at, at + KEY_BYTES))
  }
  /** UTF-8 behind a u16 with its length. What is no UTF-8 is refused: two texts must not have one spelling. */
  text16(most: number, what: string): string {
    const length = this.u16(what)
    if (length > most) throw new Malformed(`${what} has ${length} bytes, at most ${most}`)
    return this.text(length, what)
  }
  /** UTF-8 of so many bytes. */
  text(length: number, what: string): string {
    const at = this.#take(length, what)
    const text = this.#bytes.toString("utf8", at, at + length)
    // Only where the mark of a broken one stands is it looked at closely: it may have been written.
    if (text.includes("\ufffd") && !isUtf8(this.#bytes.subarray(at, at + length)))
      throw new Malformed(`${what} is not UTF-8`)
    return text
  }
  /** Bytes behind a u32 with their length. */
  bytes32(most: number, what: string): Uint8Array {
    const length = this.u32(what)
    if (length > most) throw new Malformed(`${what} has ${length} bytes, at most ${most}`)
    return this.bytes(length, what)
  }
  /** Everything has been read. */
  end(): void {
    if (this.left > 0) throw new Malformed(`${this.left} bytes too many at the end`)
  }
}
