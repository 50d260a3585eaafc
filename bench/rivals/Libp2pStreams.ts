/** js-libp2p the way its own protocols ask: a stream for each request, which ends the request, and the answer, by closing. */
import { type Path, type Payload, payloadOf } from "../src/Path.ts"
import { lanes } from "./Lanes.ts"
import { dial, open, readAll, serve, type Stream } from "./Libp2p.ts"

const send = (stream: Stream, payload: Payload): void => {
  stream.send(Buffer.from(JSON.stringify(payload)))
  stream.close().catch(() => undefined)
}

const receive = async (stream: Stream): Promise<Payload> =>
  JSON.parse(Buffer.from(await readAll(stream)).toString()) as Payload

const path: Path = {
  answer: () =>
    serve((stream) => {
      receive(stream).then(
        (payload) => send(stream, payload),
        (error: Error) => stream.abort(error)
      )
    }),
  ask: async (address, bytes) => {
    const connection = await dial(address)
    const payload = payloadOf(bytes)
    return lanes(payload, async () => {
      const stream = await open(connection)
      const answer = receive(stream)
      send(stream, payload)
      return answer
    })
  }
}

export default path
