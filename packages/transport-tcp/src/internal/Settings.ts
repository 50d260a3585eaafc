/** Settings: what one end of a session tells the other in the handshake about what it accepts. */

/** Three u32, big-endian, in this order. Later versions may append. */
export interface Settings {
  readonly windowBytes: number
  readonly connectionWindowBytes: number
  readonly maxStreams: number
}

/** A window below this would make every message crawl; who asks for less gets this. */
const MIN_WINDOW_BYTES = 4_096

/** What an end has that says nothing of itself. */
const defaults: Settings = { windowBytes: 256 * 1024, connectionWindowBytes: 16 * 1024 * 1024, maxStreams: 4_096 }

export const encode = (settings: Settings): Uint8Array => {
  const bytes = new Uint8Array(12)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, settings.windowBytes)
  view.setUint32(4, settings.connectionWindowBytes)
  view.setUint32(8, settings.maxStreams)
  return bytes
}

/** An end that sends none has the defaults. */
export const decode = (bytes: Uint8Array): Settings => {
  if (bytes.length < 12) return defaults
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    windowBytes: Math.max(MIN_WINDOW_BYTES, view.getUint32(0)),
    connectionWindowBytes: Math.max(MIN_WINDOW_BYTES, view.getUint32(4)),
    maxStreams: view.getUint32(8)
  }
}
