/** Attacks on the overlay: strangers who want to be all of a node's neighbours, and who say what is not so without end. */
import * as Identity from "@parley/core/Identity"
import * as NodeId from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { mutate, type Seeded } from "@parley/core/testing/Seeded"
import type { Connection, Stream } from "@parley/core/Transport"
import * as Envelope from "@parley/gossip/Envelope"
import * as Payload from "@parley/gossip/Payload"
import * as Wire from "@parley/gossip/Wire"
import { add, addressOf, type Attack } from "./Attack.ts"
import { deaf, siege, type Stranger, STRANGERS } from "./Strangers.ts"

const NOTHING = new Uint8Array(0)
/** Messages in one burst of a stranger. */
const BURST = 20

/** Nodes that do not exist, at addresses of the attackers. */
const invented = (random: Seeded, many: number): ReadonlyArray<Wire.Hint> =>
  Array.from({ length: many }, () => ({
    node: NodeId.fromPublicKey(random.bytes(32)),
    addresses: [`tcp://${addressOf(random.int(250))}:${1 + random.int(65_000)}`]
  }))

const speaking = new WeakMap<Connection, Stream>()

/** The stranger's stream of gossip, greeted once. */
const streamOf = (connection: Connection): Stream | undefined => {
  const open = speaking.get(connection)
  if (open !== undefined) return open
  const stream = connection.open(Protocol.GOSSIP, { ...deaf, onClosed: () => void speaking.delete(connection) })
  if (stream === undefined) return undefined
  speaking.set(connection, stream)
  stream.send(Wire.encodeHello({ epoch: Date.now(), addresses: [] }), undefined, false)
  return stream
}

/** Many keys of one attacker, each of which wants to be a neighbour, and tells of others that are not there. */
export const sybils: Attack = {
  what: `${STRANGERS} strangers that join the overlay again and again, and tell of thousands that do not exist`,
  run: async (victim, counts, random, over) => {
    await siege(victim, counts, over, (connection, { identity }) => {
      const stream = streamOf(connection)
      for (let i = 0; i < BURST; i++) {
        const peers = invented(random, Wire.MAX_SAMPLE)
        const hints = new Map(peers.map(({ addresses, node }) => [node as string, addresses]))
        const message: Wire.Message = random.pick<Wire.Message>([
          { _tag: "Join" },
          { _tag: "Neighbor", priority: "high" },
          { _tag: "ForwardJoin", peer: peers[0]!.node, ttl: 6 },
          { _tag: "Shuffle", origin: identity.nodeId, ttl: 6, peers: peers.map(({ node }) => node) },
          { _tag: "ShuffleReply", peers: peers.map(({ node }) => node) }
        ])
        if (
          stream?.send(
            Wire.encode(message, (node) => hints.get(node) ?? []),
            undefined,
            false
          ) === undefined
        )
          return
        add(counts, "messages")
      }
    })
  }
}

const forged = (publisher: Stranger["identity"], seq: number, random: Seeded): Uint8Array => {
  const now = Date.now()
  const at = random.pick([now, now, now + 10 * Envelope.CLOCK_SKEW_MS, now - 10 * Envelope.MAX_AGE_MS])
  const envelope = Envelope.seal(publisher, { epoch: now, seq, at, topic: "news", text: JSON.stringify({ n: seq }) })
  return Payload.ofEnvelope(envelope).payload
}

/** Topics' messages without end: signed, replayed, of the past and the future, forged, and bytes that are nearly one. */
export const storm: Attack = {
  what: `${STRANGERS} strangers that broadcast without end: signed, replayed, stale, of the future, forged, broken`,
  run: async (victim, counts, random, over) => {
    const somebody = Identity.generate()
    const said: Array<Uint8Array> = []
    await siege(victim, counts, over, (connection, { identity }) => {
      const stream = streamOf(connection)
      for (let i = 0; i < BURST; i++) {
        const payload = said.length > 200 && random.int(2) === 0 ? random.pick(said) : forged(identity, i, random)
        if (said.length < 1_000) said.push(payload)
        if (random.int(4) === 0) payload.set(NodeId.toPublicKey(somebody.nodeId), 1)
        const message = Wire.encode({ _tag: "Gossip", id: "", origin: "", round: random.int(8), payload }, () => [])
        const bytes = random.int(8) === 0 ? mutate(random, message) : message
        if (stream?.send(bytes, NOTHING, false) === undefined) return
        add(counts, "messages")
      }
    })
  }
}
