/** What `Stream.ts` tells its children, and what they say. */

/** What a reader is told; each is answered by a `Taken`. */
export type Order =
  /** So many small chunks. */
  | { readonly _tag: "Rows"; readonly rows: number }
  /** So many bytes, a multiple of `BLOCK_BYTES`; a slow reader rests for `restMs` after each `REST_BYTES`. */
  | { readonly _tag: "Bytes"; readonly bytes: number; readonly restMs: number }
  /** Answered by a `Peak`: begins to look how much memory there is, or stops. */
  | { readonly _tag: "Watch"; readonly on: boolean }

/** What a reader took. */
export interface Taken {
  readonly chunks: number
  readonly bytes: number
  readonly seconds: number
}

/** Resident memory, in bytes: when watching began, and the most of it since. */
export interface Peak {
  readonly before: number
  readonly most: number
}

/** Bytes of a chunk of bulk data. */
export const BLOCK_BYTES = 64 * 1024
/** How much a slow reader takes before it rests. */
export const REST_BYTES = 1024 * 1024
