/**
 * NATS request-reply: both ends are clients of a server between them. Requests share one inbox (the client's own multiplexer),
 * which its users know as the fast way, and stack traces of requests are not kept.
 */
import { connect } from "@nats-io/transport-node"
import { type Path, type Payload, payloadOf } from "../src/Path.ts"
import { lanes } from "./Lanes.ts"
import { startNatsServer } from "./NatsServer.ts"

const SUBJECT = "bench.echo"
const TIMEOUT_MS = 30_000

const connectTo = (servers: string) => connect({ servers, noAsyncTraces: true })

const path: Path = {
  answer: async () => {
    const url = await startNatsServer()
    const connection = await connectTo(url)
    connection.subscribe(SUBJECT, {
      callback: (error, message) => {
        if (error !== null) throw error
        message.respond(JSON.stringify(message.json<Payload>()))
      }
    })
    await connection.flush()
    return url
  },
  ask: async (address, bytes) => {
    const connection = await connectTo(address)
    const payload = payloadOf(bytes)
    return lanes(payload, async () =>
      (await connection.request(SUBJECT, JSON.stringify(payload), { timeout: TIMEOUT_MS })).json<Payload>()
    )
  }
}

export default path
