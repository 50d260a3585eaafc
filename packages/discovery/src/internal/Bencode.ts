/** Bencoding (BEP 3) as strangers send it: strict, and bounded before anything is built. */

/** Deepest nesting that is read: a message is a dictionary of dictionaries with a list in it. */
export const MAX_DEPTH = 5
/** Values that one text may hold: many times what the fullest message needs. */
export const MAX_VALUES = 256

/** What bencoding can say. */
export type Value = number | Buffer | ReadonlyArray<Value> | Dictionary
/** A dictionary without prototype; its keys are read as Latin-1. */
export interface Dictionary {
  readonly [key: string]: Value | undefined
}

/** What can be written: text as UTF-8, bytes as they are; members that are undefined or null are left out. */
export type Encodable =
  | number
  | string
  | Uint8Array
  | null
  | undefined
  | ReadonlyArray<Encodable>
  | { readonly [key: string]: Encodable }

export const isDictionary = (value: Value | undefined): value is Dictionary =>
  typeof value === "object" && !Array.isArray(value) && !Buffer.isBuffer(value)

const [INTEGER, LIST, DICTIONARY, END, COLON, ZERO, NINE, MINUS] = [0x69, 0x6c, 0x64, 0x65, 0x3a, 0x30, 0x39, 0x2d]

class Reader {
  readonly #bytes: Buffer
  #at = 0
  #left = MAX_VALUES

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }
  get isDone(): boolean {
    return this.#at === this.#bytes.length
  }
  /** Digits up to `end`, without a leading zero. */
  #number(end: number): number | undefined {
    const bytes = this.#bytes
    const isNegative = bytes[this.#at] === MINUS
    if (isNegative) this.#at++
    const first = this.#at
    let value = 0
    for (; bytes[this.#at] !== end; this.#at++) {
      const digit = bytes[this.#at]
      if (digit === undefined || digit < ZERO || digit > NINE) return undefined
      value = value * 10 + digit - ZERO
      if (value > Number.MAX_SAFE_INTEGER) return undefined
    }
    const digits = this.#at - first
    this.#at++
    if (digits === 0 || (bytes[first] === ZERO && (digits > 1 || isNegative))) return undefined
    return isNegative ? -value : value
  }
  #string(): Buffer | undefined {
    const length = this.#bytes[this.#at] === MINUS ? undefined : this.#number(COLON)
    if (length === undefined || length > this.#bytes.length - this.#at) return undefined
    const from = this.#at
    this.#at += length
    return this.#bytes.subarray(from, this.#at)
  }
  value(depth: number): Value | undefined {
    if (depth > MAX_DEPTH || this.#left-- <= 0) return undefined
    switch (this.#bytes[this.#at]) {
      case INTEGER:
        this.#at++
        return this.#number(END)
      case LIST: {
        this.#at++
        const list: Array<Value> = []
        while (this.#bytes[this.#at] !== END) {
          const value = this.value(depth + 1)
          if (value === undefined) return undefined
          list.push(value)
        }
        this.#at++
        return list
      }
      case DICTIONARY: {
        this.#at++
        const dictionary: { [key: string]: Value } = Object.create(null)
        while (this.#bytes[this.#at] !== END) {
          const key = this.#string()?.toString("latin1")
          if (key === undefined || key in dictionary) return undefined
          const value = this.value(depth + 1)
          if (value === undefined) return undefined
          dictionary[key] = value
        }
        this.#at++
        return dictionary
      }
      default:
        return this.#string()
    }
  }
}

/** Reads one value that is the whole text; undefined where it is none, or passes a bound. Byte strings share its memory. */
export const decode = (bytes: Buffer): Value | undefined => {
  const reader = new Reader(bytes)
  const value = reader.value(0)
  return value !== undefined && reader.isDone ? value : undefined
}

const write = (parts: Array<Buffer>, value: Encodable): void => {
  if (typeof value === "number") parts.push(Buffer.from(`i${value}e`, "latin1"))
  else if (typeof value === "string") {
    const bytes = Buffer.from(value)
    parts.push(Buffer.from(`${bytes.length}:`, "latin1"), bytes)
  } else if (value instanceof Uint8Array) {
    parts.push(Buffer.from(`${value.length}:`, "latin1"), Buffer.from(value.buffer, value.byteOffset, value.byteLength))
  } else if (Array.isArray(value)) {
    parts.push(Buffer.from("l"))
    for (const one of value as ReadonlyArray<Encodable>) if (one !== undefined && one !== null) write(parts, one)
    parts.push(Buffer.from("e"))
  } else if (typeof value === "object" && value !== null) {
    const members = value as { readonly [key: string]: Encodable }
    parts.push(Buffer.from("d"))
    for (const key of Object.keys(members).sort()) {
      const member = members[key]
      if (member === undefined || member === null) continue
      write(parts, key)
      write(parts, member)
    }
    parts.push(Buffer.from("e"))
  }
}

/** Writes a value; numbers are whole. */
export const encode = (value: Encodable): Buffer => {
  const parts: Array<Buffer> = []
  write(parts, value)
  return Buffer.concat(parts)
}
