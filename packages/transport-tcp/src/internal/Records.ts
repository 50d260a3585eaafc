/** Records: sealed plaintexts on a byte stream, each behind its length (u16 big-endian, tag included). */
import { tagLength } from "../CipherState.ts"
import { HEADER_BYTES } from "../Frame.ts"

/** Bytes of a record's length. */
export const LENGTH_BYTES = 2
/** A record holds at least one frame. */
export const MIN_RECORD_BYTES = HEADER_BYTES + tagLength
/** A carried-over part larger than this is let go of when its record is read, so that idle connections hold little. */
const KEPT_BYTES = 4_096

/**
 * Cuts records out of chunks of any size. Whole records are handed on where they lie; of a record that spans chunks it
 * holds as many bytes as its length says, at most 65,535.
 */
export class RecordReader {
  readonly #onRecord: (record: Uint8Array) => boolean
  #carry: Uint8Array | undefined
  #filled = 0
  #wanted = 0
  #first = -1

  /** `onRecord` says whether to go on; the record is valid during the call. */
  constructor(onRecord: (record: Uint8Array) => boolean) {
    this.#onRecord = onRecord
  }

  /** Takes a chunk; gives what is wrong with the stream, if something is. */
  push(chunk: Uint8Array): string | undefined {
    const size = chunk.length
    let at = 0
    while (at < size) {
      if (this.#wanted === 0) {
        let length: number
        if (this.#first >= 0) {
          length = (this.#first << 8) | chunk[at++]!
          this.#first = -1
        } else if (at + 1 < size) {
          length = (chunk[at]! << 8) | chunk[at + 1]!
          at += 2
        } else {
          this.#first = chunk[at]!
          return undefined
        }
        if (length < MIN_RECORD_BYTES) return `a record declares ${length} bytes, the least is ${MIN_RECORD_BYTES}`
        if (at + length <= size) {
          if (!this.#onRecord(chunk.subarray(at, at + length))) return undefined
          at += length
          continue
        }
        this.#wanted = length
        this.#filled = 0
        if (this.#carry === undefined || this.#carry.length < length) {
          this.#carry = new Uint8Array(Math.max(length, KEPT_BYTES))
        }
      }
      const carry = this.#carry!
      const taken = Math.min(this.#wanted - this.#filled, size - at)
      carry.set(chunk.subarray(at, at + taken), this.#filled)
      this.#filled += taken
      at += taken
      if (this.#filled === this.#wanted) {
        const record = carry.subarray(0, this.#wanted)
        this.#wanted = 0
        if (carry.length > KEPT_BYTES && at === size) this.#carry = undefined
        if (!this.#onRecord(record)) return undefined
      }
    }
    return undefined
  }
}
