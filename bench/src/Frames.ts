/** Frames behind a length, as bare TCP carries them in the bench. */

export const LENGTH_BYTES = 4

/**
 * Gives all whole frames of a chunk at once, lengths included, and how many they are; what is not whole waits for the next
 * chunk. The bytes are valid during the call alone.
 */
export const framesOf = (onFrames: (frames: Buffer, count: number) => void) => {
  // What has come of a frame, in pieces: a large frame is joined once, when it is whole.
  let pieces: Array<Buffer> = []
  let held = 0
  let wanted = LENGTH_BYTES
  return (chunk: Buffer): void => {
    let bytes = chunk
    if (held > 0) {
      pieces.push(Buffer.from(chunk))
      held += chunk.length
      if (held < wanted) return
      bytes = Buffer.concat(pieces)
      pieces = []
      held = 0
    }
    let at = 0
    let count = 0
    wanted = LENGTH_BYTES
    while (at + LENGTH_BYTES <= bytes.length) {
      const end = at + LENGTH_BYTES + bytes.readUInt32BE(at)
      if (end > bytes.length) {
        wanted = end - at
        break
      }
      at = end
      count += 1
    }
    if (at < bytes.length) {
      held = bytes.length - at
      pieces = [Buffer.from(bytes.subarray(at))]
    }
    if (count > 0) onFrames(bytes.subarray(0, at), count)
  }
}
