/** What an intruder's capture holds: every frame, and the bytes of every TCP flow put together again. */
import { readFileSync } from "node:fs"

/** A capture. */
export interface Capture {
  readonly frames: ReadonlyArray<Buffer>
  /** The payload of each direction of each TCP connection, in the order in which it came by. */
  readonly flows: ReadonlyArray<{ readonly to: string; readonly bytes: Buffer }>
}

const ETHERNET = 14

/** Reads what `intruder.py capture` has written. */
export const read = (path: string): Capture => {
  const data = readFileSync(path)
  const frames: Array<Buffer> = []
  for (let at = 0; at + 4 <= data.length;) {
    const length = data.readUInt32BE(at)
    frames.push(data.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  const flows = new Map<string, { readonly to: string; readonly parts: Array<Buffer>; next: number }>()
  for (const frame of frames) {
    const type = frame.length > ETHERNET + 40 ? frame.readUInt16BE(12) : 0
    const isV4 = type === 0x0800
    if (!isV4 && type !== 0x86dd) continue
    const tcp = isV4 ? ETHERNET + (frame[ETHERNET]! & 15) * 4 : ETHERNET + 40
    if ((isV4 ? frame[ETHERNET + 9] : frame[ETHERNET + 6]) !== 6 || frame.length < tcp + 20) continue
    const end = isV4 ? ETHERNET + frame.readUInt16BE(ETHERNET + 2) : tcp + frame.readUInt16BE(ETHERNET + 4)
    const hosts = isV4 ? frame.subarray(ETHERNET + 12, ETHERNET + 20) : frame.subarray(ETHERNET + 8, ETHERNET + 40)
    const key = `${hosts.toString("hex")} ${frame.readUInt32BE(tcp)}`
    const payload = frame.subarray(tcp + (frame[tcp + 12]! >> 4) * 4, end)
    const seq = frame.readUInt32BE(tcp + 4)
    const host = isV4 ? hosts.subarray(4).join(".") : hosts.subarray(16).toString("hex")
    const flow = flows.get(key) ?? { to: `${host}:${frame.readUInt16BE(tcp + 2)}`, parts: [], next: -1 }
    flows.set(key, flow)
    // Sent anew, or seen twice: the bytes are there already.
    if (payload.length === 0 || seq === flow.next) continue
    flow.next = seq
    flow.parts.push(payload)
  }
  return { frames, flows: [...flows.values()].map(({ parts, to }) => ({ to, bytes: Buffer.concat(parts) })) }
}

/** How many times a secret stands in a capture, in frames or across them. */
export const count = ({ flows, frames }: Capture, secret: string | Uint8Array): number => {
  const holds = (bytes: Buffer): boolean => bytes.includes(secret)
  return frames.filter(holds).length + flows.filter(({ bytes }) => holds(bytes)).length
}

/** The first bytes that somebody sent who dialled one of these addresses `ip:port`: what an intruder can say again. */
export const openings = ({ flows }: Capture, to: ReadonlyArray<string>): ReadonlyArray<string> =>
  flows.flatMap((flow) =>
    to.includes(flow.to) && flow.bytes.length >= 76 ? [flow.bytes.subarray(0, 78).toString("hex")] : []
  )
