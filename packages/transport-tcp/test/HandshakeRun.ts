/** Two ends of a handshake in one process, over a wire that a test can alter. */
import { expect } from "bun:test"
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto"
import type { Seeded } from "@parley/core/testing/Seeded"
import { tagLength } from "@parley/transport-tcp/CipherState"
import type { CipherState } from "@parley/transport-tcp/CipherState"
import * as Handshake from "@parley/transport-tcp/Handshake"
import type { HandshakeError } from "@parley/transport-tcp/HandshakeError"
import * as X25519 from "@parley/transport-tcp/X25519"

export const empty = new Uint8Array(0)
export const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex")
export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"))
export const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)
export const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))

/** An identity, a static key and an ephemeral key made of one small number, so that every run is the same. */
export const node = (seed: number) => {
  const secret = filled(32, seed)
  const prefix = Buffer.from("302e020100300506032b657004220420", "hex")
  const privateKey = createPrivateKey({ key: Buffer.concat([prefix, secret]), format: "der", type: "pkcs8" })
  const identity = new Uint8Array(createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(12))
  return {
    secret,
    staticSecret: filled(32, seed + 100),
    options: {
      identity,
      sign: (message: Uint8Array): Uint8Array => sign(null, message, privateKey),
      verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
        const key = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey])
        return verify(null, message, createPublicKey({ key, format: "der", type: "spki" }), signature)
      },
      staticKey: X25519.fromPrivateKey(filled(32, seed + 100))
    }
  }
}

export const alice = node(1)
export const bob = node(2)
export const mallory = node(3)

export interface End {
  readonly handshake: Handshake.Handshake
  outcome: Handshake.Outcome | undefined
  error: HandshakeError | undefined
}

export type Path = (message: Uint8Array, index: number) => Uint8Array

export interface Run {
  readonly initiator: End
  readonly responder: End
  readonly messages: ReadonlyArray<Uint8Array>
}

/** Runs two ends against each other over a wire that sees, and may alter, each message; `cut` splits it into chunks. */
export const run = (
  a: Handshake.InitiatorOptions,
  b: Handshake.Options,
  wire: Path = (message) => message,
  cut: (message: Uint8Array) => ReadonlyArray<Uint8Array> = (message) => [message]
): Run => {
  const end = (handshake: Handshake.Handshake): End => ({ handshake, outcome: undefined, error: undefined })
  const initiator = end(Handshake.initiator(a))
  const responder = end(Handshake.responder(b))
  const messages: Array<Uint8Array> = []
  const deliver = (message: Uint8Array | undefined, to: End, from: End): void => {
    if (message === undefined || message.length === 0) return
    messages.push(message)
    for (const chunk of cut(wire(message, messages.length - 1))) {
      const step = to.handshake.receive(chunk)
      if (step._tag === "Established") to.outcome = step.outcome
      if (step._tag === "Failed") to.error ??= step.error
      deliver(step.send, from, to)
    }
  }
  deliver(initiator.handshake.hello, responder, initiator)
  return { initiator, responder, messages }
}

export const seal = (state: CipherState, plaintext: Uint8Array): Uint8Array => {
  const out = new Uint8Array(plaintext.length + tagLength)
  state.seal(out, 0, plaintext)
  return out
}

/** Both ends agree on everything and their keys fit, in both directions. */
export const expectAgreement = ({ initiator, responder }: Run): readonly [Handshake.Outcome, Handshake.Outcome] => {
  const [a, b] = [initiator.outcome, responder.outcome]
  if (a === undefined || b === undefined) {
    throw new Error(`no agreement: ${initiator.error?.message ?? "-"} / ${responder.error?.message ?? "-"}`)
  }
  expect(hex(a.handshakeHash)).toBe(hex(b.handshakeHash))
  expect([a.cipher, a.features, a.version]).toEqual([b.cipher, b.features, b.version])
  for (const [from, to] of [
    [a, b],
    [b, a]
  ] as const) {
    expect(hex(to.receive.openFresh(seal(from.send, filled(100, 5))) ?? empty)).toBe(hex(filled(100, 5)))
  }
  return [a, b]
}

export const reasons = ({ initiator, responder }: Run) => [initiator.error?.reason, responder.error?.reason]

export const networkKey = filled(32, 77)
export const networks = [
  ["no network key", {}],
  ["a network key", { networkKey }]
] as const

/** Cuts, replaces, lengthens or overwrites a valid input. */
export const mutate = (input: Uint8Array, random: Seeded): Uint8Array => {
  switch (random.int(4)) {
    case 0:
      return input.subarray(0, random.int(input.length))
    case 1:
      return random.bytes(random.int(300))
    case 2:
      return concat(input, random.bytes(1 + random.int(40)))
    default: {
      const changed = Uint8Array.from(input)
      for (let i = 1 + random.int(4); i > 0; i--) changed[random.int(changed.length)] = random.int(256)
      return changed
    }
  }
}
