/**
 * SecureSocket: two processes prove their keys to each other over a socket, and from then on exchange sealed records.
 *
 * ```
 * dialler  → acceptor   hello: Ed25519 key (32) ‖ fresh X25519 key (32)
 * acceptor → dialler    hello, and a sealed proof
 * dialler  → acceptor   a sealed proof, once it has seen whom it wanted
 * ```
 *
 * A proof is the identity's signature over the sender's role and the hash of both hellos. Both are fresh, so it proves the
 * key in this very session (the SIGMA pattern: sign what was exchanged, seal with what came of it). The keys are HKDF-SHA256
 * of the X25519 secret, one for each direction. A record is its length (4 bytes) and AES-256-GCM with a counter as nonce:
 * one that is altered, left out, repeated or moved does not open, and the socket is closed.
 *
 * Unlike Noise XX in `@parley/transport-tcp`, the two NodeIds travel in the clear: here only this user can read the socket.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync
} from "node:crypto"
import type { Socket } from "node:net"
import type { Identity } from "@parley/core/Identity"
import * as NodeId from "@parley/core/NodeId"
import * as Signature from "@parley/core/Signature"
import * as SignedBytes from "@parley/core/SignedBytes"

/** Largest record that is sealed or read, in bytes without tag: one chunk of a message, and its header. */
export const MAX_RECORD_BYTES = 64 * 1024
/** Bytes that wait for the peer to read before the sender is told to stop. */
export const HIGH_WATER_BYTES = 1024 * 1024
/** Bytes that may wait at all: acknowledgements go on while data stops. Past it the peer is taken for dead. */
export const MAX_UNSENT_BYTES = 16 * HIGH_WATER_BYTES
/** How long the last bytes may take to leave after `end`. */
const LINGER_MS = 1_000

const HELLO_BYTES = 64
const TAG_BYTES = 16
const spkiPrefix = Buffer.from("302a300506032b656e032100", "hex")
const roles = { dialler: 0, acceptor: 1 } as const

/** Which end dialled. */
export type Role = keyof typeof roles

/** What the owner of a proven socket hears. */
export interface LinkHandler {
  /** One opened record. */
  readonly onRecord: (record: Uint8Array) => void
  /** What waited to be sent has left. */
  readonly onDrain: () => void
  /** The socket is over. Called once, and nothing comes after it. */
  readonly onClosed: (why: string) => void
}

/** How two ends meet. */
export interface Meeting {
  readonly socket: Socket
  readonly role: Role
  readonly identity: Identity["Service"]
  /** Whoever answers must have this key. */
  readonly expect: NodeId.NodeId | undefined
  /** The peer is proven; gives who hears of the socket from now on. */
  readonly onProven: (peer: NodeId.NodeId) => LinkHandler
  /** It came to nothing, and the socket is closed. */
  readonly onFailed: (code: string, detail: string) => void
}

interface Keys {
  readonly send: Uint8Array
  readonly receive: Uint8Array
  readonly transcript: Uint8Array
  readonly peerKey: Uint8Array
}

const nonceOf = (count: number): Buffer => {
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64BE(BigInt(count), 4)
  return nonce
}

/** One end. It begins the handshake as soon as it is made. */
export class SecureSocket {
  readonly #meeting: Meeting
  readonly #ephemeral = generateKeyPairSync("x25519")
  readonly #hello: Buffer
  #phase: "hello" | "proof" | "open" | "over" = "hello"
  #rest: Buffer = Buffer.alloc(0)
  #keys: Keys | undefined
  #sent = 0
  #received = 0
  #handler: LinkHandler | undefined

