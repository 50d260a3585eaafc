/** js-libp2p with what it needs to be asked over TCP: noise, yamux, and room for as many streams as are asked for. */
import { getCiphers } from "node:crypto"
import { noise } from "@libp2p/noise"
import { asCrypto, defaultCrypto } from "@libp2p/noise/crypto"
import { tcp } from "@libp2p/tcp"
import { yamux } from "@libp2p/yamux"
import { multiaddr } from "@multiformats/multiaddr"
import { createLibp2p, type Libp2pOptions } from "libp2p"

const PROTOCOL = "/bench/echo/1.0.0"
const MOST_STREAMS = 4_096

type Node = Awaited<ReturnType<typeof createLibp2p>>
export type Connection = Awaited<ReturnType<Node["dial"]>>
export type Stream = Awaited<ReturnType<Connection["newStream"]>>

/**
 * Its own choice is WebAssembly for small messages and the runtime's cipher for long ones. Bun has no such cipher, and WebAssembly
 * is the faster of the two that libp2p has without.
 */
const crypto = getCiphers().includes("chacha20-poly1305")
  ? defaultCrypto
  : {
      ...defaultCrypto,
      chaCha20Poly1305Encrypt: asCrypto.chaCha20Poly1305Encrypt,
      chaCha20Poly1305Decrypt: asCrypto.chaCha20Poly1305Decrypt
    }

export const start = (
  listen: ReadonlyArray<string>,
  connectionManager: NonNullable<Libp2pOptions["connectionManager"]> = {}
) =>
  createLibp2p({
    connectionManager,
    addresses: { listen: [...listen] },
    transports: [tcp()],
    connectionEncrypters: [noise({ crypto })],
    streamMuxers: [yamux({ maxInboundStreams: MOST_STREAMS, maxOutboundStreams: MOST_STREAMS })],
    connectionMonitor: { enabled: false }
  })

/** Starts a node that gives each stream to `onStream`, and gives its address. */
export const serve = async (onStream: (stream: Stream) => void): Promise<string> => {
  const node = await start(["/ip4/127.0.0.1/tcp/0"])
  await node.handle(PROTOCOL, onStream, { maxInboundStreams: MOST_STREAMS })
  return node.getMultiaddrs()[0]!.toString()
}

export const dial = async (address: string): Promise<Connection> => (await start([])).dial(multiaddr(address))

export const open = (connection: Connection): Promise<Stream> =>
  connection.newStream(PROTOCOL, { maxOutboundStreams: MOST_STREAMS })

/** All bytes that the other end sends until it closes its end. */
export const readAll = (stream: Stream): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    let bytes: Uint8Array | undefined
    stream.addEventListener("message", ({ data }) => {
      const chunk = data.subarray()
      bytes = bytes === undefined ? chunk : Buffer.concat([bytes, chunk])
    })
    stream.addEventListener("end", () =>
      bytes === undefined ? reject(new Error("the stream ended without a message")) : resolve(bytes)
    )
    stream.addEventListener("close", (event) => {
      if (event.error !== undefined) reject(event.error)
    })
  })