  constructor(meeting: Meeting) {
    this.#meeting = meeting
    const { identity, role, socket } = meeting
    const exchange = this.#ephemeral.publicKey.export({ format: "der", type: "spki" })
    this.#hello = Buffer.concat([identity.publicKey, exchange.subarray(spkiPrefix.length)])
    socket.on("data", (chunk: Uint8Array) => this.#read(chunk))
    socket.on("drain", () => this.#handler?.onDrain())
    socket.on("error", (error) => this.#over("SocketError", error.message))
    socket.on("close", () => this.#over("Closed", "the other end closed the socket"))
    if (role === "dialler") socket.write(this.#hello)
  }

  /** The peer reads more slowly than this end writes: send no more data before `onDrain`. */
  get congested(): boolean {
    return this.#meeting.socket.writableLength > HIGH_WATER_BYTES
  }

  /** Seals and sends one record. */
  send(record: Uint8Array): void {
    const keys = this.#keys
    if (this.#phase === "over" || keys === undefined) return
    const cipher = createCipheriv("aes-256-gcm", keys.send, nonceOf(this.#sent++))
    const sealed = cipher.update(record)
    cipher.final()
    const length = Buffer.alloc(4)
    length.writeUInt32BE(record.length + TAG_BYTES)
    this.#meeting.socket.write(Buffer.concat([length, sealed, cipher.getAuthTag()]))
    if (this.#meeting.socket.writableLength > MAX_UNSENT_BYTES) this.#over("TooSlow", "the other end stopped reading")
  }

  /** Closes when what was sent has left; nobody hears of it. */
  end(): void {
    this.#phase = "over"
    const { socket } = this.#meeting
    const timer = setTimeout(() => socket.destroy(), LINGER_MS)
    timer.unref()
    socket.once("close", () => clearTimeout(timer))
    socket.end()
  }

  /** Closes at once; nobody hears of it. */
  destroy(): void {
    this.#phase = "over"
    this.#meeting.socket.destroy()
  }

  #over(code: string, detail: string): void {
    if (this.#phase === "over") return
    this.destroy()
    if (this.#handler === undefined) this.#meeting.onFailed(code, detail)
    else this.#handler.onClosed(detail)
  }

  #read(chunk: Uint8Array): void {
    if (this.#isOver()) return
    this.#rest = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk])
    while (!this.#isOver()) {
      if (this.#phase === "hello") {
        const hello = this.#take(HELLO_BYTES)
        if (hello === undefined) return
        this.#greet(hello)
      } else {
        const record = this.#open()
        if (record === undefined) return
        if (this.#phase === "proof") this.#prove(record)
        else this.#handler?.onRecord(record)
      }
    }
  }

  #isOver(): boolean {
    return this.#phase === "over"
  }

  #take(bytes: number): Buffer | undefined {
    if (this.#rest.length < bytes) return undefined
    const taken = this.#rest.subarray(0, bytes)
    this.#rest = this.#rest.subarray(bytes)
    return taken
  }

  /** The next record, or undefined when it has not all come, or the socket is over. */
  #open(): Uint8Array | undefined {
    const keys = this.#keys
    if (keys === undefined || this.#rest.length < 4) return undefined
    const length = this.#rest.readUInt32BE(0)
    if (length < TAG_BYTES || length > MAX_RECORD_BYTES + TAG_BYTES) {
      this.#over("Oversized", `a record of ${length} bytes`)
      return undefined
    }
    const framed = this.#take(4 + length)
    if (framed === undefined) return undefined
    const decipher = createDecipheriv("aes-256-gcm", keys.receive, nonceOf(this.#received++))
    decipher.setAuthTag(framed.subarray(4 + length - TAG_BYTES))
    const record = decipher.update(framed.subarray(4, 4 + length - TAG_BYTES))
    try {
      decipher.final()
      return record
    } catch {
      this.#over("BadMac", "a record was altered on the way")
      return undefined
    }
  }

  #greet(theirs: Buffer): void {
    const { role, socket } = this.#meeting
    const hellos = role === "dialler" ? [this.#hello, theirs] : [theirs, this.#hello]
    const transcript = createHash("sha256").update(Buffer.concat(hellos)).digest()
    let secret: Buffer
    try {
      const key = Buffer.concat([spkiPrefix, theirs.subarray(32)])
      const publicKey = createPublicKey({ key, format: "der", type: "spki" })
      secret = diffieHellman({ privateKey: this.#ephemeral.privateKey, publicKey })
    } catch {
      return this.#over("BadKey", "the X25519 key is none")
    }
    // A point of low order gives a secret that everyone knows (RFC 7748, section 6.1).
    if (secret.every((byte) => byte === 0)) return this.#over("BadKey", "the X25519 key is of low order")
    const derived = new Uint8Array(hkdfSync("sha256", secret, transcript, "parley-unix/1", 64))
    const both = [derived.subarray(0, 32), derived.subarray(32)] as const
    const [send, receive] = role === "dialler" ? both : [both[1], both[0]]
    this.#keys = { send, receive, transcript, peerKey: Uint8Array.from(theirs.subarray(0, 32)) }
    this.#phase = "proof"
    if (role === "dialler") return
    socket.write(this.#hello)
    this.send(this.#meeting.identity.sign(this.#signed(role)))
  }

  #signed(role: Role): Uint8Array {
    const body = Buffer.concat([Uint8Array.of(roles[role]), this.#keys?.transcript ?? Buffer.alloc(0)])
    return SignedBytes.make("unix-handshake", body)
  }

  #prove(signature: Uint8Array): void {
    const { expect, identity, onProven, role } = this.#meeting
    const peerKey = this.#keys!.peerKey
    const peer = NodeId.fromPublicKey(peerKey)
    const signed = this.#signed(role === "dialler" ? "acceptor" : "dialler")
    if (!Signature.best.verify(peerKey, signed, signature)) {
      return this.#over("BadIdentitySignature", `whoever answered does not hold the key of ${peer}`)
    }
    if (peer === identity.nodeId) return this.#over("SelfDial", "that is this node itself")
    if (expect !== undefined && peer !== expect) {
      return this.#over("UnexpectedPeer", `${peer} answered instead of ${expect}`)
    }
    this.#phase = "open"
    // The acceptor reports the connection only when it has this, so it hears nothing of a dial to the wrong peer.
    if (role === "dialler") this.send(identity.sign(this.#signed(role)))
    this.#handler = onProven(peer)
  }
}
